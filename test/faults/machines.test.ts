import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createScriptedFleet, type ScriptedFleet } from '../scripted/fleet.ts'
import { judge } from '../scripted/judge.ts'
import { readLedger, type Entry } from '../scripted/ledger.ts'
import { promptOf, type Script } from '../scripted/script.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { eventually } from './fixture.ts'

/** Less of both for a look by hand. All of it took 461 s on two cores at a load of 27, with 613 agents. */
const DAEMONS = Number(process.env['CCM_TEST_DAEMONS'] ?? 8)
const TASKS = Number(process.env['CCM_TEST_TASKS'] ?? 500)
/** Over all machines; each has one directory for either project, so that more than that want to. */
const MAX_RUNNING = { dir0: 3, dir1: 4 }

const CONFIG = (url: string, key: string, system: string, worker: string) =>
  [
    // Of `[agents]`, which the fleet has begun.
    `labels = ["${worker}"]`,
    '[supabase]',
    `url = "${url}"`,
    `secret_key = "${key}"`,
    `system = "${system}"`,
    `worker = "${worker}"`,
    '[queue]',
    'lease = "30s"',
    'heartbeat = "4s"',
    'sweep = "3s"',
    '[breaker]',
    // They are the work here.
    'failures = 20',
    'window = "1s"',
  ].join('\n')

/** The most agents of these tasks that lived at once, by what they wrote themselves. */
function mostAtOnce(ledger: Entry[], tasks: Set<string>): number {
  const spans = new Map<string, { from: number; until: number }>()
  for (const { task, attempt, at } of ledger.filter((entry) => tasks.has(entry.task))) {
    const span = spans.get(`${task} ${attempt}`)
    if (span === undefined) spans.set(`${task} ${attempt}`, { from: at, until: at })
    else span.until = at
  }
  const all = [...spans.values()]
  return Math.max(
    0,
    ...all.map(({ from }) => all.filter((one) => one.from <= from && from <= one.until).length),
  )
}

