import { expect, test } from 'vitest'
import { CcmError } from '../../src/core/errors.ts'
import { createApp } from './checked-app.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import type { CancelJson } from '../../src/protocol/cancel-retry.ts'
import type { HookEventJson } from '../../src/protocol/hook-event.ts'
import type { ProblemJson } from '../../src/protocol/problem.ts'
import type { ExplainJson } from '../../src/protocol/state-change.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createFakeDaemon, rightful, taskView } from './fake-daemon.ts'

function start(overrides: Partial<AppDeps> = {}) {
  const daemon = createFakeDaemon(overrides)
  const app = createApp(daemon.deps)
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- names what the route answers
  const ask = async <T = ProblemJson>(method: string, path: string, body?: unknown) => {
    const headers = rightful({ 'content-type': 'application/json' })
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const response = await app.request(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: text }),
    })
    return { status: response.status, body: (await response.json()) as T, headers: response.headers }
  }
  return { ...daemon, app, ask }
}

/** The fake daemon's tasks with some functions replaced. */
function withTasks(replaced: Partial<AppDeps['tasks']>) {
  const daemon = start()
  Object.assign(daemon.deps.tasks, replaced)
  return daemon
}

test('a new task goes to the queue with every field it was given', async () => {
  const { ask, calls } = start()
  const made = await ask<TaskJson>('POST', '/api/tasks', {
    prompt: '/not a command',
    dir: '/code/app',
    role: 'tester',
    model: 'claude-x',
    priority: 5,
    timeout_s: 60,
    permission_mode: 'plan',
    allowed_tools: ['Bash(ls *)'],
    disallowed_tools: ['WebFetch'],
    dedupe_key: 'once',
    trust: true,
  })
  expect(made.status).toBe(201)
  expect(made.body).toMatchObject({ id: 'task-1', status: 'queued', prompt: '/not a command' })
  expect(calls).toEqual([
    [
      'insert',
      {
        prompt: '/not a command',
        dir: '/code/app',
        project: null,
        role: 'tester',
        model: 'claude-x',
        priority: 5,
        timeoutS: 60,
        permissionMode: 'plan',
        allowedTools: ['Bash(ls *)'],
        disallowedTools: ['WebFetch'],
        dedupeKey: 'once',
        dependsOn: [],
        scheduledAt: null,
        labels: [],
        maxTokens: null,
        maxCostUsd: null,
        inPlace: null,
        source: 'api',
        onlyWorker: null,
        trust: true,
      },
    ],
  ])
})

test('a new task may wait for others, for a time and for a worker with labels, and has budgets', async () => {
  const { ask, calls, addTask } = start()
  addTask('abcdef')
  addTask('abxyz')
  const made = await ask<TaskJson>('POST', '/api/tasks', {
    prompt: 'x',
    dir: '/x',
    depends_on: ['abc', 'abxyz'],
    scheduled_at: '2030-01-31T07:30:00+02:00',
    labels: ['gpu'],
    max_tokens: 1000,
    max_cost_usd: 0.5,
    in_place: true,
    source: 'dashboard',
  })
  expect(made.status).toBe(201)
  expect(calls[0]?.[1]).toMatchObject({
    dependsOn: ['abcdef', 'abxyz'],
    scheduledAt: Date.UTC(2030, 0, 31, 5, 30),
    labels: ['gpu'],
    maxTokens: 1000,
    maxCostUsd: 0.5,
    inPlace: true,
    source: 'dashboard',
  })
})

