import { expect, onTestFinished, test, vi } from 'vitest'
import { routesOf } from '../../src/http/app.ts'
import { createApp } from './checked-app.ts'
import { SCOPES, type Scope } from '../../src/core/principal.ts'
import type { ProblemJson } from '../../src/protocol/problem.ts'
import { PORT, createFakeDaemon, rightful } from './fake-daemon.ts'

// Every route with the scope it needs. A new route needs a row here.
const ROUTES: [method: string, path: string, scope: Scope | 'open' | 'own' | 'loopback'][] = [
  ['GET', '/health', 'open'],
  ['GET', '/health/tmux', 'open'],
  ['GET', '/health/supabase', 'open'],
  ['GET', '/api/status', 'read'],
  ['POST', '/api/shutdown', 'admin'],
  ['GET', '/api/projects', 'read'],
  ['POST', '/api/projects', 'admin'],
  ['GET', '/api/projects/:name', 'read'],
  ['PATCH', '/api/projects/:name', 'admin'],
  ['DELETE', '/api/projects/:name', 'admin'],
  ['POST', '/api/projects/:name/trust', 'admin'],
  ['GET', '/api/projects/:name/rules', 'read'],
  ['POST', '/api/projects/:name/rules', 'admin'],
  ['GET', '/api/schedules', 'read'],
  ['POST', '/api/schedules', 'admin'],
  ['GET', '/api/schedules/:name', 'read'],
  ['DELETE', '/api/schedules/:name', 'admin'],
  ['POST', '/api/schedules/:name/pause', 'operate'],
  ['POST', '/api/schedules/:name/resume', 'operate'],
  ['POST', '/api/schedules/:name/run', 'write'],
  ['GET', '/api/tasks/:id/timeline', 'read'],
  ['GET', '/api/search', 'read'],
  ['POST', '/api/tasks', 'write'],
  ['GET', '/api/tasks', 'read'],
  ['GET', '/api/tasks/:id', 'read'],
  ['GET', '/api/tasks/:id/events', 'read'],
  ['GET', '/api/tasks/:id/explain', 'read'],
  ['GET', '/api/tasks/:id/result', 'read'],
  ['GET', '/api/tasks/:id/screen', 'read'],
  ['POST', '/api/tasks/:id/cancel', 'write'],
  ['POST', '/api/tasks/:id/retry', 'write'],
  ['GET', '/api/tasks/:id/diff', 'read'],
  ['POST', '/api/tasks/:id/apply', 'operate'],
  ['POST', '/api/tasks/:id/discard', 'operate'],
  ['POST', '/api/tasks/:id/approve', 'operate'],
  ['POST', '/api/tasks/:id/deny', 'operate'],
  ['POST', '/api/tasks/:id/send', 'write'],
  ['GET', '/api/events', 'read'],
  ['GET', '/api/incidents', 'read'],
  ['GET', '/api/audit', 'admin'],
  ['GET', '/metrics', 'loopback'],
  ['GET', '/api/agents', 'read'],
  ['GET', '/api/systems', 'read'],
  ['GET', '/api/workers', 'read'],
  ['GET', '/api/usage', 'read'],
  ['POST', '/internal/spawn-agent', 'admin'],
  ['POST', '/internal/kill-agent', 'admin'],
  ['GET', '/internal/agent-status', 'admin'],
  ['GET', '/api/templates', 'read'],
  ['GET', '/api/templates/:name', 'read'],
  ['POST', '/api/templates', 'admin'],
  ['PUT', '/api/templates/:name', 'admin'],
  ['DELETE', '/api/templates/:name', 'admin'],
  ['POST', '/webhook/github', 'own'],
  ['POST', '/webhook/prometheus', 'own'],
  ['POST', '/webhook/telegram', 'own'],
  ['GET', '/api/inbox', 'operate'],
  ['GET', '/api/inbox/:id', 'operate'],
  ['POST', '/api/inbox/:id/approve', 'operate'],
  ['POST', '/api/inbox/:id/refuse', 'operate'],
  ['GET', '/api/keys', 'admin'],
  ['POST', '/api/keys', 'admin'],
  ['POST', '/api/keys/:id/revoke', 'admin'],
  ['POST', '/api/users/:id/revoke', 'admin'],
  ['GET', '/openapi.json', 'open'],
  ['GET', '/docs', 'open'],
  ['POST', '/internal/attempts/:task/:attempt/permission', 'own'],
]

