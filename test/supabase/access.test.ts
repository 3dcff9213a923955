import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, expect, test } from 'vitest'
import { describeOnSupabase } from '../support/on-supabase.ts'

const TABLES = [
  'systems',
  'projects',
  'tasks',
  'task_attempts',
  'task_events',
  'workers',
  'templates',
  'metrics',
  'incidents',
]

/** A row of the given system for each table that a stranger might try to fill. */
const ROWS: Record<string, (system: string) => Record<string, unknown>> = {
  systems: (system) => ({ id: `${system}-2` }),
  projects: (system_id) => ({ system_id, name: 'other' }),
  tasks: (system_id) => ({ system_id, project: 'app', prompt: 'Fix it.' }),
  task_attempts: (system_id) => ({ system_id, task_id: 'x', attempt: 1, worker: 'w', epoch: 1 }),
  task_events: (system_id) => ({ system_id, task_id: 'x', attempt: 1, seq: 1, kind: 'state' }),
  workers: (system_id) => ({ system_id, id: 'w2', epoch: 1 }),
  templates: (system_id) => ({ system_id, name: 't2', prompt: 'Fix it.' }),
  metrics: (system_id) => ({ system_id, worker: 'w', minute: '2026-01-01T00:00:00Z' }),
  incidents: (system_id) => ({
    system_id,
    worker: 'w',
    seq: 2,
    at: '2026-01-01T00:00:00Z',
    kind: 'k',
    message: 'm',
  }),
}
const REFUSED = { code: '42501' }

