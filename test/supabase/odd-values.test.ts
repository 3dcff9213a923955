import { beforeEach, expect, test } from 'vitest'
import type { Queue } from '../../src/core/task/queue.ts'
import { createSupabase } from '../../src/queue/supabase/client.ts'
import { createSupabaseQueue } from '../../src/queue/supabase/queue.ts'
import { createSharedRecords } from '../../src/queue/supabase/records.ts'
import { listWorkers } from '../../src/queue/supabase/workers.ts'
import { from, newTask, reportOf, RESULT } from '../queue/bench.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

let systems = 0

describeOnSupabase('what one side can hold and the other cannot', (supabase) => {
  let system = ''
  let queue: Queue
  beforeEach(async () => {
    systems += 1
    system = `odd-${systems}`
    const { sql, url, secretKey } = supabase()
    await sql('INSERT INTO systems (id, max_queued) VALUES ($1, 20)', [system])
    await sql(`INSERT INTO projects (system_id, name) VALUES ($1, 'app')`, [system])
    const { call } = createSupabase({ url, secretKey })
    queue = createSupabaseQueue({ call, system, worker: 'w', newKey: () => crypto.randomUUID() })
    await queue.register()
  })
  const claimed = async () => {
    await queue.insert(newTask())
    const [task] = await queue.claim(1, from(['app']))
    if (task === undefined) throw new Error('nothing was claimed')
    return task
  }

  test.each([
    ['nothing in a list', 'allowed_tools', '{NULL}'],
    ['nothing beside something', 'disallowed_tools', '{Bash,NULL}'],
    ['lists in a list', 'allowed_tools', '{{Bash,Read},{Edit,Write}}'],
    ['an empty rule', 'disallowed_tools', '{""}'],
    [
      'too many rules',
      'allowed_tools',
      `{${Array.from({ length: 201 }, (_, index) => `T${index}`).join(',')}}`,
    ],
  ])('tools with %s are refused with a sentence', async (_, column, value) => {
    const insert = `INSERT INTO tasks (system_id, project, prompt, ${column}) VALUES ($1, 'app', 'x', $2)`
    await expect(supabase().sql(insert, [system, value])).rejects.toThrow(/The (dis)?allowed tools must be/)
    const { task } = await queue.insert(newTask())
    const update = `UPDATE tasks SET ${column} = $2 WHERE system_id = $1`
    await expect(supabase().sql(update, [system, value])).rejects.toThrow(/The (dis)?allowed tools must be/)
    // The error comes before the end of what failed, and until then a claim passes the locked row over.
    await expect.poll(() => queue.claim(9, from(['app']))).toMatchObject([{ id: task.id }])
  })

  test.each([
    ['labels', '{{a,b},{c,d}}', 'The labels must be'],
    ['model', '--settings=x y', 'The model "--settings=x y" is no id of a model.'],
  ])('nor is %s set to %s', async (column, value, message) => {
    await queue.insert(newTask())
    const update = `UPDATE tasks SET ${column} = $2 WHERE system_id = $1`
    await expect(supabase().sql(update, [system, value])).rejects.toThrow(message)
  })

  test('a result and an error with NUL and half a surrogate pair come to their row', async () => {
    const task = await claimed()
    const report = reportOf(task, 'failed_permanent', {
      result: { ...RESULT, text: 'a\0b\ud800c', errors: [{ kind: '\\u0000 stays', message: '\0', at: 1 }] },
      error: 'It broke: \0\udfff.',
    })
    expect(await queue.finish(report)).toBe('failed')
    expect(await queue.get(task.id)).toMatchObject({
      status: 'failed',
      error: 'It broke: \ufffd\ufffd.',
      result: { text: 'a\ufffdb\ufffdc', errors: [{ kind: '\\u0000 stays', message: '\ufffd' }] },
    })
  })

  test('an event with NUL and half a surrogate pair is stored', async () => {
    const { url, secretKey, sql } = supabase()
    const { client } = createSupabase({ url, secretKey })
    const records = createSharedRecords(client, { system, worker: 'w', secretKey })
    const { id } = await claimed()
    await records.putEvents([
      { taskId: id, attempt: 1, seq: 1, at: 0, kind: 'state', message: 'a\0b', data: { to: '\ud800' } },
    ])
    expect(await sql('SELECT message, data FROM task_events WHERE system_id = $1', [system])).toEqual([
      { message: 'a\ufffdb', data: { to: '\ufffd' } },
    ])
  })

  test('lists are whole where the API cuts rows at 1,000', async () => {
    const { url, secretKey, sql } = supabase()
    await sql('UPDATE systems SET max_queued = 5000 WHERE id = $1', [system])
    await sql(
      `INSERT INTO tasks (system_id, project, prompt) SELECT $1, 'app', 'x' FROM generate_series(1, 1001)`,
      [system],
    )
    await sql(`SELECT count(worker_register($1, 'w' || n, '{}')) FROM generate_series(1, 1001) AS n`, [
      system,
    ])
    const many = new Set(
      (await sql<{ proname: string }>('SELECT proname FROM pg_proc WHERE proretset')).map(
        ({ proname }) => proname,
      ),
    )
    // As PostgREST does with db-max-rows; functions that answer one value are not cut.
    const cutting: typeof fetch = async (input, init) => {
      const response = await fetch(input, init)
      const path = new URL(input instanceof Request ? input.url : String(input)).pathname
      const name = path.split('/').at(-1) ?? ''
      if (path.includes('/rpc/') && !many.has(name)) return response
      const body: unknown = await response.json()
      return Response.json(Array.isArray(body) ? body.slice(0, 1000) : body, { status: response.status })
    }
    const { call } = createSupabase({ url, secretKey, fetch: cutting })
    const other = createSupabaseQueue({ call, system, worker: 'w', newKey: () => crypto.randomUUID() })
    expect(await other.list({ limit: 1001 })).toHaveLength(1001)
    expect(await listWorkers(call, system)).toHaveLength(1002)
  })

  test('a worker whose row somebody has edited by hand hides no other', async () => {
    const { url, secretKey, sql } = supabase()
    const { call } = createSupabase({ url, secretKey })
    await sql(`SELECT worker_register($1, 'other', '{"projects":{"app":"/app"}}')`, [system])
    for (const [column, value] of [
      ['projects', '[]'],
      ['projects', '{"app":null,"more":{"dir":"/x"}}'],
      ['roles', '{NULL}'],
      ['labels', '{gpu,NULL}'],
      ['seen_at', 'infinity'],
      ['seen_at', '-infinity'],
    ]) {
      await sql(`UPDATE workers SET ${column} = $2 WHERE system_id = $1 AND id = 'w'`, [system, value])
      expect(await listWorkers(call, system)).toMatchObject([
        { id: 'other', projects: { app: '/app' } },
        { id: 'w', projects: {} },
      ])
    }
    expect(await listWorkers(call, system)).toMatchObject([{}, { roles: [], labels: ['gpu'] }])
  })

  test('a system may have as large a bound as its column holds', async () => {
    await supabase().sql('UPDATE systems SET max_queued = 2147483647 WHERE id = $1', [system])
    const { task } = await queue.insert(newTask())
    expect(await queue.claim(1, from(['app']))).toMatchObject([{ id: task.id }])
  })

  test.each([
    ['UPDATE projects SET turn = $2 WHERE system_id = $1'],
    [`INSERT INTO projects (system_id, name, turn) VALUES ($1, 'more', $2)`],
  ])('the turn of a project is the queue’s, and not what %s says', async (statement) => {
    await supabase().sql(statement, [system, '9223372036854775807'])
    for (const project of ['app', 'other']) await queue.insert(newTask({ project }))
    const claims = [await queue.claim(1, from(['app'])), await queue.claim(1, from(['app', 'other']))]
    expect(claims.flat().map(({ project }) => project)).toEqual(['app', 'other'])
  })

  test('a wait beyond all time is a long one', async () => {
    const task = await claimed()
    const report = reportOf(task, 'released', {
      retryAfterMs: Number.MAX_SAFE_INTEGER,
      resume: { claudeSessionId: 'c', forMs: 1e300 },
    })
    expect(await queue.finish(report)).toBe('queued')
  })
})
