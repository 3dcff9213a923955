import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { eventually } from '../faults/fixture.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { signal } from '../support/signal.ts'

describeOnSupabase('the guard of an agent', (supabase) => {
  test(
    'a daemon stopped beyond its lease: its agent is dead before another worker has the task, and it spoils nothing when it wakes',
    { timeout: 300_000 },
    async () => {
      const system = 'guarded'
      await supabase().sql('INSERT INTO systems (id) VALUES ($1)', [system])
      const config = (worker: string) =>
        [
          '[supabase]',
          `url = "${supabase().url}"`,
          `secret_key = "${supabase().secretKey}"`,
          `system = "${system}"`,
          `worker = "${worker}"`,
          // Others take the task a minute after this.
          '[queue]',
          'lease = "8s"',
          'heartbeat = "2s"',
          'sweep = "1s"',
        ].join('\n')
      const rowOf = async (id: string) => {
        const [row] = await supabase().sql<{ status: string; attempt: number; worker: string | null }>(
          'SELECT status, attempt, worker FROM tasks WHERE id = $1',
          [id],
        )
        return row
      }
      await using one = await createScriptedFleet({ dirs: 1, config: config('one') })
      await using two = await createScriptedFleet({
        dirs: 1,
        config: config('two'),
        ledgerFolder: one.ledgerFolder,
      })
      await one.up()
      one.hold()
      const id = await one.add('guarded', { holdFile: one.holdFile, child: true })
      const child = await eventually('it works', () => {
        const entry = one.ledger().find(({ kind }) => kind === 'child')
        return entry?.kind === 'child' && entry.child
      })
      const agent = one.living()[0]?.pid ?? -1
      // Three times the deadline: heartbeats move it.
      await new Promise((resolve) => setTimeout(resolve, 18_000))
      expect(isAlive(agent)).toBe(true)
      const stopped = one.pidOfDaemon()
      signal(stopped, 'SIGSTOP')
      const from = performance.now()
      await two.up()
      const added = await two.stage.ccm(['projects', 'add', join(two.stage.folder, 'dir0'), '--trust'])
      expect(added.code).toBe(0)
      await eventually('the guard acts', () => !isAlive(agent) && !isAlive(child), 30_000)
      const deadMs = performance.now() - from
      expect(await rowOf(id)).toMatchObject({ status: 'running', attempt: 1, worker: 'one' })
      one.letGo()
      const row = await eventually(
        'the other worker ends it',
        async () => {
          const now = await rowOf(id)
          return now?.status !== 'running' && now?.status !== 'queued' && now
        },
        120_000,
      )
      console.log({ deadMs, overMs: performance.now() - from })
      expect(row).toMatchObject({ status: 'succeeded', attempt: 2, worker: 'two' })
      signal(stopped, 'SIGCONT')
      await eventually('it has settled its attempt', () => {
        const open = one.ask(`SELECT 1 FROM attempts WHERE phase IN ('claimed', 'starting', 'started')`)
        return open.length === 0
      })
      expect(await rowOf(id)).toEqual(row)
      const ledger = one.ledger()
      expect(ledger.filter(({ kind }) => kind === 'lock_failed')).toEqual([])
      expect(ledger.filter((entry) => entry.kind === 'outcome' && entry.outcome === 'done')).toHaveLength(1)
      const lastOfFirst = Math.max(...ledger.filter(({ attempt }) => attempt === 1).map(({ at }) => at))
      const firstOfSecond = Math.min(...ledger.filter(({ attempt }) => attempt === 2).map(({ at }) => at))
      expect(lastOfFirst).toBeLessThan(firstOfSecond)
    },
  )
})