const host = `127.0.0.1:${PORT}`

test('every route has a row in the table of credentials', () => {
  const app = createApp(createFakeDaemon().deps)
  // What the app really serves, not what the list says; ALL are the guards before all routes.
  const served = app.routes
    .filter((route) => route.method !== 'ALL')
    .map(({ method, path }) => `${method} ${path}`)
  expect([...new Set(served)].sort()).toEqual(ROUTES.map(([method, path]) => `${method} ${path}`).sort())
  expect(routesOf(createFakeDaemon().deps)).toHaveLength(ROUTES.length)
})

/** The route with parameters filled in, and whether it is about a task. */
const urlOf = (path: string) => path.replace(':attempt', '1').replace(':name', 'app').replace(/:\w+/g, 'x')

test.each(ROUTES)(
  '%s %s refuses no credential and a wrong one, unless it is open: %s',
  async (method, path, scope) => {
    const { deps, calls, addTask } = createFakeDaemon()
    addTask('x')
    const app = createApp(deps)
    const ask = (headers: Record<string, string>) =>
      app.request(urlOf(path), { method, headers: { host, 'content-type': 'application/json', ...headers } })
    const refused = scope === 'open' || scope === 'loopback' ? 200 : 401
    expect((await ask({})).status).toBe(refused)
    for (const authorization of [
      'Bearer wrong',
      'Bearer',
      'Basic right-token',
      'Bearer right-token-and-more',
    ]) {
      expect((await ask({ authorization })).status).toBe(refused)
    }
    expect(calls).toEqual([])
  },
)

test.each(ROUTES.filter(([, , scope]) => !['open', 'own', 'loopback'].includes(scope)))(
  '%s %s refuses every key without the scope %s, and no other',
  async (method, path, needed) => {
    for (const scope of SCOPES) {
      const { deps, calls, addTask } = createFakeDaemon()
      addTask('x')
      const { status } = await createApp(deps).request(urlOf(path), {
        method,
        headers: { host, 'content-type': 'application/json', authorization: `Bearer ${scope}-key` },
      })
      const refused = scope !== needed && scope !== 'admin'
      expect([scope, status === 403]).toEqual([scope, refused])
      expect(status).not.toBe(401)
      expect(refused ? calls : []).toEqual([])
    }
  },
)

test.each(ROUTES.filter(([, , scope]) => scope === 'admin'))(
  '%s %s refuses an administrator of some projects',
  async (method, path) => {
    const { deps, calls } = createFakeDaemon()
    const { status } = await createApp(deps).request(urlOf(path), {
      method,
      headers: { host, 'content-type': 'application/json', authorization: 'Bearer half-admin-key' },
    })
    expect(status).toBe(403)
    expect(calls).toEqual([])
  },
)

test.each(ROUTES.filter(([, path]) => path.startsWith('/api/tasks/:id')))(
  '%s %s does not know the task of a project the key may not enter',
  async (method, path) => {
    const { deps, calls, addTask } = createFakeDaemon()
    addTask('x')
    const { status } = await createApp(deps).request(urlOf(path), {
      method,
      body: method === 'POST' ? JSON.stringify(path.endsWith('send') ? { text: 'hi' } : {}) : null,
      headers: { host, 'content-type': 'application/json', authorization: 'Bearer foreign-key' },
    })
    expect(status).toBe(404)
    expect(calls).toEqual([])
  },
)

test.each(['x', 'xylo'])(
  'of the task of a foreign project nothing more is asked than its row: %s',
  async (id) => {
    const { deps, addTask } = createFakeDaemon()
    addTask('xylo')
    const asked: string[] = []
    const { row, viewOf } = deps.tasks
    deps.tasks.row = (one) => (asked.push(`row ${one}`), row(one))
    deps.tasks.viewOf = (task) => (asked.push(`view ${task.id}`), viewOf(task))
    const app = createApp(deps)
    const ask = async (key: string) =>
      (await app.request(`/api/tasks/${id}`, { headers: { host, authorization: `Bearer ${key}` } })).status
    expect(await ask('foreign-key')).toBe(404)
    // By its whole id no more than for a task that there is not.
    expect(asked).toEqual(id === 'xylo' ? ['row xylo'] : ['row x', 'row xylo'])
    expect(await ask('read-key')).toBe(200)
    expect(asked).toContain('view xylo')
  },
)

