import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { createScriptedFleet, sizeOf } from '../scripted/fleet.ts'
import { ledgerNow } from '../scripted/ledger.ts'
import { atWork, pidsOf } from './at-work.ts'
import { eventually } from './fixture.ts'

/** A user without anything: the limit of processes counts for everybody but root. */
const NOBODY = 61_234

const isRoot = process.getuid?.() === 0
const reason = isRoot ? '' : ' [only root can become another user]'

/** Its processes, and how many threads each has: they count as processes here. */
function processesOf(uid: number): { pid: number; threads: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8')
        if (!new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status)) return []
        return [{ pid: Number(name), threads: Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]) }]
      } catch {
        return []
      }
    })
}

/** Of all its processes, as that user: root of a container may lack the right over others' limits. */
function limit(most: number | string): void {
  const as = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups', 'prlimit']
  for (const { pid } of processesOf(NOBODY))
    try {
      execFileSync('setpriv', [...as, '--pid', String(pid), `--nproc=${most}:`], { stdio: 'ignore' })
    } catch (error) {
      if (isAlive(pid)) throw error
    }
}

/** How many it has for good: what hooks leave behind them lives for seconds. */
async function steadyCount(): Promise<number> {
  let least = Infinity
  for (const until = performance.now() + 7000; performance.now() < until; await sleep(100))
    least = Math.min(
      least,
      processesOf(NOBODY).reduce((sum, { threads }) => sum + threads, 0),
    )
  return least
}

test.skipIf(!isRoot)(
  `a user who may start no more processes: no attempt is burned, and all of it is done when there is room again${reason}`,
  async () => {
    await using fleet = await createScriptedFleet({ dirs: 10, asUser: NOBODY })
    await fleet.up()
    const pid = fleet.pidOfDaemon()
    const before = /^Max processes\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? ''
    const working = await atWork(fleet, 6)
    const agents = pidsOf(fleet)
    const steady = await steadyCount()
    const descriptors = sizeOf(pid).descriptors
    const from = ledgerNow()
    // tmux cannot fork, the start script cannot, and an agent would abort or hang without its threads.
    for (const room of [0, 1, 2, 6]) {
      limit(steady + room)
      const id = await fleet.add(`room${room}`, { workMs: 500 })
      await eventually(
        `it is given back with room for ${room}`,
        () => fleet.ask(`SELECT id FROM tasks WHERE id = '${id}' AND releases > 0`).length > 0,
      )
    }
    // Hooks of these find room for one process, and need more.
    limit(steady + 1)
    fleet.letGo()
    const open = () =>
      new Set(fleet.ask<{ id: string }>(`SELECT id FROM tasks WHERE status = 'running'`).map(({ id }) => id))
    await eventually('those at work end', () => working.every((id) => !open().has(id)), 90_000)
    limit(before)
    await fleet.over(120_000)
    // A hook that may start no process keeps nothing, and counts that.
    expect(await fleet.faults([], { troubles: [{ from, until: ledgerNow() }] })).toEqual([])
    expect(fleet.counts()).toEqual({ succeeded: 10 })
    expect(fleet.ask('SELECT id FROM tasks WHERE failures + lost_leases > 0')).toEqual([])
    expect(fleet.pidOfDaemon()).toBe(pid)
    const starts = fleet.ledger().filter(({ kind, task }) => kind === 'start' && working.includes(task))
    expect(starts.map((entry) => `${entry.task} ${entry.pid}`).toSorted()).toEqual(agents)
    await expect.poll(() => sizeOf(pid).descriptors, { timeout: 20_000 }).toBeLessThanOrEqual(descriptors)
  },
)