test.each([
  [{ priority: 1000 }, 'priority', 'priority must be at most 100.'],
  [
    { depends_on: Array.from({ length: 51 }, () => 'a') },
    'depends_on',
    'depends_on must have at most 50 entries.',
  ],
  [{ depends_on: ['a b'] }, 'depends_on.0', 'depends_on.0 is not the id of a task.'],
  [{ scheduled_at: 'tomorrow' }, 'scheduled_at', 'scheduled_at must be a time such as 2030-01-31T07:00:00Z.'],
  [{ max_tokens: 0 }, 'max_tokens', 'max_tokens must be at least 1.'],
  [{ max_cost_usd: 0 }, 'max_cost_usd', 'max_cost_usd must be at least 0.01.'],
])('%o is refused with its field named', async (more, field, message) => {
  const { ask, calls } = start()
  const refused = await ask('POST', '/api/tasks', { prompt: 'x', dir: '/x', ...more })
  expect(refused).toMatchObject({ status: 400, body: { code: 'BAD_INPUT', field, detail: message } })
  expect(calls).toEqual([])
})

test('a parameter that is given twice is refused: only one of the two would count', async () => {
  const { ask } = start()
  const refused = await ask('GET', '/api/tasks?status=queued&limit=5&status=running')
  expect(refused).toMatchObject({ status: 400, body: { code: 'BAD_INPUT', field: 'status' } })
})

test('an unknown dependency is refused before anything is added', async () => {
  const { ask, calls } = start()
  const refused = await ask('POST', '/api/tasks', { prompt: 'x', dir: '/x', depends_on: ['nobody'] })
  expect(refused).toMatchObject({
    status: 404,
    body: { detail: 'There is no task nobody.', remedy: 'List them: ccm tasks' },
  })
  expect(calls).toEqual([])
})

test('a full queue says when to try again, in the answer and in its header', async () => {
  const full = new CcmError('QUEUE_FULL', 'The queue is full.', { retryAfterMs: 29_001 })
  const { ask } = withTasks({ insert: () => Promise.reject(full) })
  const refused = await ask('POST', '/api/tasks', { prompt: 'x', dir: '/x' })
  expect(refused).toMatchObject({ status: 429, body: { code: 'QUEUE_FULL', retry_after_s: 30 } })
  expect(refused.headers.get('retry-after')).toBe('30')
})

test.each([
  ['queued', 200, undefined],
  ['queued_already', 200, undefined],
  ['running', 409, 'Task abc is still running, so there is nothing to retry.'],
  ['succeeded', 409, 'Task abc succeeded, so there is nothing to retry.'],
  [{ refused: 'It cannot.' }, 409, 'It cannot.'],
  ['unknown', 404, 'There is no task abc.'],
] as const)('a retry that the queue answers with %o is a %i', async (reply, status, message) => {
  const { ask, addTask } = withTasks({ retry: async () => reply })
  addTask('abc')
  const answer = await ask('POST', '/api/tasks/a/retry')
  expect(answer.status).toBe(status)
  expect(answer.body).toMatchObject(
    message === undefined ? { reply, task: { id: 'abc' } } : { detail: message },
  )
})

test('a task that was there already answers 200', async () => {
  const daemon = start()
  const { insert } = daemon.deps.tasks
  daemon.deps.tasks.insert = async (request) => ({ ...(await insert(request)), inserted: false })
  expect((await daemon.ask('POST', '/api/tasks', { prompt: 'x', dir: '/x' })).status).toBe(200)
})

