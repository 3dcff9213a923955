import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CcmError } from '../../src/core/errors.ts'
import type { Queue } from '../../src/core/task/queue.ts'
import type { Task } from '../../src/core/task/task.ts'
import { createSupabase, type Call } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { from, newTask, reportOf } from '../queue/bench.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createPostgresCall } from '../support/postgres-call.ts'
import { ignoreBreaks } from '../support/supabase.ts'
import { checkRows } from './store.ts'

const PROJECTS = ['a', 'b', 'c', 'd']
const MAX_RUNNING: Record<string, number> = { a: 1, b: 3 }

/** Park and Miller: spread, and the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
}

/** What the agents themselves would say: who ran what when, whatever the database believes. */
function createLedger() {
  const live = new Map<string, string>()
  const claims = new Set<string>()
  const faults: string[] = []
  const most = new Map<string, number>()
  const countOf = (project: string): number => [...live.values()].filter((one) => one === project).length
  return {
    faults,
    most,
    start: ({ id, attempt, project }: Task) => {
      if (live.has(id)) faults.push(`${id} has two live agents`)
      if (claims.has(`${id}/${attempt}`)) faults.push(`attempt ${attempt} of ${id} was given out twice`)
      claims.add(`${id}/${attempt}`)
      live.set(id, project)
      most.set(project, Math.max(most.get(project) ?? 0, countOf(project)))
    },
    end: ({ id }: Task) => live.delete(id),
  }
}

