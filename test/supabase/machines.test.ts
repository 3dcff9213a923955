import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, isAlive } from '../supervisor/fleet.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createSharedFleet, insertTask, newSystem } from './shared-fleet.ts'

/** Each takes a tree of its own in git and a window of tmux: 40 in a test, more where somebody asks for it. */
const TASKS = Number(process.env['CCM_TEST_TASKS'] ?? 40)

/**
 * An agent of an instant, which writes in a ledger when it begins and ends; every seventh one crashes. The ledger is
 * a witness that knows nothing of queues.
 */
const agent = (ledger: string) => `#!/bin/sh
if [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi
while [ $# -gt 0 ]; do
  case "$1" in --settings) settings=$2;; --session-id|--resume) session=$2;; esac
  shift
done
attempt=$(dirname "$settings")
echo "begin $CCM_TASK_ID $CCM_ATTEMPT" >>${ledger}
say() { n=$((n + 1)); printf '%s' "$1" >"$attempt/spool/$n.part" && mv "$attempt/spool/$n.part" "$attempt/spool/00$n.json"; }
hook() { say "{\\"session_id\\":\\"$session\\",$1}"; }
hook '"hook_event_name":"SessionStart","source":"startup"'
hook '"hook_event_name":"UserPromptSubmit","prompt":"x"'
case "$CCM_TASK_ID$CCM_ATTEMPT" in *[07]1) echo "end $CCM_TASK_ID $CCM_ATTEMPT" >>${ledger}; exit 9;; esac
hook '"hook_event_name":"Stop","last_assistant_message":"It is done.\\n[DONE]"'
trap 'echo "end $CCM_TASK_ID $CCM_ATTEMPT" >>${ledger}; exit 0' TERM INT HUP
while :; do sleep 0.1; done
`