test.each<[string, unknown, string, string | undefined]>([
  ['an empty prompt', { prompt: ' ', dir: '/x' }, 'The prompt is empty.', 'prompt'],
  [
    'a NUL',
    { prompt: 'a\0', dir: '/x' },
    'The prompt holds a NUL character, which no program argument can carry.',
    'prompt',
  ],
  ['no prompt', { dir: '/x' }, 'prompt is missing.', 'prompt'],
  ['neither dir nor project', { prompt: 'x' }, 'It needs dir or project.', undefined],
  [
    'a priority out of range',
    { prompt: 'x', dir: '/x', priority: 101 },
    'priority must be at most 100.',
    'priority',
  ],
  [
    'a mistyped field',
    { promt: 'x', prompt: 'x', dir: '/x' },
    'promt is not known; did you mean prompt?',
    'promt',
  ],
  ['a field of another type', { prompt: 1, dir: '/x' }, 'prompt must be text.', 'prompt'],
  [
    'an unknown mode',
    { prompt: 'x', dir: '/x', permission_mode: 'yolo' },
    'permission_mode must be one of acceptEdits, auto, bypassPermissions, manual, dontAsk, plan.',
    'permission_mode',
  ],
  [
    'two faults',
    { prompt: '', dir: '', project: 'P' },
    'The prompt is empty. dir must have at least 1 character. project must be 1 to 40 of a-z, 0-9 and -.',
    'prompt',
  ],
  ['no object', '[]', 'It must be a table of keys and values.', undefined],
  ['no JSON', '{', 'The body is not valid JSON.', undefined],
])('%s is refused with a sentence', async (_name, body, message, field) => {
  const { ask, calls } = start()
  const refused = await ask('POST', '/api/tasks', body)
  expect(refused.status).toBe(400)
  expect(refused.headers.get('content-type')).toBe('application/problem+json')
  expect(refused.body).toEqual({
    title: 'Bad Request',
    status: 400,
    code: 'BAD_INPUT',
    detail: message,
    request_id: refused.headers.get('x-request-id'),
    ...(field === undefined ? {} : { field }),
  })
  expect(calls).toEqual([])
})

test('a refusal never repeats long input', async () => {
  const { ask } = start()
  const long = 'z'.repeat(500_000)
  const replies = [
    await ask('POST', '/api/tasks', { prompt: 'x', dir: '/x', [long]: 1 }),
    await ask('POST', '/api/tasks', { prompt: long, dir: '/x' }),
    await ask('GET', `/api/tasks/${long.slice(0, 5000)}`),
    await ask('POST', `/api/projects/${long.slice(0, 5000)}/trust`),
    await ask('GET', `/${long.slice(0, 5000)}`),
  ]
  expect(replies.map((reply) => reply.status)).toEqual([400, 400, 404, 404, 404])
  for (const { body } of replies) expect(JSON.stringify(body).length).toBeLessThan(600)
})