describeOnSupabase('many at once', (supabase) => {
  let pool: Pool
  beforeAll(() => {
    pool = new Pool({ connectionString: supabase().databaseUrl, max: 12 })
    ignoreBreaks(pool)
  })
  afterAll(async () => pool.end())
  afterAll(async () => checkRows(supabase()))

  const queueOf = (call: Call, system: string, worker: string): Queue =>
    createSupabaseQueue({
      call,
      system,
      worker,
      newKey: () => crypto.randomUUID(),
      // Far above the milliseconds of an agent: a worker that stands still for a moment keeps its tasks.
      leaseMs: 3_000,
      graceMs: 1_000,
    })
  const countsOf = async (system: string): Promise<Record<string, number>> => {
    const rows = await supabase().sql<{ status: string; n: string }>(
      'SELECT status, count(*) AS n FROM tasks WHERE system_id = $1 GROUP BY status',
      [system],
    )
    return Object.fromEntries(rows.map(({ status, n }) => [status, Number(n)]))
  }

  test('eight workers that crash at random do 500 tasks: none twice at once, no limit exceeded, stale reports refused', async () => {
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('crowd', 500)`)
    const call = createPostgresCall(pool)
    const inserter = queueOf(call, 'crowd', 'inserter')
    for (const name of PROJECTS)
      await inserter.configureProject({ name, maxRunning: MAX_RUNNING[name] ?? null, paused: false })
    await sql(
      `INSERT INTO tasks (system_id, project, prompt)
       SELECT 'crowd', ($1::text[])[1 + n % 4], 'Task ' || n FROM generate_series(1, 500) AS n`,
      [PROJECTS],
    )
    const ledger = createLedger()
    const run = { over: false }
    let crashes = 0
    let stale = 0

    /** One daemon: agents of a few milliseconds; a crash leaves them behind, and their reports come much later. */
    const runWorker = async (index: number): Promise<void> => {
      const random = createRandom(index + 1)
      const late: Promise<void>[] = []
      let queue = queueOf(call, 'crowd', `w${index}`)
      await queue.register()
      while (!run.over) {
        await queue.reap()
        const tasks = await queue.claim(1 + Math.floor(random() * 4), from(PROJECTS))
        for (const task of tasks) ledger.start(task)
        if (tasks.length === 0) await sleep(20)
        for (const task of tasks) {
          await sleep(random() * 4)
          // Dead is dead: an agent ends with its daemon here, so the ledger sees a second one only if it came too early.
          ledger.end(task)
          if (random() < 0.08 && crashes < 60) {
            crashes += 1
            const dead = queue
            late.push(
              (async () => {
                await sleep(6_500)
                const reply = await dead.finish(reportOf(task, 'succeeded')).catch((error: unknown) => {
                  if (error instanceof CcmError && error.code === 'STALE_LEASE') return 'stale'
                  throw error
                })
                if (reply === 'stale') stale += 1
              })(),
            )
            for (const other of tasks) ledger.end(other)
            queue = queueOf(call, 'crowd', `w${index}`)
            await queue.register()
            break
          }
          await queue.finish(reportOf(task, 'succeeded'))
        }
      }
      await Promise.all(late)
    }

    /** As the database has it: there a crashed agent counts until its lease is over. */
    let mostOfB = 0
    const watch = async (): Promise<number> => {
      let looks = 0
      const deadline = Date.now() + 100_000
      while (!run.over) {
        const running = await sql<{ project: string; n: number }>(
          `SELECT project, count(*)::int AS n FROM tasks WHERE system_id = 'crowd' AND status = 'running' GROUP BY 1`,
        )
        for (const { project, n } of running) {
          if (project === 'b') mostOfB = Math.max(mostOfB, n)
          if (n > (MAX_RUNNING[project] ?? 500)) ledger.faults.push(`${n} of project ${project} run`)
        }
        looks += 1
        const { queued = 0, running: left = 0 } = await countsOf('crowd')
        run.over = queued + left === 0 || Date.now() > deadline
        await sleep(10)
      }
      return looks
    }
    const [looks] = await Promise.all([
      watch(),
      ...Array.from({ length: 8 }, async (_, index) => runWorker(index)),
    ])

    expect(ledger.faults).toEqual([])
    expect(looks).toBeGreaterThan(20)
    const counts = await countsOf('crowd')
    expect((counts['succeeded'] ?? 0) + (counts['dead'] ?? 0)).toBe(500)
    expect(ledger.most.get('a')).toBe(1)
    expect(ledger.most.get('b')).toBeLessThanOrEqual(3)
    expect(mostOfB).toBe(3)
    expect(crashes).toBeGreaterThan(10)
    expect(stale).toBe(crashes)
  }, 150_000)

  test('tasks that people edit while they are being claimed are claimed as edited, each one whole', async () => {
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('edited', 5000)`)
    await sql(`INSERT INTO projects (system_id, name) VALUES ('edited', 'app')`)
    await sql(`SELECT worker_register('edited', 'w', '{}')`)
    await sql(
      `INSERT INTO tasks (system_id, project, prompt) SELECT 'edited', 'app', 'p' FROM generate_series(1, 3000)`,
    )
    const over = new AbortController()
    const made = { tries: 0, edits: 0 }
    const edit = async (): Promise<void> => {
      while (!over.signal.aborted) {
        // Each edit leaves its row in another place. A row that is claimed meanwhile cannot be edited any more.
        const { rowCount } = await pool
          .query(
            `UPDATE tasks SET prompt = prompt || '+' WHERE system_id = 'edited' AND id IN (
               SELECT id FROM tasks WHERE system_id = 'edited' AND status = 'queued' ORDER BY id LIMIT 5)`,
          )
          .catch(() => ({ rowCount: 0 }))
        made.edits += rowCount ?? 0
        made.tries += 1
      }
    }
    const editors = [edit(), edit(), edit()]
    const claimed = new Map<string, string>()
    for (let idle = 0; claimed.size < 3000 && idle < 1000;) {
      const { rows } = await pool.query<{ id: string; prompt: string }>(
        `SELECT id, prompt FROM tasks_claim('edited', 'w', 1, 10, 600000, '{app}', NULL, '{}')`,
      )
      idle = rows.length === 0 ? idle + 1 : 0
      for (const { id, prompt } of rows) claimed.set(id, prompt)
      // Claims are the faster ones: on a quick machine they were through after 70 edits.
      const before = made.tries
      while (made.tries === before) await sleep(1)
    }
    over.abort()
    await Promise.all(editors)
    expect(made.edits).toBeGreaterThan(1000)
    const stored = await sql<{ id: string; prompt: string }>(
      `SELECT id, prompt FROM tasks WHERE system_id = 'edited' AND status = 'running'`,
    )
    expect(new Map(stored.map(({ id, prompt }) => [id, prompt]))).toEqual(claimed)
    expect(claimed.size).toBe(3000)
    await checkRows(supabase())
  })

  test('the bound holds exactly when eight connections insert at once', async () => {
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('bound', 50)`)
    const call = createPostgresCall(pool)
    const queues = Array.from({ length: 8 }, (_, index) => queueOf(call, 'bound', `w${index}`))
    const answers = await Promise.allSettled(
      queues.flatMap((queue) => Array.from({ length: 20 }, async () => queue.insert(newTask()))),
    )
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
    const refused = answers.filter((answer) => answer.status === 'rejected')
    expect(refused.every(({ reason }) => reason instanceof CcmError && reason.code === 'QUEUE_FULL')).toBe(
      true,
    )
    expect(await countsOf('bound')).toEqual({ queued: 50 })
  })

  test('what a worker tells of itself while its heartbeat is written is taken', async () => {
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id) VALUES ('told')`)
    await sql(`SELECT worker_register('told', 'w', '{}')`)
    const [beat, teller] = [await pool.connect(), await pool.connect()]
    try {
      // As in a connection that has called it some times.
      await teller.query(`SET plan_cache_mode = 'force_generic_plan'`)
      await beat.query('BEGIN')
      await beat.query(`SELECT tasks_heartbeat('told', 'w', 1, '{}', '{}', 60000)`)
      const told = teller
        .query(`SELECT worker_describe('told', 'w', 1, '{"host": "here", "roles": null, "labels": null}')`)
        .then(
          () => 'taken',
          (error: unknown) => (error as Error).message,
        )
      await Promise.race([told, sleep(300)])
      await beat.query('COMMIT')
      expect(await told).toBe('taken')
    } finally {
      beat.release()
      teller.release(true)
    }
    expect(await sql(`SELECT host, roles, labels FROM workers WHERE system_id = 'told'`)).toEqual([
      { host: 'here', roles: null, labels: [] },
    ])
  })

  test('the bound counts rows that another connection has inserted and not committed yet', async () => {
    await supabase().sql(`INSERT INTO systems (id, max_queued, default_project) VALUES ('hands', 5, 'app')`)
    await supabase().sql(`INSERT INTO projects (system_id, name) VALUES ('hands', 'app')`)
    const insert = `INSERT INTO tasks (system_id, prompt) VALUES ('hands', 'Fix it.')`
    const slow = await pool.connect()
    let refused: Promise<unknown>
    try {
      await slow.query('BEGIN')
      for (let count = 0; count < 5; count += 1) await slow.query(insert)
      refused = pool.query(insert).then(
        () => 'taken',
        (error: unknown) => (error as { code: string }).code,
      )
      await Promise.race([refused, sleep(300)])
      await slow.query('COMMIT')
    } finally {
      slow.release()
    }
    expect(await refused).toBe('PT429')
    expect(await countsOf('hands')).toEqual({ queued: 5 })
  })

  test('a dependent that is being inserted while its dependency fails is cancelled with it', async () => {
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id) VALUES ('race')`)
    const queue = queueOf(createPostgresCall(pool), 'race', 'w')
    await queue.register()
    await queue.insert(newTask())
    const [claimed] = await queue.claim(1, from(['app']))
    if (claimed === undefined) throw new Error('nothing was claimed')
    const slow = await pool.connect()
    let finished: Promise<unknown>
    try {
      await slow.query('BEGIN')
      await slow.query(
        `INSERT INTO tasks (system_id, project, prompt, depends_on) VALUES ('race', 'app', 'Then this.', ARRAY[$1])`,
        [claimed.id],
      )
      finished = queue.finish(reportOf(claimed, 'failed_permanent'))
      await Promise.race([finished, sleep(300)])
      await slow.query('COMMIT')
    } finally {
      slow.release()
    }
    expect(await finished).toBe('failed')
    expect(await countsOf('race')).toEqual({ failed: 1, cancelled: 1 })
  })

  test('PostgreSQL goes down in mid-claim, three times: every task still comes to its one end', async () => {
    const { sql, url, secretKey, postgres } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('crash', 120)`)
    await sql(`INSERT INTO projects (system_id, name) VALUES ('crash', 'app')`)
    await sql(
      `INSERT INTO tasks (system_id, project, prompt) SELECT 'crash', 'app', 'Task ' || n FROM generate_series(1, 120) AS n`,
    )
    const ledger = createLedger()
    const run = { over: false }
    const patient = async <T>(work: () => Promise<T>): Promise<T | null> =>
      work().catch((error: unknown) => {
        if (error instanceof CcmError && error.code === 'SUPABASE_UNREACHABLE') return null
        throw error
      })
    const queues = [1, 2, 3].map((index) =>
      queueOf(createSupabase({ url, secretKey }).call, 'crash', `w${index}`),
    )
    // Before the first crash: a stand-in that loses its database while it reads the schema knows no function for a while.
    for (const queue of queues) await queue.register()
    const runWorker = async (queue: Queue): Promise<void> => {
      while (!run.over) {
        await patient(() => queue.reap())
        for (const task of (await patient(() => queue.claim(2, from(['app'])))) ?? []) {
          ledger.start(task)
          await sleep(5)
          ledger.end(task)
          // Resent until it is answered, as the outbox does.
          while (!run.over && (await patient(() => queue.finish(reportOf(task, 'succeeded')))) === null)
            await sleep(50)
        }
        await sleep(5)
      }
    }
    const disturb = async (): Promise<void> => {
      for (const command of ['crash', 'restart', 'crash'] as const) {
        await sleep(600)
        await postgres.command(command)
      }
      const deadline = Date.now() + 60_000
      while (!run.over) {
        const { queued = 0, running = 0 } = await countsOf('crash')
        run.over = queued + running === 0 || Date.now() > deadline
        await sleep(50)
      }
    }
    const all = [disturb(), ...queues.map(runWorker)]
    try {
      await Promise.all(all)
    } finally {
      // Nothing may go on when the server is taken away.
      run.over = true
      await Promise.allSettled(all)
    }
    expect(ledger.faults).toEqual([])
    expect(await countsOf('crash')).toEqual({ succeeded: 120 })
  }, 120_000)
})
