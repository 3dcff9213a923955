import { Client, Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { from, reportOf } from '../queue/bench.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createPostgresCall } from '../support/postgres-call.ts'

/** Whoever has this lock holds every look at dependencies: a statement waits there that has taken its snapshot. */
const GATE = 20261130

let counter = 0

describeOnSupabase(
  'edits by hand while the queue is at work',
  (supabase) => {
    let system = ''
    /** Somebody in the SQL editor, in a transaction of their own. */
    let person: Client
    let worker: Client
    beforeEach(async () => {
      counter += 1
      system = `edits-${counter}`
      const { sql, databaseUrl } = supabase()
      await sql(`INSERT INTO systems (id, max_queued) VALUES ($1, 1000)`, [system])
      await sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'app'), ($1, 'other')`, [system])
      await sql(`SELECT worker_register($1, 'w', '{}')`, [system])
      person = new Client({ connectionString: databaseUrl })
      worker = new Client({ connectionString: databaseUrl })
      await Promise.all([person.connect(), worker.connect()])
      await worker.query(`SET statement_timeout = '20s'`)
    })
    afterEach(async () => Promise.all([person.end(), worker.end()]))
    let pool: Pool
    beforeAll(() => {
      pool = new Pool({ connectionString: supabase().databaseUrl, max: 2 })
    })
    afterAll(async () => pool.end())

    const insert = async (project: string, columns = {}): Promise<string> => {
      const row = { system_id: system, project, prompt: 'Fix it.', ...columns }
      const names = Object.keys(row)
      const [task] = await supabase().sql<{ id: string }>(
        `INSERT INTO tasks (${names.join(', ')}) VALUES (${names.map((_, n) => `$${n + 1}`).join(', ')}) RETURNING id`,
        Object.values(row),
      )
      return task?.id ?? ''
    }
    const claim = async (limit: number, projects = ['app', 'other']): Promise<string[]> => {
      const { rows } = await worker.query<{ id: string }>(
        `SELECT id FROM tasks_claim($1, 'w', 1, $2, 60000, $3, NULL, '{}')`,
        [system, limit, projects],
      )
      return rows.map(({ id }) => id)
    }
    const finish = async (id: string, outcome: string, attempt = 1): Promise<string | undefined> => {
      const { rows } = await worker.query<{ reply: string }>(
        `SELECT task_finish($1, 'w', 1, $2, $3, $4, '{"text": "x"}', 'It broke.', NULL, NULL, NULL) AS reply`,
        [system, id, attempt, outcome],
      )
      return rows[0]?.reply
    }
    const someoneWaits = async (locktype: string): Promise<void> => {
      const waits = () =>
        supabase().sql(`SELECT FROM pg_locks WHERE NOT granted AND locktype = $1`, [locktype])
      await expect.poll(waits).toHaveLength(1)
    }

    /** What a claim of five takes while which somebody changes a task; it waits for another one, which has succeeded. */
    const editWhileClaimed = async (change: string): Promise<{ moved: string; taken: string[] }> => {
      const first = await insert('app', { priority: 9 })
      expect(await claim(1)).toEqual([first])
      await finish(first, 'succeeded')
      const moved = await insert('app', { depends_on: [first] })
      await person.query(`SELECT pg_advisory_lock(${GATE})`)
      const claiming = claim(5)
      await someoneWaits('advisory')
      await person.query(`UPDATE tasks SET ${change} WHERE id = $1`, [moved])
      await person.query(`SELECT pg_advisory_unlock(${GATE})`)
      return { moved, taken: await claiming }
    }

    test('a claim passes over a task that somebody is editing, and takes it as it was left', async () => {
      const edited = await insert('app', { priority: 9 })
      const others = [await insert('app', { priority: 9 }), await insert('other'), await insert('app')]
      await person.query('BEGIN')
      await person.query(`UPDATE tasks SET prompt = 'Better.' WHERE id = $1`, [edited])
      expect(await claim(1)).toEqual(others.slice(0, 1))
      expect(await claim(9)).toEqual(others.slice(1))
      await person.query('COMMIT')
      expect(await claim(1)).toEqual([edited])
    })

    test('however many somebody is editing, those that are left are found in a few looks', async () => {
      await supabase().sql(
        `INSERT INTO tasks (system_id, project, prompt, priority) SELECT $1, 'app', 'x', 9 FROM generate_series(1, 500)`,
        [system],
      )
      const [left, second] = [await insert('app'), await insert('other')]
      await person.query('BEGIN')
      await person.query(`UPDATE tasks SET priority = 8 WHERE system_id = $1 AND priority = 9`, [system])
      const readSoFar = async (): Promise<number> => {
        await worker.query('SELECT pg_stat_force_next_flush()')
        const { rows } = await worker.query<{ n: string }>(
          `SELECT idx_tup_read AS n FROM pg_stat_user_indexes WHERE indexrelname = 'tasks_queued'`,
        )
        return Number(rows[0]?.n)
      }
      const before = await readSoFar()
      expect(await claim(2)).toEqual([left, second])
      expect((await readSoFar()) - before).toBeLessThan(500 * 30)
      await person.query('ROLLBACK')
    })

    test.each([
      ['project', `'elsewhere'`],
      ['scheduled_at', `'2100-01-01Z'`],
      ['only_worker', `'another'`],
      ['labels', `'{gpu}'`],
    ])(
      'a task whose %s is changed while a claim looks at it is not claimed as it was',
      async (column, value) => {
        await supabase().sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'elsewhere')`, [system])
        const { taken } = await editWhileClaimed(`${column} = ${value}`)
        expect(taken).toEqual([])
      },
    )

    test('a task that anyone may have also after the edit is claimed with it', async () => {
      const { moved, taken } = await editWhileClaimed(`prompt = 'Better.'`)
      expect(taken).toEqual([moved])
      expect(await supabase().sql(`SELECT prompt, status FROM tasks WHERE id = $1`, [moved])).toEqual([
        { prompt: 'Better.', status: 'running' },
      ])
    })

    test('a task that is moved while a claim looks at it does not exceed the limit of its new project', async () => {
      await supabase().sql(`UPDATE projects SET max_running = 1 WHERE system_id = $1 AND name = 'other'`, [
        system,
      ])
      const running = await insert('other')
      expect(await claim(2)).toEqual([running])
      const { taken } = await editWhileClaimed(`project = 'other'`)
      expect(taken).toEqual([])
    })

    test('a text that is emptied by hand is none, as in a row that is inserted', async () => {
      const emptied = { role: '', model: '', only_worker: '' }
      const id = await insert('app', { role: 'tester', model: 'opus', only_worker: 'another' })
      const set = Object.keys(emptied).map((column) => `${column} = ''`)
      const [row] = await supabase().sql(
        `WITH edited AS (UPDATE tasks SET ${set.join(', ')} WHERE id = $1) SELECT scheduled_at FROM tasks WHERE id = $1`,
        [id],
      )
      const stored = `SELECT role, model, only_worker, scheduled_at FROM tasks WHERE id = $1`
      const none = { role: null, model: null, only_worker: null }
      expect(await supabase().sql(stored, [id])).toEqual([{ ...none, ...row }])
      expect(await supabase().sql(stored, [await insert('app', emptied)])).toMatchObject([none])
      expect(await claim(1)).toEqual([id])
    })

    const rowOf = async (id: string) =>
      supabase().sql(
        `SELECT t.status, t.error, t.worker, t.finished_at IS NOT NULL AS ended, a.outcome
         FROM tasks AS t LEFT JOIN task_attempts AS a ON a.task_id = t.id AND a.attempt = t.attempt WHERE t.id = $1`,
        [id],
      )
    /** Cancels the task in a transaction that ends once `work`, which meets the task meanwhile, waits for it. */
    const cancelDuring = async <T>(id: string, work: () => Promise<T>): Promise<T> => {
      await person.query('BEGIN')
      await person.query(`SELECT task_cancel($1, $2, 'Not needed.')`, [system, id])
      const working = work()
      await someoneWaits('transactionid')
      await person.query('COMMIT')
      return working
    }

    test.each(['failed', 'released'])(
      'a cancel that is answered while a report of %s is taken counts',
      async (outcome) => {
        const id = await insert('app')
        const after = await insert('app', { depends_on: [id] })
        expect(await claim(1)).toEqual([id])
        expect(await cancelDuring(id, () => finish(id, outcome))).toBe('cancelled')
        expect(await rowOf(id)).toEqual([
          { status: 'cancelled', error: 'Not needed.', worker: 'w', ended: true, outcome },
        ])
        expect(await rowOf(after)).toMatchObject([{ status: 'cancelled' }])
      },
    )

    test('a heartbeat and reports that meet wait for each other, whatever order they are given in', async () => {
      const call = createPostgresCall(pool)
      const queue = createSupabaseQueue({ call, system, worker: 'w', newKey: () => crypto.randomUUID() })
      await queue.register()
      for (let count = 0; count < 3; count += 1) await insert('app')
      const [first, second, third] = await queue.claim(3, from(['app']))
      if (first === undefined || second === undefined || third === undefined) throw new Error('too few')
      const leases = [third, second, first].map(({ id, attempt }) => ({ taskId: id, attempt }))
      await person.query('BEGIN')
      await person.query(`SELECT FROM task_attempts WHERE task_id = $1 FOR UPDATE`, [second.id])
      const waiting = () => supabase().sql(`SELECT pid FROM pg_locks WHERE NOT granted`)
      const beating = queue.heartbeat(leases).then((replies) => replies.map(({ ok }) => ok), String)
      await expect.poll(waiting).toHaveLength(1)
      const reports = [reportOf(first, 'failed_permanent'), reportOf(third, 'succeeded')]
      const finishing = queue.finishMany(reports).catch(String)
      await expect.poll(waiting).toHaveLength(2)
      await person.query('COMMIT')
      expect(await Promise.all([beating, finishing])).toEqual([
        [true, true, true],
        ['failed', 'succeeded'],
      ])
    })

    test('two cancels that share dependents wait for each other, and neither is refused', async () => {
      const [one, two] = [await insert('app'), await insert('app')]
      const third = await insert('app', { depends_on: [one] })
      const fourth = await insert('app', { depends_on: [third, two] })
      const last = await insert('app', { depends_on: [one, fourth] })
      await person.query('BEGIN')
      await person.query(`SELECT FROM tasks WHERE id = $1 FOR UPDATE`, [last])
      const waiting = () => supabase().sql(`SELECT pid FROM pg_locks WHERE NOT granted`)
      const cancelling: Promise<unknown>[] = []
      for (const id of [one, two]) {
        const cancel = `SELECT task_cancel($1, $2, 'Not needed.') AS reply`
        cancelling.push(
          supabase()
            .sql<{ reply: string }>(cancel, [system, id])
            .then(([row]) => row?.reply, String),
        )
        await expect.poll(waiting).toHaveLength(cancelling.length)
      }
      await person.query('COMMIT')
      expect(await Promise.all(cancelling)).toEqual(['cancelled', 'cancelled'])
      const stored = await supabase().sql<{ status: string }>(
        `SELECT status FROM tasks WHERE system_id = $1 AND id = ANY($2)`,
        [system, [one, two, third, fourth, last]],
      )
      expect(stored.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => 'cancelled'))
    })

    test('a cancel that is answered while a lost lease is taken back counts', async () => {
      const id = await insert('app')
      const after = await insert('app', { depends_on: [id] })
      expect(await claim(1)).toEqual([id])
      const reaped = await cancelDuring(id, () =>
        worker.query<{ id: string; status: string }>(`SELECT id, status FROM tasks_reap($1, -3600000, 9)`, [
          system,
        ]),
      )
      expect(reaped.rows).toEqual([{ id, status: 'cancelled' }])
      expect(await rowOf(id)).toEqual([
        { status: 'cancelled', error: 'Not needed.', worker: 'w', ended: true, outcome: 'lost' },
      ])
      expect(await rowOf(after)).toMatchObject([{ status: 'cancelled' }])
    })
  },
  async ({ sql }) => {
    const [asked] = await sql<{ text: string }>(
      `SELECT pg_get_functiondef('ccm.are_met(text, text[])'::regprocedure) AS text`,
    )
    const gated = asked?.text.replace(
      /begin\n/i,
      `$&  perform pg_catalog.pg_advisory_xact_lock_shared(${GATE});\n`,
    )
    await sql(gated ?? '')
  },
)