test('a task is found by its id, by a prefix only it has, and by its whole id where another is longer', async () => {
  const { ask, addTask } = start()
  for (const id of ['abc', 'abcd', 'xyz']) addTask(id)
  expect((await ask<TaskJson>('GET', '/api/tasks/x')).body.id).toBe('xyz')
  expect((await ask<TaskJson>('GET', '/api/tasks/abc')).body.id).toBe('abc')
  const two = await ask('GET', '/api/tasks/ab')
  expect(two).toMatchObject({ status: 409, body: { code: 'CONFLICT', remedy: 'Write more of the id.' } })
  expect(await ask('GET', '/api/tasks/q')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
  expect(await ask('GET', '/api/tasks/%25_')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
})

test('for a key of some projects a prefix means its own task, however many of others begin alike', async () => {
  const { app, addTask } = start()
  for (const id of ['ab1', 'ab2', 'ab3']) addTask(id, { project: 'other' })
  addTask('ab4', { project: 'app' })
  const headers = rightful({ authorization: 'Bearer read-key' })
  expect(await (await app.request('/api/tasks/ab', { headers })).json()).toMatchObject({ id: 'ab4' })
  expect((await app.request('/api/tasks/ab1', { headers })).status).toBe(404)
})

test('tasks are listed newest first, and a bad filter is refused', async () => {
  const { ask, addTask } = start()
  for (const id of ['a', 'b', 'c']) addTask(id)
  const ids = (await ask<TaskJson[]>('GET', '/api/tasks?limit=2')).body.map((task) => task.id)
  expect(ids).toEqual(['c', 'b'])
  expect((await ask('GET', '/api/tasks?limit=none')).body).toMatchObject({
    detail: 'limit must be a number.',
  })
  expect((await ask('GET', '/api/tasks?stat=x')).body.detail).toBe('stat is not known; did you mean status?')
})

test('hook events are given by name and after an id; explain gives the chain', async () => {
  const { ask, addTask, addHook, addChange } = start()
  addTask('a')
  for (const name of ['SessionStart', 'Stop', 'Stop']) addHook('a', name)
  addHook('b', 'Stop')
  addChange('a', 'working')
  const names = async (query: string) =>
    (await ask<HookEventJson[]>('GET', `/api/tasks/a/events${query}`)).body.map(
      (e) => `${e.id} ${e.hook_event_name}`,
    )
  expect(await names('')).toEqual(['1 SessionStart', '2 Stop', '3 Stop'])
  expect(await names('?name=Stop&after=2')).toEqual(['3 Stop'])
  expect(await names('?limit=1')).toEqual(['1 SessionStart'])
  const { body } = await ask<ExplainJson>('GET', '/api/tasks/a/explain')
  expect(body).toMatchObject({
    task: { id: 'a' },
    chain: [{ to: 'working', task_id: 'a', at: '1970-01-01T00:00:00.000Z' }],
  })
  expect((await ask('GET', '/api/tasks/a/screen')).body).toEqual({ screen: 'hello' })
})

test('answers go to the agent of the task the prefix means', async () => {
  const { ask, addTask, calls } = start()
  addTask('abcdef')
  expect(await ask('POST', '/api/tasks/abc/approve')).toMatchObject({ status: 200, body: { id: 'abcdef' } })
  await ask('POST', '/api/tasks/abc/deny', { reason: 'no' })
  await ask('POST', '/api/tasks/abc/deny')
  await ask('POST', '/api/tasks/abc/send', { text: 'blue' })
  expect((await ask('POST', '/api/tasks/abc/send', { text: '' })).status).toBe(400)
  await ask<CancelJson>('POST', '/api/tasks/abc/cancel', { reason: 'enough' })
  expect(calls).toEqual([
    ['approve', 'abcdef', null],
    ['deny', 'abcdef', 'no', null],
    ['deny', 'abcdef', null, null],
    ['send', 'abcdef', 'blue', null],
    ['cancel', 'abcdef', 'enough'],
  ])
})

test('an answer nobody waits for is a conflict, with the reason where there is one', async () => {
  const reply = withTasks({
    approve: async () => 'not_waiting',
    deny: async () => ({ refused: 'The agent asks a question; use send.' }),
    send: async () => 'unknown',
    cancel: async () => 'already_final',
  })
  reply.addTask('a')
  expect(await reply.ask('POST', '/api/tasks/a/approve')).toMatchObject({
    status: 409,
    body: { code: 'CONFLICT' },
  })
  const refused = await reply.ask('POST', '/api/tasks/a/deny')
  expect(refused).toMatchObject({ status: 409, body: { detail: 'The agent asks a question; use send.' } })
  expect((await reply.ask('POST', '/api/tasks/a/send', { text: 'x' })).status).toBe(404)
  expect(await reply.ask('POST', '/api/tasks/a/cancel')).toMatchObject({
    status: 200,
    body: { reply: 'already_final' },
  })
})

test.each([
  ['QUEUE_FULL', 429],
  ['DIR_UNUSABLE', 400],
  ['NOT_FOUND', 404],
  ['CONFLICT', 409],
  ['DATABASE_UNUSABLE', 500],
] as const)('a thrown %s answers %i with its own sentence and remedy', async (code, status) => {
  const { ask } = withTasks({
    insert: async () => {
      throw new CcmError(code, 'What happened.', { remedy: 'What helps.' })
    },
  })
  const reply = await ask('POST', '/api/tasks', { prompt: 'x', dir: '/x' })
  expect(reply).toMatchObject({ status, body: { code, detail: 'What happened.', remedy: 'What helps.' } })
})

test('every answer has an id of its own, and nothing in it may be framed, guessed or kept', async () => {
  const { ask } = start()
  const replies = await Promise.all(
    ['/health', '/api/tasks', '/api/tasks/none', '/nowhere'].map((path) => ask('GET', path)),
  )
  expect(new Set(replies.map(({ headers }) => headers.get('x-request-id'))).size).toBe(4)
  for (const { headers } of replies) {
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  }
})

test('a fault of the daemon shows neither its message nor a stack, but is logged', async () => {
  const { ask, log } = start({
    status: async () => {
      throw new Error('secret detail')
    },
  })
  const reply = await ask('GET', '/api/status')
  expect(reply.status).toBe(500)
  expect(reply.body.code).toBe('INTERNAL')
  expect(JSON.stringify(reply.body)).not.toMatch(/secret detail|\.ts/)
  expect(log.join('')).toContain('secret detail')
  expect(log.join('')).toContain(reply.body.request_id)
})

test('health is 503 only when it fails, and an answer even when nothing works', async () => {
  expect(await start().ask('GET', '/health')).toMatchObject({
    status: 200,
    body: { status: 'ok', tmux: 'ok' },
  })
  for (const path of ['/health', '/health/tmux', '/health/supabase']) {
    const degraded = start({ health: async () => ({ status: 'degraded', claims: 'usage_limit' }) })
    expect((await degraded.ask('GET', path)).status).toBe(200)
    const broken = start({ health: async () => Promise.reject(new Error('/home/me')) })
    expect(await broken.ask('GET', path)).toMatchObject({ status: 503, body: { status: 'failing' } })
  }
})

test('projects are listed, registered and trusted', async () => {
  const { ask } = start()
  expect((await ask('GET', '/api/projects')).body).toMatchObject([{ name: 'app', trusted: false }])
  const made = await ask('POST', '/api/projects', { dir: '/code/b' })
  expect(made).toMatchObject({ status: 201, body: { dir: '/code/b', trusted: false } })
  expect(await ask('POST', '/api/projects/app/trust')).toMatchObject({ status: 200, body: { trusted: true } })
  expect(await ask('POST', '/api/projects/none/trust')).toMatchObject({
    status: 404,
    body: { code: 'NOT_FOUND' },
  })
})

test('a project is shown, changed by what is named, and removed; a wrong name is told its nearest', async () => {
  const { ask, calls } = start()
  expect((await ask('GET', '/api/projects/app')).body).toMatchObject({ name: 'app', max_running: null })
  const changed = await ask('PATCH', '/api/projects/app', { max_running: 2, setup: ['npm ci'], model: null })
  expect(changed).toMatchObject({ status: 200, body: { max_running: 2, setup: ['npm ci'], paused: false } })
  expect(calls).toEqual([['updateProject', 'app', { maxRunning: 2, setup: ['npm ci'], model: null }]])
  for (const [method, path] of [
    ['GET', '/api/projects/ap'],
    ['PATCH', '/api/projects/ap'],
    ['DELETE', '/api/projects/ap'],
  ] as const) {
    expect((await ask(method, path)).body.detail).toBe('There is no project ap; did you mean app?')
  }
  expect(await ask('DELETE', '/api/projects/busy')).toMatchObject({ status: 409 })
  expect(await ask('DELETE', '/api/projects/app')).toMatchObject({ status: 200, body: { name: 'app' } })
  expect((await ask('GET', '/api/projects/app')).status).toBe(404)
})

test.each<[string, unknown, string]>([
  ['a limit of none', { max_running: 0 }, 'max_running must be at least 1.'],
  ['a pattern that leaves the project', { copy: ['../secret'] }, 'must stay inside the project'],
  ['an absolute pattern', { link: ['/etc'] }, 'must stay inside the project'],
  ['a command of two lines', { setup: ['a\nb'] }, 'must be one line without control characters'],
  ['a mistyped name', { max_runing: 1 }, 'max_runing is not known; did you mean max_running?'],
  ['a budget of nothing', { max_cost_usd: 0 }, 'max_cost_usd must be'],
])('%s is refused and changes nothing', async (_name, body, sentence) => {
  const { ask, calls } = start()
  const refused = await ask('PATCH', '/api/projects/app', body)
  expect(refused.status).toBe(400)
  expect(refused.body.detail).toContain(sentence)
  expect(calls).toEqual([])
})

test('shutdown keeps agents unless told to end them', async () => {
  const { ask, calls } = start()
  expect(await ask('POST', '/api/shutdown')).toMatchObject({
    status: 202,
    body: { stopping: true, agents: 'keep' },
  })
  await ask('POST', '/api/shutdown', { agents: 'end' })
  expect((await ask('POST', '/api/shutdown', { agents: 'kill' })).status).toBe(400)
  expect(calls).toEqual([
    ['shutdown', 'keep'],
    ['shutdown', 'end'],
  ])
})

test('an unknown route is JSON too, and nothing may be cached', async () => {
  const reply = await start().ask('GET', '/nowhere')
  expect(reply).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
  const { headers } = await start().ask('GET', '/api/status')
  expect(headers.get('cache-control')).toBe('no-store')
})

test('while the queue is away a whole id is enough to cancel and to wait for, but for a key of some projects', async () => {
  const { deps, calls } = createFakeDaemon()
  const away = async () => {
    throw new CcmError('SUPABASE_UNREACHABLE', 'Supabase did not answer.')
  }
  const strange = '0123456789ab'
  await deps.projects.add({ dir: '/other', name: 'other', trust: true })
  calls.length = 0
  const view = taskView(strange, {})
  let isNoted = false
  deps.tasks.get = async (id) => (id === strange && isNoted ? view : away())
  deps.tasks.idsByPrefix = away
  deps.tasks.cancelWaits = () => true
  deps.tasks.cancel = async (id) => {
    isNoted = true
    calls.push(['cancel', id])
    return 'requested'
  }
  const app = createApp(deps)
  const post = async (path: string, body: object, key = 'right-token') => {
    const headers = rightful({ 'content-type': 'application/json', authorization: `Bearer ${key}` })
    const reply = await app.request(path, { method: 'POST', headers, body: JSON.stringify(body) })
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> }
  }
  const asked = { project: 'app', prompt: 'Next', depends_on: [strange] }
  const theirs = { ...asked, project: 'other' }
  expect((await post('/api/tasks', theirs, 'foreign-key')).status).toBe(503)
  expect((await post(`/api/tasks/${strange}/cancel`, {}, 'foreign-key')).status).toBe(503)
  expect(calls).toEqual([])
  expect((await post('/api/tasks', asked)).status).toBe(201)
  expect(calls).toEqual([['insert', expect.objectContaining({ dependsOn: [strange] })]])
  expect(await post(`/api/tasks/${strange}/cancel`, {})).toMatchObject({
    status: 202,
    body: { reply: 'requested', task: { id: strange } },
  })
  expect(await post('/api/tasks/0123/cancel', {})).toMatchObject({
    status: 503,
    body: { remedy: expect.stringContaining('whole id') },
  })
})

test('a project that the shared queue does not know yet is answered with 202', async () => {
  const { deps } = createFakeDaemon()
  const app = createApp(deps)
  const headers = rightful({ 'content-type': 'application/json' })
  const add = async (name: string) => {
    const body = JSON.stringify({ dir: `/${name}`, name })
    const reply = await app.request('/api/projects', { method: 'POST', headers, body })
    return { status: reply.status, body: (await reply.json()) as { told: boolean } }
  }
  expect(await add('one')).toMatchObject({ status: 201, body: { told: true } })
  deps.projects.isTold = () => false
  expect(await add('two')).toMatchObject({ status: 202, body: { told: false } })
  const trusted = await app.request('/api/projects/two/trust', { method: 'POST', headers, body: '{}' })
  expect(trusted.status).toBe(202)
})