describeOnSupabase('eight machines', (supabase) => {
  test(
    'do 500 tasks of agents that crash, while daemons are killed: each once, no limit exceeded, a stale report refused',
    { timeout: 1_200_000 },
    async () => {
      const { sql, url, secretKey } = supabase()
      // Another one at a second try.
      const system = `machines-${Date.now()}`
      await sql(`INSERT INTO systems (id, max_queued) VALUES ($1, $2)`, [system, TASKS])
      await using stack = new AsyncDisposableStack()
      const fleets: ScriptedFleet[] = []
      for (let number = 1; number <= DAEMONS; number++) {
        const ledgerFolder = fleets[0]?.ledgerFolder
        const fleet = await createScriptedFleet({
          dirs: 2,
          config: CONFIG(url, secretKey, system, `m${number}`),
          ...(ledgerFolder === undefined ? {} : { ledgerFolder }),
        })
        stack.use(fleet)
        fleets.push(fleet)
      }
      const [first, last] = [fleets[0], fleets.at(-1)]
      if (first === undefined || last === undefined) throw new Error('there are two at least')
      const insert = async (scripts: Script[], labels: string[] = []): Promise<string[]> => {
        const rows = await sql<{ id: string }>(
          `INSERT INTO tasks (system_id, project, prompt, labels)
           SELECT $1, 'dir' || (n % 2), p, $3 FROM unnest($2::text[]) WITH ORDINALITY AS u (p, n) RETURNING id`,
          [system, scripts.map((script, index) => promptOf(`task ${index}`, script)), labels],
        )
        return rows.map(({ id }) => id)
      }
      const ask = async ({ stage }: ScriptedFleet, method: string, path: string, body: object) => {
        const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
        const authorization = `Bearer ${readFileSync(join(stage.home, 'token'), 'utf8').trim()}`
        const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
          method,
          headers: { authorization, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
        expect(reply.status).toBeLessThan(300)
      }
      // On two cores a command may give up on a daemon that is there a little later.
      const start = async (fleet: ScriptedFleet) => fleet.up().catch(() => fleet.up())
      const prepare = async (fleet: ScriptedFleet) => {
        await start(fleet)
        for (const [name, max] of Object.entries(MAX_RUNNING)) {
          await ask(fleet, 'POST', '/api/projects', { dir: join(fleet.stage.folder, name), trust: true })
          await ask(fleet, 'PATCH', `/api/projects/${name}`, { max_running: max })
        }
      }
      const open = async () =>
        (
          await sql<{ n: number }>(
            `SELECT count(*)::int AS n FROM tasks WHERE system_id = $1 AND status IN ('queued', 'running')`,
            [system],
          )
        )[0]?.n ?? 0

      // One machine dies with agents at work, and stays away until others have done its tasks.
      await prepare(last)
      const orphans = await insert([{ ends: ['hang', 'done'] }, { ends: ['hang', 'done'] }])
      await eventually('both work', () => last.living().length === 2, 60_000)
      await last.crash()
      await Promise.all(fleets.slice(0, -1).map(prepare))
      const crashing = (n: number): Script => ({
        workMs: 0,
        ends: n % 7 === 0 ? ['crash', 'done'] : n % 11 === 0 ? ['kill', 'done'] : ['done'],
      })
      await insert(Array.from({ length: TASKS - 52 }, (_, n) => crashing(n)))
      const most = { dir0: 0, dir1: 0 }
      const watch = async () => {
        const rows = await sql<{ project: keyof typeof MAX_RUNNING; n: number }>(
          `SELECT project, count(*)::int AS n FROM tasks WHERE system_id = $1 AND status = 'running' GROUP BY 1`,
          [system],
        )
        for (const { project, n } of rows) most[project] = Math.max(most[project], n)
        await sleep(200)
      }
      const until = async (what: string, isSo: () => Promise<boolean>) =>
        eventually(what, async () => (await watch(), isSo()), 900_000)
      const lost = () => sql(`SELECT id FROM tasks WHERE id = ANY ($1) AND status <> 'succeeded'`, [orphans])
      // Another is killed again and again, and its next daemon takes its agents back.
      for (let kills = 0; kills < 3; kills++) {
        const before = await open()
        await until('some are done', async () => (await open()) <= before - 20 || (await open()) < 20)
        await first.crash()
        await start(first)
      }
      await until('the orphans are done by others', async () => (await lost()).length === 0)
      await start(last)
      await insert(Array.from({ length: 50 - DAEMONS }, (_, n) => crashing(n)))
      // One for each machine alone: which take the others is chance.
      for (let number = 1; number <= DAEMONS; number++) await insert([crashing(number)], [`m${number}`])
      await until('all are over', async () => (await open()) === 0)

      const settled = () =>
        fleets.every(({ remains }) => {
          const { openAttempts, undelivered, processes } = remains()
          return openAttempts + undelivered + processes.length === 0
        })
      await eventually('nothing is left', settled, 60_000)
      const tasks = await sql<{
        id: string
        status: string
        project: string
        attempt: number
        worker: string
      }>(`SELECT id, status, project, attempt, worker FROM tasks WHERE system_id = $1`, [system])
      const all = fleets.map(({ remains }) => remains())
      const ledger = readLedger(first.ledgerFolder)
      const remains = {
        accepted: [],
        tasks,
        lost: all.flatMap(({ lost }) => lost),
        events: all.flatMap(({ events }) => events),
        openAttempts: 0,
        undelivered: 0,
        integrity: [...new Set(all.map(({ integrity }) => integrity))].join(),
        processes: [],
      }
      expect(judge(ledger, remains)).toEqual([])
      expect(tasks).toHaveLength(TASKS)
      expect(tasks.filter(({ status }) => status !== 'succeeded')).toEqual([])
      // As many agents as the queue gave out.
      const starts = ledger.filter(({ kind }) => kind === 'start')
      const attempts = tasks.reduce((sum, { attempt }) => sum + attempt, 0)
      console.log({
        attempts,
        starts: starts.length,
        most,
        workers: new Set(tasks.map(({ worker }) => worker)).size,
      })
      expect(new Set(tasks.map(({ worker }) => worker)).size).toBe(DAEMONS)
      expect(most).toEqual(MAX_RUNNING)
      for (const [name, max] of Object.entries(MAX_RUNNING)) {
        const limited = new Set(tasks.flatMap(({ id, project }) => (project === name ? [id] : [])))
        expect(mostAtOnce(ledger, limited)).toBeLessThanOrEqual(max)
      }
      // What the machine that was away had to say of its two attempts was refused, and changed nothing.
      const log = readFileSync(join(last.stage.home, 'daemon.log'), 'utf8')
      expect(log.split('the queue refused a report')).toHaveLength(3)
      const ends = await sql(
        `SELECT attempt, outcome, worker <> $2 AS elsewhere FROM task_attempts WHERE system_id = $1 AND task_id = ANY ($3)
         ORDER BY attempt, task_id`,
        [system, `m${DAEMONS}`, orphans],
      )
      expect(ends).toEqual([
        { attempt: 1, outcome: 'lost', elsewhere: false },
        { attempt: 1, outcome: 'lost', elsewhere: false },
        { attempt: 2, outcome: 'succeeded', elsewhere: true },
        { attempt: 2, outcome: 'succeeded', elsewhere: true },
      ])
    },
  )
})
