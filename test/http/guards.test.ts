import { expect, onTestFinished, test, vi } from 'vitest'
import { PLAIN_TASK, PROMPT_MAX_BYTES } from '../../src/core/task/task.ts'
import { createApp } from './checked-app.ts'
import type { ProblemJson } from '../../src/protocol/problem.ts'
import { PORT, createFakeDaemon, rightful } from './fake-daemon.ts'

const host = `127.0.0.1:${PORT}`

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
    // No more than for a task that there is not.
    expect(asked).toEqual([`row ${id}`])
    expect(await ask('read-key')).toBe(200)
    expect(asked).toContain('view xylo')
  },
)

test.each(['other', 'theirs'])(
  'of a project or schedule that a key may not enter it hears nothing where it takes its name for a task: %s',
  async (name) => {
    const { deps } = createFakeDaemon()
    await deps.projects.add({ dir: '/code/other', name: 'other', trust: true })
    const task = { ...PLAIN_TASK, prompt: 'Do it.', priority: null }
    const when = { cron: '@daily', timeZone: 'UTC', missed: 'skip', overlap: false } as const
    await deps.schedules.add({ dir: null, project: 'other', name: 'theirs', ...when, task })
    const app = createApp(deps)
    const detail = async (key: string) => {
      const headers = { host, authorization: `Bearer ${key}` }
      const reply = await app.request(`/api/tasks/${name}`, { headers })
      return [reply.status, ((await reply.json()) as ProblemJson).detail]
    }
    expect(await detail('read-key')).toEqual([404, `There is no task ${name}.`])
    expect(await detail('foreign-key')).toEqual([404, expect.stringContaining('it is a')])
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
  // It is sent in pieces and so has no length.
  const chunked = rightful({ 'transfer-encoding': 'chunked' })
  const body = new Blob(['{}']).stream()
  const pieces = new Request('http://x/api/tasks/a/approve', {
    method: 'POST',
    headers: chunked,
    body,
    duplex: 'half',
  })
  expect((await app.request(pieces)).status).toBe(415)
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

test.each(['x', 'é'])('a prompt of 100 KiB is taken and one of a byte more is not: %s', async (letter) => {
  const { deps, calls } = createFakeDaemon()
  const app = createApp(deps)
  const add = async (prompt: string) => {
    const headers = rightful({ 'content-type': 'application/json' })
    const body = JSON.stringify({ dir: '/x', prompt })
    return (await app.request('/api/tasks', { method: 'POST', headers, body })).status
  }
  const most = letter.repeat(102_400 / Buffer.byteLength(letter))
  expect([PROMPT_MAX_BYTES, await add(`${most}x`), calls]).toEqual([102_400, 400, []])
  expect(await add(most)).toBe(201)
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

test('a request without a Host is told so', async () => {
  const { host: _, ...headers } = rightful()
  const reply = await createApp(createFakeDaemon().deps).request('/api/status', { headers })
  expect([reply.status, ((await reply.json()) as ProblemJson).detail]).toEqual([
    400,
    'The Host header is missing.',
  ])
})

test('of very many faults the first ten are told', async () => {
  const body = JSON.stringify({
    project: 'app',
    prompt: 'x',
    allowed_tools: Array.from({ length: 150 }, () => ''),
  })
  const headers = rightful({ 'content-type': 'application/json' })
  const reply = await createApp(createFakeDaemon().deps).request('/api/tasks', {
    method: 'POST',
    headers,
    body,
  })
  const { detail } = (await reply.json()) as ProblemJson
  expect([reply.status, detail.match(/allowed_tools/g)?.length]).toEqual([400, 10])
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
