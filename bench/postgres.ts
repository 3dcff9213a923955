import { readFileSync } from 'node:fs'
import { makeWorkerUtils, run, Logger } from 'graphile-worker'
import { Client, Pool } from 'pg'
import { PgBoss } from 'pg-boss'
import { migratePostgres, readPostgresMigrations } from '../src/queue/supabase/migrate.ts'
import type { TestPostgres } from '../test/support/postgres.ts'
import { ignoreBreaks, MIGRATIONS, startDatabase } from '../test/support/supabase.ts'
import { median, type Bench, type Row } from './row.ts'

const ROUNDS = 3
/** How many ask at once, each on a connection of its own; the same for all. */
const WORKERS = 4
const SINGLE = 1_500
const BATCHED = 10_000
const BATCH = 100
/** How graphile-worker takes and completes many at once. */
const LOCAL_QUEUE = {
  localQueue: {
    size: BATCH,
    ttl: 60_000,
    refetchDelay: { durationMs: 1, threshold: 0, maxAbortThreshold: BATCH },
  },
  completeJobBatchDelay: 1,
  failJobBatchDelay: 1,
}

/**
 * Claim and finish of tasks that wait already, on one real PostgreSQL with its own durability settings, the peers in
 * turn with ours: one at a time and a hundred at a time, each peer in the modes it has. Speed depends on what else the
 * machine does, so the CPU time of the server's connections is told too, where the system counts it. All over the
 * database's own protocol, from one process. Tables are analysed after loading, as autovacuum would.
 */
export const bench: Bench = async () => {
  await using postgres = await startDatabase(['shared_buffers=256MB', 'max_wal_size=4GB'])
  await migratePostgres(postgres.url('postgres'), readPostgresMigrations(MIGRATIONS))
  const meter = await createMeter(postgres)
  const ours = await createOurs(postgres, meter.measure)
  const graphile = await createGraphile(postgres, meter.measure)
  const boss = await createBoss(postgres, meter.measure)
  const single = { count: SINGLE, batch: 1, workers: WORKERS, goal: 'at least the peer' }
  const batched = { count: BATCHED, batch: BATCH, workers: WORKERS, goal: 'at least 30,000 a second' }
  const pairs = [
    // What graphile-worker does unless it is told otherwise.
    {
      ...single,
      name: 'one at a time, one worker (peer: graphile-worker)',
      count: SINGLE / 3,
      workers: 1,
      peer: graphile,
    },
    { ...single, name: 'one at a time (peer: graphile-worker)', peer: graphile },
    { ...single, name: 'one at a time (peer: pg-boss)', peer: boss },
    { ...batched, name: '100 at a time (peer: graphile-worker)', peer: graphile },
    { ...batched, name: '100 at a time (peer: pg-boss)', peer: boss },
  ].map((pair) => ({ ...pair, theirs: [] as Work[], own: [] as Work[] }))
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { count, batch, workers, peer, theirs, own } of pairs) {
        theirs.push(await peer.work(count, batch, workers))
        own.push(await ours.work(count, batch, workers))
      }
    }
  } finally {
    await Promise.all([ours.close(), graphile.close(), boss.close(), meter.close()])
  }
  return pairs.flatMap(({ name, goal, theirs, own }) => {
    const speeds = rowOf(`claim + finish, ${name}`, 'tasks/s', theirs, own, ({ speed }) => speed, goal)
    const cpu = rowOf(`server CPU, ${name}`, 'us/task', theirs, own, ({ cpuUs }) => cpuUs, 'told only')
    return Number.isNaN(cpu.ours) ? [speeds] : [speeds, cpu]
  })
}

/** Medians of the rounds; the ratio is ours to the peer's. */
function rowOf(
  name: string,
  unit: string,
  peer: Work[],
  ours: Work[],
  pick: (work: Work) => number,
  goal: string,
): Row {
  const [theirs, own] = [median(peer.map(pick)), median(ours.map(pick))]
  return { name, peer: theirs, ours: own, ratio: own / theirs, unit, goal }
}

/** Of one round: tasks a second, and CPU time of the server a task, NaN where the system does not tell. */
type Work = { speed: number; cpuUs: number }

/** Reads what the connections that live before and after a piece of work have used of the CPU in between. */
async function createMeter(postgres: TestPostgres) {
  const client = new Client({ connectionString: postgres.url() })
  await client.connect()
  const read = async (): Promise<Map<number, number>> => {
    const { rows } = await client.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    )
    return new Map(rows.map(({ pid }) => [pid, cpuNsOf(pid)]))
  }
  return {
    measure: async (count: number, work: () => Promise<unknown>): Promise<Work> => {
      const before = await read()
      const startedAt = performance.now()
      await work()
      const speed = (count * 1_000) / (performance.now() - startedAt)
      const used = [...(await read())].map(([pid, ns]) => ns - (before.get(pid) ?? 0))
      return { speed, cpuUs: used.reduce((sum, ns) => sum + ns, 0) / 1_000 / count }
    },
    close: async () => client.end(),
  }
}

function cpuNsOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0])
  } catch {
    return NaN
  }
}