test('lists show what the key may enter, and only an administrator names a directory', async () => {
  const { deps, addTask, calls } = createFakeDaemon()
  addTask('mine', { project: 'app' })
  addTask('theirs', { project: 'other' })
  const app = createApp(deps)
  const list = async (key: string) => {
    const reply = await app.request('/api/tasks', { headers: { host, authorization: `Bearer ${key}` } })
    return ((await reply.json()) as { id: string }[]).map(({ id }) => id)
  }
  expect(await list('read-key')).toEqual(['mine'])
  expect(await list('foreign-key')).toEqual(['theirs'])
  const add = (key: string, body: object) =>
    app.request('/api/tasks', {
      method: 'POST',
      headers: { host, 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ prompt: 'Do it.', ...body }),
    })
  expect((await add('write-key', { dir: '/code/app' })).status).toBe(403)
  expect((await add('write-key', { project: 'app', trust: true })).status).toBe(403)
  expect((await add('write-key', { project: 'other' })).status).toBe(404)
  expect(calls).toEqual([])
  expect((await add('write-key', { project: 'app' })).status).toBe(201)
  const wider = { permission_mode: 'bypassPermissions' }
  expect((await add('write-key', { project: 'app', ...wider })).status).toBe(403)
  expect((await add('write-key', { project: 'app', allowed_tools: ['Bash'] })).status).toBe(403)
  expect((await add('write-key', { project: 'app', in_place: true })).status).toBe(403)
  const narrower = { permission_mode: 'plan', allowed_tools: ['Bash(npm test:*)'] }
  expect((await add('write-key', { project: 'app', ...narrower })).status).toBe(201)
  expect((await add('right-token', { project: 'app', ...wider })).status).toBe(201)
})

test('a dedupe key that a task of another project has shows nothing of that task', async () => {
  const { deps, addTask } = createFakeDaemon()
  addTask('theirs', { project: 'other', prompt: 'Their plans.', dedupeKey: 'nightly' })
  const theirs = (await deps.tasks.get('theirs')) as NonNullable<Awaited<ReturnType<typeof deps.tasks.get>>>
  deps.tasks.insert = async () => ({
    view: theirs,
    inserted: false,
    notices: [],
  })
  const reply = await createApp(deps).request('/api/tasks', {
    method: 'POST',
    headers: { host, 'content-type': 'application/json', authorization: 'Bearer write-key' },
    body: JSON.stringify({ prompt: 'Do it.', project: 'app', dedupe_key: 'nightly' }),
  })
  expect(reply.status).toBe(409)
  expect(await reply.text()).not.toMatch(/theirs|other"|Their plans/)
})

test.each(['gh:1', 'tg:1', 'am:1:2', 'cron:1:2', 'once:1'])(
  'nobody takes the dedupe key %s, which is that of somebody else',
  async (dedupe_key) => {
    const { deps, calls } = createFakeDaemon()
    const reply = await createApp(deps).request('/api/tasks', {
      method: 'POST',
      headers: rightful({ 'content-type': 'application/json' }),
      body: JSON.stringify({ prompt: 'Do it.', project: 'app', dedupe_key }),
    })
    expect([reply.status, calls]).toEqual([400, []])
  },
)

test('a key server that is away is a 503 and no refusal', async () => {
  const { deps } = createFakeDaemon({ authenticate: async () => 'unavailable' })
  const reply = await createApp(deps).request('/api/status', { headers: rightful() })
  expect(reply.status).toBe(503)
  expect(reply.headers.get('retry-after')).toBe('5')
})

test('the right token opens the door, whatever the case of its scheme', async () => {
  const app = createApp(createFakeDaemon().deps)
  for (const authorization of ['Bearer right-token', 'bearer right-token']) {
    expect((await app.request('/api/status', { headers: rightful({ authorization }) })).status).toBe(200)
  }
})

test.each([
  [`localhost:${PORT}`, 200],
  [`LOCALHOST:${PORT}`, 200],
  [`[::1]:${PORT}`, 200],
  ['127.0.0.1', 403],
  ['127.0.0.1:1', 403],
  [`evil.example:${PORT}`, 403],
  [`127.0.0.1.evil.example:${PORT}`, 403],
  ['', 403],
])('a request to host %j answers %i', async (name, status) => {
  const app = createApp(createFakeDaemon().deps)
  const headers = rightful({ host: name })
  expect((await app.request('/api/status', { headers })).status).toBe(status)
  expect((await app.request('/health', { headers })).status).toBe(status)
})

test.each([
  [`http://${host}`, 200],
  [`https://${host}`, 403],
  [`http://localhost:${PORT}`, 403],
  ['http://evil.example', 403],
  ['null', 403],
])('a request from origin %j answers %i', async (origin, status) => {
  const app = createApp(createFakeDaemon().deps)
  expect((await app.request('/api/status', { headers: rightful({ origin }) })).status).toBe(status)
})

test('a body of another type than JSON is refused, and none at all is an empty one', async () => {
  const { deps, addTask, calls } = createFakeDaemon()
  const app = createApp(deps)
  addTask('a')
  const ask = (body: string | undefined, headers: Record<string, string>) =>
    app.request('/api/tasks/a/approve', {
      method: 'POST',
      headers: rightful(headers),
      ...(body === undefined ? {} : { body }),
    })
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx']) {
    expect((await ask('{}', { 'content-type': type })).status).toBe(415)
  }
  expect(calls).toEqual([])
  expect((await ask(undefined, {})).status).toBe(200)
  expect((await ask('{}', { 'content-type': 'application/json; charset=utf-8' })).status).toBe(200)
})