describeOnSupabase('many machines', (supabase) => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())

  test(
    'two daemons with agents that crash do all tasks: none twice at once, the limit of the project is kept',
    { timeout: 60_000 + TASKS * 10_000 },
    async () => {
      const system = await newSystem(supabase())
      const fleets = await Promise.all(
        ['m1', 'm2'].map(async (worker) =>
          createSharedFleet(supabase(), {
            url: gateway.url,
            system,
            worker,
            queue: 'lease = "60s"\nheartbeat = "2s"\nsweep = "1s"',
          }),
        ),
      )
      await using stack = new AsyncDisposableStack()
      for (const fleet of fleets) stack.use(fleet)
      const [one, two] = fleets
      if (one === undefined || two === undefined) throw new Error('there are two')
      const ledger = join(one.folder, 'ledger')
      writeFileSync(ledger, '')
      for (const fleet of fleets) {
        const program = join(fleet.folder, 'claude')
        writeFileSync(program, agent(ledger))
        chmodSync(program, 0o755)
        Object.assign(fleet.deps.settings, { maxConcurrent: 6 })
        // A repository: each task has a tree of its own, so one directory holds many.
        await makeRepository(join(fleet.folder, 'work'))
        fleet.deps.projects.update('work', { maxRunning: 7 })
        Object.assign(fleet.deps.recovery.breaker, { failures: 1000 })
      }
      await supabase().sql(
        `INSERT INTO tasks (system_id, project, prompt) SELECT $1, 'work', 'Task ' || n FROM generate_series(1, $2::int) AS n`,
        [system, TASKS],
      )
      const daemons = await Promise.all(fleets.map((fleet) => fleet.start()))
      let most = 0
      await eventually(async () => {
        const [row] = await supabase().sql<{ running: number; open: number }>(
          `SELECT count(*) FILTER (WHERE status = 'running')::int AS running,
             count(*) FILTER (WHERE status IN ('queued', 'running'))::int AS open FROM tasks WHERE system_id = $1`,
          [system],
        )
        most = Math.max(most, row?.running ?? 0)
        return row?.open === 0
      }, TASKS * 10_000)
      const rows = await supabase().sql<{ status: string; worker: string; n: number; attempts: number }>(
        `SELECT status, worker, count(*)::int AS n, sum(attempt)::int AS attempts FROM tasks WHERE system_id = $1 GROUP BY 1, 2`,
        [system],
      )
      expect(rows.reduce((sum, { n }) => sum + n, 0)).toBe(TASKS)
      expect(rows.every(({ status }) => status === 'succeeded')).toBe(true)
      expect(new Set(rows.map(({ worker }) => worker))).toEqual(new Set(['m1', 'm2']))
      expect(most).toBeLessThanOrEqual(7)
      const lines = readFileSync(ledger, 'utf8').trim().split('\n')
      const begun = lines.filter((line) => line.startsWith('begin'))
      // No attempt twice, and as many agents as attempts.
      expect(new Set(begun).size).toBe(begun.length)
      expect(begun.length).toBe(rows.reduce((sum, { attempts }) => sum + attempts, 0))
      expect(begun.length).toBeGreaterThan(TASKS)
      const live = new Set<string>()
      const doubles = lines.filter((line) => {
        const [word, id = ''] = line.split(' ')
        const isDouble = word === 'begin' && live.has(id)
        if (word === 'begin') live.add(id)
        else live.delete(id)
        return isDouble
      })
      expect(doubles).toEqual([])
      expect(daemons[0]?.chosen.state()).toMatchObject({ realtime: 'ready', supabase: 'ok' })
    },
  )

  test('a worker tells what it is, and one that is drained gets nothing', { timeout: 60_000 }, async () => {
    const system = await newSystem(supabase())
    await using fleet = await createSharedFleet(supabase(), {
      url: gateway.url,
      system,
      worker: 'm1',
      queue: 'sweep = "500ms"\nheartbeat = "500ms"',
      agents: 'labels = ["gpu"]\nroles = ["review"]',
    })
    const daemon = await fleet.start()
    expect(await daemon.chosen.workers?.()).toMatchObject([
      {
        id: 'm1',
        capacity: 10,
        labels: ['gpu'],
        roles: ['review'],
        projects: { work: join(fleet.folder, 'work') },
        draining: false,
      },
    ])
    await supabase().sql(`UPDATE workers SET draining = true WHERE system_id = $1`, [system])
    const id = await insertTask(supabase(), system)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const statusOf = async () =>
      (await supabase().sql<{ status: string }>('SELECT status FROM tasks WHERE id = $1', [id]))[0]?.status
    expect(await statusOf()).toBe('queued')
    await supabase().sql(`UPDATE workers SET draining = false WHERE system_id = $1`, [system])
    await fleet.agentOf(id)
    expect(await statusOf()).toBe('running')
    // All that it hears and says over WebSockets goes over one.
    await eventually(() => gateway.realtime.connections() === 1)
  })

  test(
    'a cancel from elsewhere ends an agent by what Realtime tells, long before the next heartbeat',
    { timeout: 60_000 },
    async () => {
      const system = await newSystem(supabase())
      await using fleet = await createSharedFleet(supabase(), {
        url: gateway.url,
        system,
        worker: 'm1',
        queue: 'heartbeat = "120s"\nsweep = "120s"',
      })
      const daemon = await fleet.start()
      await eventually(() => daemon.chosen.state()?.realtime === 'ready')
      const id = await insertTask(supabase(), system)
      const pid = await fleet.agentOf(id)
      await supabase().asAdmin(`SELECT task_cancel($1, $2, 'enough')`, [system, id])
      await eventually(() => !isAlive(pid))
      const rows = () => supabase().sql('SELECT status, error FROM tasks WHERE id = $1', [id])
      await eventually(async () => (await rows())[0]?.['status'] === 'cancelled')
      expect(await rows()).toEqual([{ status: 'cancelled', error: 'enough' }])
      await daemon.close()
    },
  )

  test.each([
    ['down', 'zombie'],
    ['mute', 'mute'],
  ] as const)(
    'with Realtime %s a task starts by the next sweep, and once',
    { timeout: 60_000 },
    async (_, mood) => {
      const system = await newSystem(supabase())
      await using fleet = await createSharedFleet(supabase(), {
        url: gateway.url,
        system,
        worker: 'm1',
        queue: 'sweep = "2s"\nheartbeat = "1s"',
      })
      gateway.realtime.mood.system = mood
      const daemon = await fleet.start()
      await new Promise((resolve) => setTimeout(resolve, 300))
      const startedAt = performance.now()
      const id = await insertTask(supabase(), system)
      await eventually(() => daemon.supervisor.agents().some(({ task }) => task.id === id))
      // A sweep of 2 s and a start; the channel would be replaced after 20 s.
      expect(performance.now() - startedAt).toBeLessThan(9000)
      gateway.realtime.mood.system = 'ok'
      expect(daemon.chosen.state()).toMatchObject({ events: 0, unannounced: 1 })
      // The claim was to be told of: after 20 s without a word the channel is replaced.
      if (mood === 'mute')
        await eventually(
          () => (daemon.chosen.state()?.channels ?? 0) > 1 && daemon.chosen.state()?.realtime === 'ready',
          30_000,
        )
    },
  )
})

async function makeRepository(folder: string): Promise<void> {
  const { execa } = await import('execa')
  const git = (...args: string[]) =>
    execa('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', HOME: folder },
      extendEnv: false,
    })
  writeFileSync(join(folder, 'a.txt'), 'a\n')
  await git('init', '-q')
  await git('add', '-A')
  await git('commit', '-qm', 'start')
}