/** Loads `count` tasks and answers what doing them took, by so many workers, so many tasks at once each. */
type Contender = {
  work: (count: number, batch: number, workers: number) => Promise<Work>
  close: () => Promise<void>
}

type Measure = (count: number, work: () => Promise<unknown>) => Promise<Work>

async function createOurs(postgres: TestPostgres, measure: Measure): Promise<Contender> {
  const pool = new Pool({ connectionString: postgres.url('postgres'), max: WORKERS })
  const admin = new Pool({ connectionString: postgres.url(), max: 1 })
  await pool.query(
    `SELECT configure_system('bench', 1000000, 'app'); SELECT configure_project('bench', 'app', NULL, false)`,
  )
  for (let worker = 0; worker < WORKERS; worker += 1)
    await pool.query(`SELECT worker_register('bench', $1, '{}')`, [`w${worker}`])
  const runWorker = async (worker: string, batch: number): Promise<number> => {
    let done = 0
    for (;;) {
      const { rows } = await pool.query<{ id: string; attempt: number }>({
        name: 'claim',
        text: `SELECT id, project, prompt, attempt FROM tasks_claim('bench', $1, 1, $2, 600000, '{app}', NULL, '{}')`,
        values: [worker, batch],
      })
      if (rows.length === 0) return done
      done += rows.length
      const nothing = rows.map(() => null)
      await pool.query({
        name: 'finish',
        text: `SELECT reply FROM task_finish_many('bench', $1, 1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        values: [
          worker,
          rows.map(({ id }) => id),
          rows.map(({ attempt }) => attempt),
          rows.map(() => 'succeeded'),
          rows.map(() => '{"text":"done"}'),
          nothing,
          nothing,
          nothing,
          nothing,
        ],
      })
    }
  }
  let loaded = 0
  return {
    work: async (count, batch, workers) => {
      // Past the triggers: inserting is not what is measured.
      const load = [
        'SET session_replication_role = replica',
        'TRUNCATE tasks, task_attempts CASCADE',
        `INSERT INTO tasks (system_id, id, project, prompt, scheduled_at)
         SELECT 'bench', lpad((${loaded} + n)::text, 12, '0'), 'app', 'Task ' || n, now() FROM generate_series(1, ${count}) AS n`,
        'SET session_replication_role = origin',
        'VACUUM (ANALYZE) tasks',
        'VACUUM (ANALYZE) task_attempts',
      ]
      for (const statement of load) await admin.query(statement)
      loaded += count
      const names = Array.from({ length: workers }, (_, index) => `w${index}`)
      const done: number[] = []
      const speed = await measure(count, async () => {
        done.push(...(await Promise.all(names.map(async (name) => runWorker(name, batch)))))
      })
      const sum = done.reduce((total, one) => total + one, 0)
      if (sum !== count) throw new Error(`${sum} of ${count} tasks were done`)
      return speed
    },
    close: async () => {
      await Promise.all([pool.end(), admin.end()])
    },
  }
}

async function createGraphile(postgres: TestPostgres, measure: Measure): Promise<Contender> {
  // One of its connections listens all the time.
  const pgPool = new Pool({ connectionString: postgres.url(), max: WORKERS + 1 })
  ignoreBreaks(pgPool)
  const logger = new Logger(() => () => {})
  const utils = await makeWorkerUtils({ pgPool, logger })
  await utils.migrate()
  return {
    work: async (count, batch, workers) => {
      await utils.addJobs(
        Array.from({ length: count }, (_, n) => ({ identifier: 'nothing', payload: { n } })),
      )
      await pgPool.query('VACUUM (ANALYZE) graphile_worker._private_jobs')
      let done = 0
      const finished = Promise.withResolvers<null>()
      const nothing = (): void => {
        done += 1
        if (done === count) finished.resolve(null)
      }
      let runner: Awaited<ReturnType<typeof run>> | null = null
      const speed = await measure(count, async () => {
        runner = await run({
          pgPool,
          logger,
          taskList: { nothing },
          concurrency: workers,
          ...(batch === 1 ? {} : { preset: { worker: { ...LOCAL_QUEUE, concurrentJobs: workers } } }),
          noHandleSignals: true,
        })
        await finished.promise
      })
      await (runner as Awaited<ReturnType<typeof run>> | null)?.stop()
      return speed
    },
    close: async () => {
      await utils.release()
      await pgPool.end()
    },
  }
}

async function createBoss(postgres: TestPostgres, measure: Measure): Promise<Contender> {
  const boss = new PgBoss({
    connectionString: postgres.url(),
    max: WORKERS,
    supervise: false,
    schedule: false,
  })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('bench')
  const runWorker = async (batchSize: number): Promise<void> => {
    for (;;) {
      const jobs = await boss.fetch('bench', { batchSize })
      if (jobs.length === 0) return
      await boss.complete(
        'bench',
        jobs.map(({ id }) => id),
      )
    }
  }
  return {
    work: async (count, batch, workers) => {
      await boss.insert(
        'bench',
        Array.from({ length: count }, (_, n) => ({ data: { n } })),
      )
      return measure(count, async () =>
        Promise.all(Array.from({ length: workers }, async () => runWorker(batch))),
      )
    },
    close: async () => boss.stop({ graceful: false }),
  }
}
