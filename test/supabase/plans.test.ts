import { Client } from 'pg'
import { expect, test } from 'vitest'
import { describeOnSupabase } from '../support/on-supabase.ts'

describeOnSupabase('plans that were made while tables were small', (supabase) => {
  test('a claim of one, a heartbeat and a report of one read a few rows, not all that wait or ran', async () => {
    const { sql, asAdmin, databaseUrl } = supabase()
    await sql(`INSERT INTO systems (id, max_queued) VALUES ('plans', 1000)`)
    await sql(`INSERT INTO projects (system_id, name) VALUES ('plans', 'app')`)
    await sql(`INSERT INTO projects (system_id, name, max_running) VALUES ('plans', 'other', 5)`)
    await sql(`SELECT worker_register('plans', 'w', '{}')`)
    const fill = async (count: number): Promise<unknown> =>
      sql(
        `INSERT INTO tasks (system_id, project, prompt) SELECT 'plans', 'app', 'Task ' || n FROM generate_series(1, $1::int) AS n`,
        [count],
      )
    const client = new Client({ connectionString: databaseUrl })
    await client.connect()
    const claim = async (limit: number, projects = ['app']): Promise<{ id: string }[]> =>
      (
        await client.query<{ id: string }>(
          `SELECT id FROM tasks_claim('plans', 'w', 1, $1, 600000, $2, NULL, '{}')`,
          [limit, projects],
        )
      ).rows
    const beat = async (id: string): Promise<unknown> =>
      client.query(`SELECT * FROM tasks_heartbeat('plans', 'w', 1, ARRAY[$1], ARRAY[1], 600000)`, [id])
    const finish = async (id: string): Promise<unknown> =>
      client.query(`SELECT task_finish('plans', 'w', 1, $1, 1, 'succeeded', NULL, NULL, NULL, NULL, NULL)`, [
        id,
      ])
    /** Entries of the indexes of attempts and of the queue that were read, by this connection too. */
    const readSoFar = async (): Promise<number> => {
      await client.query('SELECT pg_stat_force_next_flush()')
      const { rows } = await client.query<{ n: string }>(
        `SELECT sum(idx_tup_read) AS n FROM pg_stat_user_indexes
         WHERE indexrelname IN ('task_attempts_pkey', 'task_attempts_live', 'tasks_queued')`,
      )
      return Number(rows[0]?.n)
    }
    const cost = async (work: () => Promise<unknown>): Promise<number> => {
      const before = await readSoFar()
      await work()
      return (await readSoFar()) - before
    }
    try {
      await fill(1)
      await asAdmin('VACUUM ANALYZE tasks')
      await asAdmin('VACUUM ANALYZE task_attempts')
      const [first] = await claim(1)
      await beat(first?.id ?? '')
      await finish(first?.id ?? '')
      await claim(1, ['app', 'other'])
      await client.query(`SELECT * FROM tasks_reap('plans', 60000, 100)`)

      await fill(600)
      await asAdmin('ANALYZE tasks')
      const running = await claim(300)
      const [id = ''] = running.map((task) => task.id)
      expect(running).toHaveLength(300)
      expect(await cost(() => beat(id))).toBeLessThan(10)
      expect(await cost(() => finish(id))).toBeLessThan(10)
      // Entries of what was claimed a moment ago may be met once more.
      await claim(1)
      expect(await cost(() => claim(1))).toBeLessThan(10)
      // Of a project with a limit its own leases are counted, not all there are.
      expect(await cost(() => claim(1, ['app', 'other']))).toBeLessThan(20)
      expect(await cost(() => client.query(`SELECT * FROM tasks_reap('plans', 60000, 100)`))).toBeLessThan(10)
    } finally {
      await client.end()
    }
  })
})