test.each<Record<string, string>>([{}, { 'idempotency-key': 'k1' }])(
  'a body that is no UTF-8 is refused and not mended, with %o',
  async (more) => {
    const { deps, calls } = createFakeDaemon()
    const app = createApp(deps)
    const add = (body: Buffer) =>
      app.request('/api/tasks', {
        method: 'POST',
        headers: rightful({ 'content-type': 'application/json', ...more }),
        body,
      })
    const body = JSON.stringify({ prompt: 'Fix the café.', project: 'app' })
    for (const encoding of ['latin1', 'utf16le'] as const)
      expect((await add(Buffer.from(body, encoding))).status).toBe(400)
    expect(calls).toEqual([])
    expect((await add(Buffer.from(body))).status).toBe(201)
    expect(calls).toMatchObject([['insert', { prompt: 'Fix the café.' }]])
  },
)

test('a body above 1 MiB is refused, also when its length is not announced', async () => {
  const { deps, calls } = createFakeDaemon()
  const app = createApp(deps)
  const body = JSON.stringify({ dir: '/x', prompt: 'x'.repeat(1024 * 1024) })
  const headers = rightful({ 'content-type': 'application/json' })
  const announced = { ...headers, 'content-length': String(body.length) }
  expect((await app.request('/api/tasks', { method: 'POST', headers: announced, body })).status).toBe(413)
  const chunked = { ...headers, 'transfer-encoding': 'chunked' }
  const stream = new Blob([body]).stream()
  const request = new Request('http://x/api/tasks', {
    method: 'POST',
    headers: chunked,
    body: stream,
    duplex: 'half',
  })
  const response = await app.request(request)
  expect(response.status).toBe(413)
  expect(((await response.json()) as ProblemJson).detail).toContain('1048576')
  expect(calls).toEqual([])
})

test('a 100 KiB prompt fits even when JSON escapes each byte of it', async () => {
  const { deps, calls } = createFakeDaemon()
  const prompt = '\u0001'.repeat(100 * 1024)
  const body = JSON.stringify({ dir: '/x', prompt })
  expect(body.length).toBeGreaterThan(600 * 1024)
  const headers = rightful({ 'content-type': 'application/json' })
  expect((await createApp(deps).request('/api/tasks', { method: 'POST', headers, body })).status).toBe(201)
  expect(calls[0]).toMatchObject(['insert', { prompt }])
})

test.each([
  ['the proxy says https', { 'x-forwarded-proto': 'https' }, 200],
  ['it says nothing', {}, 403],
  ['it says http', { 'x-forwarded-proto': 'http' }, 403],
  ['the page is the public one', { 'x-forwarded-proto': 'https', origin: 'https://ccm.example' }, 200],
  ['the page came without TLS', { 'x-forwarded-proto': 'https', origin: 'http://ccm.example' }, 403],
  ['the page is another', { 'x-forwarded-proto': 'https', origin: 'https://evil.example' }, 403],
])('by its public name, where %s: %o answers %i', async (_, more, status) => {
  const app = createApp(createFakeDaemon().deps)
  const headers = rightful({ host: 'ccm.example', ...more })
  expect((await app.request('/api/status', { headers })).status).toBe(status)
})

