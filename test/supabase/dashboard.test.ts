import { createClient } from '@supabase/supabase-js'
import { Client } from 'pg'
import { beforeEach, expect, test } from 'vitest'
import { TASK_STATUSES } from '../../src/core/task/task.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

let counter = 0

describeOnSupabase('rows by hand', (supabase) => {
  let system = ''
  beforeEach(async () => {
    counter += 1
    system = `hand-${counter}`
    const { sql } = supabase()
    await sql(`INSERT INTO systems (id, default_project, max_queued) VALUES ($1, 'app', 20)`, [system])
    await sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'app')`, [system])
    await sql(`SELECT worker_register($1, 'w', '{}')`, [system])
  })

  type Row = { id: string; status: string; attempt: number; [column: string]: unknown }
  const insert = async (columns: Record<string, unknown> = {}): Promise<Row> => {
    const row: Record<string, unknown> = { system_id: system, prompt: 'Fix it.', ...columns }
    const names = Object.keys(row)
    const [stored] = await supabase().sql<Row>(
      `INSERT INTO tasks (${names.join(', ')}) VALUES (${names.map((_, index) => `$${index + 1}`).join(', ')}) RETURNING *`,
      Object.values(row),
    )
    if (stored === undefined) throw new Error('nothing was inserted')
    return stored
  }
  const claim = async (): Promise<string> => {
    const [task] = await supabase().sql<{ id: string }>(
      `SELECT id FROM tasks_claim($1, 'w', 1, 1, 60000, '{app}', NULL, '{}')`,
      [system],
    )
    return task?.id ?? ''
  }
  const finish = async (id: string, outcome: string): Promise<void> => {
    await supabase().sql(`SELECT task_finish($1, 'w', 1, $2, 1, $3, NULL, NULL, NULL, NULL, NULL)`, [
      system,
      id,
      outcome,
    ])
  }

  test('a prompt is enough: the project is the default one of the system', async () => {
    expect(await insert()).toMatchObject({
      status: 'queued',
      project: 'app',
      attempt: 0,
      source: 'dashboard',
      priority: 0,
    })
  })

  test('columns of the machine are overwritten, whatever the row said', async () => {
    const sloppy = {
      id: 'mine',
      status: 'running',
      attempt: 9,
      worker: 'me',
      failures: 2,
      lost_leases: 2,
      releases: 5,
      cancel_requested: true,
      cancel_reason: 'x',
      resume_worker: 'me',
      resume_until: '2030-01-01',
      claude_session_id: 'x',
      result: '{}',
      error: 'x',
      created_at: '2001-01-01',
      started_at: '2001-01-01',
      finished_at: '2001-01-01',
    }
    const stored = await insert(sloppy)
    expect(stored).toMatchObject({
      status: 'queued',
      attempt: 0,
      worker: null,
      failures: 0,
      lost_leases: 0,
      releases: 0,
      cancel_requested: false,
      cancel_reason: null,
      resume_worker: null,
      resume_until: null,
      claude_session_id: null,
      result: null,
      error: null,
      started_at: null,
      finished_at: null,
    })
    expect(stored.id).toMatch(/^[0-9a-hjkmnp-tv-z]{12}$/)
    expect(Number(stored['created_at'])).toBeGreaterThan(Date.now() - 60_000)
  })

  test.each([
    [{ prompt: ' \n' }, 'The prompt is empty.'],
    [{ prompt: 'ä'.repeat(51_201) }, 'The prompt has 102402 bytes; at most 102400 (100 KiB) are allowed.'],
    [{ project: 'typo' }, 'There is no project "typo" in the system'],
    [{ system_id: 'typo' }, 'There is no system "typo".'],
    [{ priority: 101 }, 'The priority 101 is not a whole number from -100 to 100.'],
    [{ role: 'A b' }, 'The role "A b" holds something else than a-z, 0-9 and -.'],
    [{ labels: ['GPU!'] }, 'The labels must be'],
    [{ depends_on: ['nobody'] }, 'It depends on task nobody, which does not exist.'],
    [
      { depends_on: Array.from({ length: 51 }, (_, index) => `t${index}`) },
      'It depends on 51 tasks; at most 50 are allowed.',
    ],
    [{ max_tokens: 0 }, 'The budget of tokens must be a whole number above 0.'],
    [{ max_cost_usd: 'NaN' }, 'The budget of dollars must be a number above 0.'],
    [{ source: 'Me' }, 'The source must be'],
    [{ permission_mode: 'root' }, 'The permission mode "root" is none of acceptEdits'],
    [{ timeout_s: 0 }, 'The timeout must be at least 1 second.'],
  ])('%o is refused with a sentence', async (columns, message) => {
    await expect(insert(columns)).rejects.toThrow(message)
    expect(await supabase().sql('SELECT id FROM tasks WHERE system_id = $1', [system])).toEqual([])
  })

  test('several faults are told at once', async () => {
    await expect(insert({ prompt: '', priority: 500, role: '?' })).rejects.toThrow(
      /empty.*priority 500.*role/,
    )
  })

  test('of two living tasks with one key the second is refused, with the name of the first', async () => {
    const { id } = await insert({ dedupe_key: 'k' })
    await expect(insert({ dedupe_key: 'k' })).rejects.toThrow(
      `Task ${id} has the same dedupe_key and is queued.`,
    )
  })

  test('a dependency that can never succeed is refused, and one that ends badly takes its dependents along', async () => {
    const first = await insert()
    const second = await insert({ depends_on: [first.id] })
    const third = await insert({ depends_on: [second.id] })
    await claim()
    await finish(first.id, 'failed_permanent')
    const rows = await supabase().sql<Row>('SELECT * FROM tasks WHERE system_id = $1 ORDER BY id', [system])
    expect(rows.map(({ id, status, error }) => [id, status, error])).toEqual([
      [first.id, 'failed', 'The attempt ended: failed_permanent.'],
      [second.id, 'cancelled', `Task ${first.id}, which it depends on, failed.`],
      [third.id, 'cancelled', `Task ${second.id}, which it depends on, was cancelled.`],
    ])
    await expect(insert({ depends_on: [first.id] })).rejects.toThrow('which failed: it could never start.')
  })

  test('many rows in one statement are taken whole or not at all', async () => {
    const add = async (count: number): Promise<unknown> =>
      supabase().sql(
        `INSERT INTO tasks (system_id, prompt) SELECT $1, 'p' || n FROM generate_series(1, $2::int) AS n`,
        [system, count],
      )
    await expect(add(21)).rejects.toThrow('The queue is full: 20 tasks are waiting.')
    await add(20)
    await expect(add(1)).rejects.toThrow('The queue is full')
    const ids = await supabase().sql<{ id: string; prompt: string }>(
      'SELECT id, prompt FROM tasks WHERE system_id = $1 ORDER BY id',
      [system],
    )
    expect(ids.map(({ prompt }) => prompt)).toEqual(Array.from({ length: 20 }, (_, index) => `p${index + 1}`))
  })

  test('a waiting task can be edited and deleted, and its new values are checked', async () => {
    const { sql } = supabase()
    const { id } = await insert()
    await sql(`UPDATE tasks SET prompt = 'Better.', priority = 5 WHERE id = $1`, [id])
    await expect(sql(`UPDATE tasks SET prompt = ' ' WHERE id = $1`, [id])).rejects.toThrow(
      'The prompt is empty.',
    )
    await expect(sql(`UPDATE tasks SET project = 'typo' WHERE id = $1`, [id])).rejects.toThrow(
      'There is no project',
    )
    const later = await sql(
      `UPDATE tasks SET scheduled_at = '2100-01-01Z' WHERE id = $1 RETURNING scheduled_at`,
      [id],
    )
    expect(later).toEqual([{ scheduled_at: new Date('2100-01-01T00:00:00Z') }])
    expect(await claim()).toBe('')
    await sql('UPDATE tasks SET scheduled_at = NULL WHERE id = $1', [id])
    expect(await claim()).toBe(id)
    await finish(id, 'succeeded')
    await sql('DELETE FROM tasks WHERE id = $1', [id])
  })

  test('a task that another one waits for cannot be deleted', async () => {
    const { id } = await insert()
    await insert({ depends_on: [id] })
    await expect(supabase().sql('DELETE FROM tasks WHERE id = $1', [id])).rejects.toThrow(
      'A living task depends on task',
    )
  })

  const ROLES = ['postgres', 'service_role'] as const
  /** Runs SQL as the role; postgres is who the dashboard is. */
  const as = async (role: (typeof ROLES)[number], statement: string): Promise<unknown> =>
    supabase().sql(`DO $do$ BEGIN SET LOCAL ROLE ${role}; ${statement}; END $do$`)

  test.each(ROLES)('a claimed task can be neither edited nor deleted as %s', async (role) => {
    await insert()
    const id = await claim()
    await expect(as(role, `UPDATE tasks SET prompt = 'x' WHERE id = '${id}'`)).rejects.toThrow(
      `Task ${id} has been claimed and is running: it cannot be edited any more.`,
    )
    await expect(as(role, `DELETE FROM tasks WHERE id = '${id}'`)).rejects.toThrow(
      'is running: it cannot be deleted',
    )
    await expect(as(role, `UPDATE tasks SET attempt = 0 WHERE id = '${id}'`)).rejects.toThrow(
      'its status is not set by hand, nor what else the queue sets',
    )
    await finish(id, 'succeeded')
    await expect(as(role, `UPDATE tasks SET result = '{}' WHERE id = '${id}'`)).rejects.toThrow(
      'nor what else the queue sets',
    )
    await expect(as(role, `UPDATE tasks SET prompt = 'x' WHERE id = '${id}'`)).rejects.toThrow(
      `Task ${id} has been claimed and is succeeded`,
    )
    await as(role, `DELETE FROM tasks WHERE id = '${id}'`)
    expect(await supabase().sql('SELECT task_id FROM task_attempts WHERE system_id = $1', [system])).toEqual(
      [],
    )
  })

  test.each(ROLES)('no move of the status by hand is taken from %s', async (role) => {
    const made: string[] = []
    for (const outcome of ['succeeded', 'failed_permanent', 'cancelled', null]) {
      await insert()
      const id = await claim()
      if (outcome !== null) await finish(id, outcome)
      made.push(id)
    }
    made.push((await insert()).id)
    const moves = await supabase().sql<{ id: string; status: string }>(
      `SELECT t.id, s.status FROM tasks AS t, unnest($2::text[]) AS s (status)
       WHERE t.id = ANY ($1) AND t.status <> s.status`,
      [made, TASK_STATUSES],
    )
    expect(moves).toHaveLength(made.length * (TASK_STATUSES.length - 1))
    for (const { id, status } of moves) {
      await expect(as(role, `UPDATE tasks SET status = '${status}' WHERE id = '${id}'`)).rejects.toThrow(
        'its status is not set by hand',
      )
    }
  })

  test.each([
    `UPDATE tasks SET attempt = 5`,
    `UPDATE tasks SET id = 'x'`,
    `UPDATE tasks SET dedupe_key = 'x'`,
    `UPDATE tasks SET worker = 'w'`,
    `UPDATE tasks SET depends_on = '{x}'`,
    `UPDATE tasks SET resume_worker = 'w', resume_until = now()`,
    `TRUNCATE tasks CASCADE`,
    `UPDATE task_attempts SET outcome = 'succeeded', ended_at = now()`,
    `DELETE FROM task_attempts`,
    `INSERT INTO task_attempts VALUES ('s', 't', 1, 'w', 1, now(), now())`,
    `UPDATE workers SET epoch = epoch + 1`,
    `DELETE FROM workers`,
  ])('%s is refused also to the owner', async (statement) => {
    await insert()
    await claim()
    await insert()
    await expect(supabase().sql(statement)).rejects.toMatchObject({ code: 'PT409' })
  })

  test.each(ROLES)('nor does %s get at a row by what else can write one', async (role) => {
    await insert()
    const id = await claim()
    for (const statement of [
      `INSERT INTO tasks (system_id, id, project, prompt) VALUES ('${system}', '${id}', 'app', 'x')
         ON CONFLICT (system_id, id) DO UPDATE SET status = 'succeeded'`,
      `MERGE INTO tasks AS t USING (SELECT '${id}' AS id) AS s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET finished_at = now()`,
      `UPDATE tasks SET status = (SELECT set_config('ccm.step', 'on', true) FROM (SELECT 1) AS one)`,
      `WITH moved AS (UPDATE tasks SET worker = NULL RETURNING id) SELECT FROM moved`,
    ])
      await expect(as(role, `EXECUTE $x$ ${statement} $x$`)).rejects.toMatchObject({ code: 'PT409' })
    expect(await supabase().sql('SELECT status, worker FROM tasks WHERE id = $1', [id])).toEqual([
      { status: 'running', worker: 'w' },
    ])
  })

  test('each column of a task is looked after by a trigger when it is set by hand', async () => {
    const columns = await supabase().sql<{ name: string }>(
      `SELECT attname AS name FROM pg_attribute AS a
       WHERE attrelid = 'tasks'::regclass AND attnum > 0 AND NOT attisdropped AND NOT EXISTS (
         SELECT FROM pg_trigger AS t WHERE t.tgrelid = a.attrelid AND NOT tgisinternal AND a.attnum = ANY (tgattr))`,
    )
    expect(columns).toEqual([])
  })

  test('an attempt cannot end as something that there is not, nor as nothing', async () => {
    await insert()
    const id = await claim()
    for (const outcome of ['lost', 'running', 'done', null])
      await expect(
        supabase().sql(`SELECT task_finish($1, 'w', 1, $2, 1, $3, NULL, NULL, NULL, NULL, NULL)`, [
          system,
          id,
          outcome,
        ]),
      ).rejects.toMatchObject({ code: 'PT400' })
    expect(await supabase().sql('SELECT status FROM tasks WHERE id = $1', [id])).toEqual([
      { status: 'running' },
    ])
    await finish(id, 'succeeded')
  })

  test('who sets a limit by hand and a claim that is under way never wait for each other in a ring', async () => {
    const { sql, databaseUrl } = supabase()
    await sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'other')`, [system])
    for (const project of ['app', 'other', 'app', 'other']) await insert({ project })
    const claimer = new Client({ connectionString: databaseUrl })
    const person = new Client({ connectionString: databaseUrl })
    await Promise.all([claimer.connect(), person.connect()])
    const take = async (project: string): Promise<number | null> =>
      (
        await claimer.query(`SELECT id FROM tasks_claim($1, 'w', 1, 1, 60000, $2, NULL, '{}')`, [
          system,
          [project],
        ])
      ).rowCount
    try {
      await claimer.query('BEGIN')
      expect(await take('other')).toBe(1)
      const set = person.query(`UPDATE projects SET max_running = 2 WHERE system_id = $1`, [system])
      await expect
        .poll(() => sql(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`))
        .toHaveLength(1)
      expect(await take('app')).toBe(1)
      await claimer.query('COMMIT')
      await set
      expect([await take('app'), await take('app')]).toEqual([1, 0])
    } finally {
      await Promise.all([claimer.end(), person.end()])
    }
  })

  test('what a function of the queue may do is not lent to the statement after it', async () => {
    await insert()
    const id = await claim()
    await expect(
      supabase().sql(
        `BEGIN; SELECT task_cancel('${system}', '${id}', 'x'); UPDATE tasks SET status = 'queued'; COMMIT`,
      ),
    ).rejects.toThrow('its status is not set by hand')
    await supabase().sql('ROLLBACK')
  })

  test('over the API a refusal has its status and its sentence', async () => {
    const { url, secretKey } = supabase()
    const client = createClient(url, secretKey)
    const refused = await client.from('tasks').insert({ system_id: system, project: 'typo', prompt: 'x' })
    expect(refused).toMatchObject({
      status: 400,
      error: { code: 'PT400', message: `There is no project "typo" in the system "${system}".` },
    })
    await supabase().sql(`UPDATE systems SET max_queued = 1 WHERE id = $1`, [system])
    await insert()
    const full = await client.from('tasks').insert({ system_id: system, prompt: 'x' })
    expect(full).toMatchObject({
      status: 429,
      error: { code: 'PT429', message: 'The queue is full: 1 tasks are waiting.' },
    })
  })
})
