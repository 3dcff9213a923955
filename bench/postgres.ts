import { makeWorkerUtils, run, Logger } from 'graphile-worker'
import { Pool } from 'pg'
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

/**
 * Claim and finish of tasks that wait already, on one real PostgreSQL with its own durability settings, the peers in
 * turn with ours: one at a time beside graphile-worker as it comes, a hundred at a time beside pg-boss. All over the
 * database's own protocol, from one process. Tables are analysed after loading, as autovacuum would.
 */
export const bench: Bench = async () => {
  await using postgres = await startDatabase(['shared_buffers=256MB', 'max_wal_size=4GB'])
  await migratePostgres(postgres.url('postgres'), readPostgresMigrations(MIGRATIONS))
  const ours = await createOurs(postgres)
  const graphile = await createGraphile(postgres)
  const boss = await createBoss(postgres)
  const times = {
    single: [] as number[],
    graphile: [] as number[],
    batched: [] as number[],
    boss: [] as number[],
  }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      times.graphile.push(await graphile.work(SINGLE))
      times.single.push(await ours.work(SINGLE, 1))
      times.boss.push(await boss.work(BATCHED))
      times.batched.push(await ours.work(BATCHED, BATCH))
    }
  } finally {
    await Promise.all([ours.close(), graphile.close(), boss.close()])
  }
  return [
    rowOf(
      'claim + finish, one at a time (peer: graphile-worker)',
      times.graphile,
      times.single,
      'at least the peer',
    ),
    rowOf(
      'claim + finish, 100 at a time (peer: pg-boss)',
      times.boss,
      times.batched,
      'at least 30,000 a second',
    ),
  ]
}

/** In tasks a second, so that more is better; the ratio is ours to the peer's. */
function rowOf(name: string, peer: number[], ours: number[], goal: string): Row {
  const [theirs, own] = [median(peer), median(ours)]
  return { name, peer: theirs, ours: own, ratio: own / theirs, unit: 'tasks/s', goal }
}

/** Does `count` tasks and answers how many that were in a second. */
type Contender = { work: (count: number) => Promise<number>; close: () => Promise<void> }

async function perSecond(count: number, work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (count * 1_000) / (performance.now() - startedAt)
}

async function createOurs(postgres: TestPostgres) {
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
    work: async (count: number, batch: number) => {
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
      const workers = Array.from({ length: WORKERS }, (_, index) => `w${index}`)
      const done: number[] = []
      const speed = await perSecond(count, async () => {
        done.push(...(await Promise.all(workers.map(async (worker) => runWorker(worker, batch)))))
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

async function createGraphile(postgres: TestPostgres): Promise<Contender> {
  const pgPool = new Pool({ connectionString: postgres.url(), max: WORKERS })
  ignoreBreaks(pgPool)
  const logger = new Logger(() => () => {})
  const utils = await makeWorkerUtils({ pgPool, logger })
  await utils.migrate()
  return {
    work: async (count) => {
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
      const speed = await perSecond(count, async () => {
        runner = await run({
          pgPool,
          logger,
          taskList: { nothing },
          concurrency: WORKERS,
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

async function createBoss(postgres: TestPostgres): Promise<Contender> {
  const boss = new PgBoss({
    connectionString: postgres.url(),
    max: WORKERS,
    supervise: false,
    schedule: false,
  })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('bench')
  const runWorker = async (): Promise<void> => {
    for (;;) {
      const jobs = await boss.fetch('bench', { batchSize: BATCH })
      if (jobs.length === 0) return
      await boss.complete(
        'bench',
        jobs.map(({ id }) => id),
      )
    }
  }
  return {
    work: async (count) => {
      await boss.insert(
        'bench',
        Array.from({ length: count }, (_, n) => ({ data: { n } })),
      )
      return perSecond(count, async () => Promise.all(Array.from({ length: WORKERS }, runWorker)))
    },
    close: async () => boss.stop({ graceful: false }),
  }
}
