import { Pool } from 'pg'
import { migratePostgres, readPostgresMigrations } from '../src/queue/supabase/migrate.ts'
import { MIGRATIONS, startDatabase } from '../test/support/supabase.ts'
import { median, type Bench, type Row } from './row.ts'

const SIZES = [
  { workers: 50, leases: 500 },
  { workers: 200, leases: 2_000 },
  { workers: 800, leases: 8_000 },
]
const ROUNDS = 5
const CONNECTIONS = 4
const INTERVAL_S = 30

/**
 * What heartbeats cost the shared database: each worker renews all of its leases with one call every 30 s. A round
 * is every worker once; the load is the part of those 30 s that one connection is busy with it. Also what a round
 * writes to the log, and how the tables have grown after the rounds.
 */
export const bench: Bench = async () => {
  const rows: Row[] = []
  for (const size of SIZES) rows.push(...(await measure(size)))
  return rows
}

async function measure({ workers, leases }: (typeof SIZES)[number]): Promise<Row[]> {
  await using postgres = await startDatabase([])
  await migratePostgres(postgres.url('postgres'), readPostgresMigrations(MIGRATIONS))
  const pool = new Pool({ connectionString: postgres.url(), max: CONNECTIONS })
  try {
    await pool.query(`SELECT configure_system('bench', 1000000, 'app')`)
    await pool.query(`SELECT configure_project('bench', 'app', NULL, false)`)
    await pool.query(
      `INSERT INTO tasks (system_id, prompt) SELECT 'bench', 'Task ' || n FROM generate_series(1, $1::int) AS n`,
      [leases],
    )
    const held: { worker: string; ids: string[]; attempts: number[] }[] = []
    for (let n = 0; n < workers; n += 1) {
      const worker = `w${n}`
      await pool.query(`SELECT worker_register('bench', $1, '{}')`, [worker])
      const { rows } = await pool.query<{ id: string; attempt: number }>(
        `SELECT id, attempt FROM tasks_claim('bench', $1, 1, $2, 600000, '{app}', NULL, '{}')`,
        [worker, leases / workers],
      )
      held.push({ worker, ids: rows.map(({ id }) => id), attempts: rows.map(({ attempt }) => attempt) })
    }
    await pool.query('VACUUM ANALYZE')
    const before = await sizeOf(pool)
    const startLsn = await lsnOf(pool)
    const calls: number[] = []
    const rounds: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const startedAt = performance.now()
      const queue = [...held]
      await Promise.all(
        Array.from({ length: CONNECTIONS }, async () => {
          for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
            const calledAt = performance.now()
            const { rows } = await pool.query<{ ok: boolean }>({
              name: 'heartbeat',
              text: `SELECT ok FROM tasks_heartbeat('bench', $1, 1, $2, $3, 600000)`,
              values: [one.worker, one.ids, one.attempts],
            })
            if (rows.some(({ ok }) => !ok)) throw new Error('a lease was refused')
            calls.push(performance.now() - calledAt)
          }
        }),
      )
      rounds.push(performance.now() - startedAt)
    }
    const written = Number(
      (await pool.query<{ n: string }>(`SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1) AS n`, [startLsn]))
        .rows[0]?.n,
    )
    const grown = (await sizeOf(pool)) - before
    const of = `${workers} workers, ${leases} leases`
    const alone = { peer: null, ratio: null }
    return [
      { name: `heartbeat call, ${of}`, ...alone, ours: median(calls), unit: 'ms', goal: 'printed' },
      {
        name: `load of a database, ${of}`,
        ...alone,
        ours: median(rounds) / (INTERVAL_S * 10),
        unit: '% of 30 s',
        goal: 'printed',
      },
      {
        name: `log written a round, ${of}`,
        ...alone,
        ours: written / ROUNDS / 1024,
        unit: 'KiB',
        goal: 'printed',
      },
      {
        name: `tables grown in ${ROUNDS} rounds, ${of}`,
        ...alone,
        ours: grown / 1024,
        unit: 'KiB',
        goal: 'printed',
      },
    ]
  } finally {
    await pool.end()
  }
}

async function sizeOf(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(
    `SELECT pg_total_relation_size('task_attempts') + pg_total_relation_size('workers') + pg_total_relation_size('tasks') AS n`,
  )
  return Number(rows[0]?.n)
}

async function lsnOf(pool: Pool): Promise<string> {
  return (await pool.query<{ lsn: string }>('SELECT pg_current_wal_lsn() AS lsn')).rows[0]?.lsn ?? ''
}