test('through the socket in the home any Host will do, and a page still will not', async () => {
  const app = createApp(createFakeDaemon().deps)
  const ask = (headers: Record<string, string>, env: object) =>
    app.request('/api/status', { headers: rightful(headers) }, env)
  expect((await ask({ host: 'anything' }, { unix: true })).status).toBe(200)
  expect((await ask({ host: 'anything' }, {})).status).toBe(403)
  expect((await ask({ host: 'x', origin: 'http://evil.example' }, { unix: true })).status).toBe(403)
})

test.each(['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'])(
  'an internal route refuses a request with %s',
  async (name) => {
    const app = createApp(createFakeDaemon().deps)
    const url = '/internal/attempts/x/1/permission'
    const ask = (headers: Record<string, string>) =>
      app.request(url, { method: 'POST', headers: rightful(headers) })
    expect((await ask({ [name]: 'x' })).status).toBe(403)
    expect((await ask({})).status).toBe(401)
  },
)

test('who asks too often waits, and nobody else does', async () => {
  let now = 0
  const { deps } = createFakeDaemon({ rate: 1, clock: () => now })
  const app = createApp(deps)
  const ask = (key: string) =>
    app.request('/api/tasks', { headers: rightful({ authorization: `Bearer ${key}` }) })
  for (let count = 0; count < 10; count++) expect((await ask('read-key')).status).toBe(200)
  const refused = await ask('read-key')
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
  expect((await ask('right-token')).status).toBe(200)
  now += 1000
  expect((await ask('read-key')).status).toBe(200)
})

test('whoever floods an open route takes no turn of a webhook, of a health check or of others behind the proxy', async () => {
  const { deps } = createFakeDaemon({ rate: 1, clock: () => 0 })
  const app = createApp(deps)
  const env = { incoming: { socket: { remoteAddress: '127.0.0.1' } } }
  const ask = async (method: string, path: string, headers: Record<string, string>) =>
    (await app.request(path, { method, headers: { 'content-type': 'application/json', ...headers } }, env))
      .status
  const through = (address: string) => ({
    host: 'ccm.example',
    'x-forwarded-proto': 'https',
    'x-forwarded-for': `6.6.6.6, ${address}`,
  })
  const flood = async (method: string, path: string, headers: (n: number) => Record<string, string>) => {
    const statuses = []
    for (let n = 0; n < 12; n++) statuses.push(await ask(method, path, headers(n)))
    return statuses.at(-1)
  }
  // An agent on this machine, which may say what it likes about whom it speaks for.
  expect(await flood('GET', '/docs', () => ({ host }))).toBe(429)
  expect(await flood('GET', '/openapi.json', (n) => ({ host, 'x-forwarded-for': `10.0.0.${n}` }))).toBe(429)
  expect(await ask('GET', '/health', { host })).toBe(200)
  expect(await ask('POST', '/webhook/github', { host })).toBe(401)
  expect(await ask('POST', '/internal/attempts/x/1/permission', { host })).toBe(401)
  // A stranger before the proxy, and GitHub behind it.
  expect(await flood('POST', '/webhook/github', () => through('203.0.113.9'))).toBe(429)
  expect(await ask('POST', '/webhook/github', through('203.0.113.10'))).toBe(401)
})

test('who guesses credentials is slowed down, and a good one from the same address is not', async () => {
  const { deps } = createFakeDaemon({ clock: () => 0 })
  const app = createApp(deps)
  const ask = async (key: string) =>
    (await app.request('/api/tasks', { headers: rightful({ authorization: `Bearer ${key}` }) })).status
  const guesses = []
  for (let count = 0; count < 60; count++) guesses.push(await ask(`guess-${count}`))
  expect(guesses.slice(0, 50)).toEqual(Array.from({ length: 50 }, () => 401))
  expect(guesses.slice(50)).toEqual(Array.from({ length: 10 }, () => 429))
  expect(await ask('right-token')).toBe(200)
})

test('an answer that takes too long is a 503, and what hangs holds no request', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const app = createApp(createFakeDaemon({ status: () => new Promise(() => {}) }).deps)
  const reply = app.request('/api/status', { headers: rightful() })
  await vi.advanceTimersByTimeAsync(30_000)
  expect((await reply).status).toBe(503)
})