describeOnSupabase('who may do what', (supabase) => {
  let anon: SupabaseClient
  let member: SupabaseClient
  let stranger: SupabaseClient
  let worker: SupabaseClient
  let taskId = ''

  const signUp = async (email: string): Promise<{ client: SupabaseClient; userId: string }> => {
    const { url, publishableKey } = supabase()
    const client = createClient(url, publishableKey, {
      auth: { persistSession: false, autoRefreshToken: false },
    })
    const { data, error } = await client.auth.signUp({ email, password: 'correct horse battery' })
    if (error !== null || data.user === null) throw new Error(`no user: ${error?.message}`)
    return { client, userId: data.user.id }
  }

  beforeAll(async () => {
    const { url, publishableKey, secretKey, sql } = supabase()
    const auth = { persistSession: false, autoRefreshToken: false }
    anon = createClient(url, publishableKey, { auth })
    worker = createClient(url, secretKey, { auth })
    const [mine, theirs] = [await signUp('a@example.com'), await signUp('b@example.com')]
    member = mine.client
    stranger = theirs.client
    await sql(
      `INSERT INTO systems (id, default_project, members) VALUES ('ours', 'app', ARRAY[$1::uuid]), ('theirs', 'app', ARRAY[$2::uuid])`,
      [mine.userId, theirs.userId],
    )
    await sql(`INSERT INTO projects (system_id, name) VALUES ('ours', 'app'), ('theirs', 'app')`)
    await sql(`SELECT worker_register('ours', 'w', '{}')`)
    await sql(`INSERT INTO tasks (system_id, prompt) VALUES ('ours', 'Fix it.')`)
    const [task] = await sql<{ id: string }>(
      `SELECT id FROM tasks_claim('ours', 'w', 1, 1, 60000, '{app}', NULL, '{}')`,
    )
    taskId = task?.id ?? ''
    await sql(
      `INSERT INTO task_events (system_id, task_id, attempt, seq, at, kind) VALUES ('ours', $1, 1, 1, now(), 'state')`,
      [taskId],
    )
    await sql(`INSERT INTO templates (system_id, name, prompt) VALUES ('ours', 't', 'Fix it.')`)
    await sql(`INSERT INTO metrics (system_id, worker, minute) VALUES ('ours', 'w', now())`)
    await sql(
      `INSERT INTO incidents (system_id, worker, seq, at, kind, message) VALUES ('ours', 'w', 1, now(), 'k', 'm')`,
    )
  })

  const clientOf = (who: string): SupabaseClient => ({ anon, stranger, member })[who] ?? anon

  test.each(TABLES)('anon reads and writes nothing of %s', async (table) => {
    expect((await anon.from(table).select()).error).toMatchObject(REFUSED)
    expect((await anon.from(table).insert(ROWS[table]?.('ours') ?? {})).error).toMatchObject(REFUSED)
    expect((await anon.from(table).delete().eq('system_id', 'ours')).error).not.toBeNull()
  })

  test.each(TABLES)('a user sees %s of own systems only', async (table) => {
    const key = table === 'systems' ? 'id' : 'system_id'
    const seen = async (client: SupabaseClient): Promise<unknown[]> => {
      const { data, error } = await client.from(table).select()
      expect(error).toBeNull()
      return (data ?? []).map((row: Record<string, unknown>) => row[key])
    }
    expect(await seen(member)).toEqual(['ours'])
    const theirs = table === 'systems' || table === 'projects' ? ['theirs'] : []
    expect(await seen(stranger)).toEqual(theirs)
  })

  test.each(
    TABLES.flatMap((table) => [
      ['member', table],
      ['stranger', table],
    ]),
  )('a %s changes and deletes nothing of %s', async (who, table) => {
    const client = clientOf(who)
    const key = table === 'systems' ? 'id' : 'system_id'
    expect(
      (
        await client
          .from(table)
          .update({ [key]: 'ours' })
          .eq(key, 'ours')
      ).error,
    ).toMatchObject(REFUSED)
    expect((await client.from(table).delete().eq(key, 'ours')).error).toMatchObject(REFUSED)
    if (table === 'tasks' && who === 'member') return
    const { error } = await client.from(table).insert(ROWS[table]?.('ours') ?? {})
    expect(error).not.toBeNull()
  })

  test('a stranger is told of a foreign system what is told of none', async () => {
    const [foreign, none] = [
      await stranger.from('tasks').insert({ system_id: 'ours', project: 'app', prompt: 'x' }),
      await stranger.from('tasks').insert({ system_id: 'none', project: 'app', prompt: 'x' }),
    ]
    expect(foreign.error).toMatchObject({ code: 'PT400', message: 'There is no system "ours".' })
    expect(none.error).toMatchObject({ code: 'PT400', message: 'There is no system "none".' })
    const cancelled = await stranger.rpc('task_cancel', { p_system: 'ours', p_task: taskId, p_reason: 'x' })
    expect(cancelled.data).toBe('unknown')
  })

  test('a member adds a task with a prompt alone, sees it and cancels it', async () => {
    expect((await member.from('tasks').insert({ prompt: 'From an app.' })).error).toBeNull()
    const { data } = await member
      .from('tasks')
      .select('id, system_id, project, status')
      .eq('prompt', 'From an app.')
    expect(data).toMatchObject([{ system_id: 'ours', project: 'app', status: 'queued' }])
    const id = String(data?.[0]?.id)
    const parameters = { p_system: 'ours', p_task: id, p_reason: 'Not needed.' }
    expect((await member.rpc('task_cancel', parameters)).data).toBe('cancelled')
    expect((await member.rpc('task_cancel', { ...parameters, p_task: taskId })).data).toBe('requested')
  })

  test.each([
    { status: 'succeeded' },
    { attempt: 9 },
    { worker: 'w' },
    { result: {} },
    { id: 'mine' },
    { only_worker: 'w' },
    { source: 'github' },
    { in_place: true },
    { claude_session_id: 'x' },
    { request_key: 'x' },
  ])('a member cannot set %o', async (more) => {
    const { error } = await member
      .from('tasks')
      .insert({ system_id: 'ours', project: 'app', prompt: 'x', ...more })
    expect(error).toMatchObject(REFUSED)
  })

  test('neither anon nor a user calls a function of the workers', async () => {
    const functions = await supabase().sql<{ name: string; parameters: string[] }>(
      `SELECT proname AS name, coalesce(proargnames[1:pronargs], '{}') AS parameters FROM pg_proc
       WHERE pronamespace = 'public'::regnamespace AND prorettype <> 'trigger'::regtype`,
    )
    expect(functions.length).toBeGreaterThan(15)
    for (const { name, parameters } of functions) {
      const nothing = Object.fromEntries(parameters.map((parameter) => [parameter, null]))
      expect([name, (await anon.rpc(name, nothing)).error]).toMatchObject([name, REFUSED])
      if (name === 'task_cancel') continue
      expect([name, (await member.rpc(name, nothing)).error]).toMatchObject([name, REFUSED])
    }
  })

  test('the secret key may do what workers do, and edit what people edit', async () => {
    expect(
      (await worker.from('tasks').insert({ system_id: 'ours', project: 'app', prompt: 'By a webhook.' }))
        .error,
    ).toBeNull()
    for (const table of TABLES) expect((await worker.from(table).select().limit(1)).error).toBeNull()
    expect((await worker.from('workers').update({ draining: false }).eq('id', 'w')).error).toBeNull()
    expect(
      (await worker.from('task_attempts').update({ outcome: 'succeeded' }).eq('worker', 'w')).error,
    ).toMatchObject(REFUSED)
    expect((await worker.from('workers').update({ epoch: 9 }).eq('id', 'w')).error).toMatchObject(REFUSED)
  })

  test('every function keeps its search path, and PUBLIC may call none', async () => {
    const loose = await supabase().sql(
      `SELECT oid::regprocedure::text AS name FROM pg_proc
       WHERE pronamespace IN ('public'::regnamespace, 'ccm'::regnamespace)
         -- A body that was bound when it was made looks nothing up any more.
         AND ((NOT coalesce('search_path=""' = ANY (proconfig), false) AND prosqlbody IS NULL)
           OR (prorettype <> 'trigger'::regtype AND (has_function_privilege('anon', oid, 'EXECUTE'))))`,
    )
    expect(loose).toEqual([])
  })

  test('every table has row level security, and every column explains itself', async () => {
    const { sql } = supabase()
    expect(
      await sql(
        `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity`,
      ),
    ).toEqual([])
    const tables = await sql<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`,
    )
    expect(tables.map(({ name }) => name)).toEqual(TABLES.toSorted())
    expect(
      await sql(
        `SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
           AND coalesce(col_description(attrelid, attnum), '') !~ '^\\S.*\\.$'`,
      ),
    ).toEqual([])
  })

  test('Realtime is told of tasks, and of tasks only', async () => {
    const published = await supabase().sql(
      `SELECT tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime'`,
    )
    expect(published).toEqual([{ tablename: 'tasks' }])
  })
})
