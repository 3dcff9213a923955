import { expect, test } from 'vitest'
import { createApp, routesOf } from '../../src/http/app.ts'
import type { ProblemJson } from '../../src/protocol/rest.ts'
import { PORT, createFakeDaemon, rightful } from './fake-daemon.ts'

// Every route with what it answers without a token and with a wrong one. A new route needs a row here.
const ROUTES: [method: string, path: string, without: number, wrong: number][] = [
  ['GET', '/health', 200, 200],
  ['GET', '/api/status', 401, 401],
  ['POST', '/api/shutdown', 401, 401],
  ['GET', '/api/projects', 401, 401],
  ['POST', '/api/projects', 401, 401],
  ['GET', '/api/projects/:name', 401, 401],
  ['PATCH', '/api/projects/:name', 401, 401],
  ['DELETE', '/api/projects/:name', 401, 401],
  ['POST', '/api/projects/:name/trust', 401, 401],
  ['POST', '/api/tasks', 401, 401],
  ['GET', '/api/tasks', 401, 401],
  ['GET', '/api/tasks/:id', 401, 401],
  ['GET', '/api/tasks/:id/events', 401, 401],
  ['GET', '/api/tasks/:id/explain', 401, 401],
  ['GET', '/api/tasks/:id/screen', 401, 401],
  ['POST', '/api/tasks/:id/cancel', 401, 401],
  ['POST', '/api/tasks/:id/approve', 401, 401],
  ['POST', '/api/tasks/:id/deny', 401, 401],
  ['POST', '/api/tasks/:id/send', 401, 401],
  ['GET', '/api/events', 401, 401],
  ['POST', '/internal/attempts/:task/:attempt/permission', 401, 401],
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

test.each(ROUTES)(
  '%s %s answers %i without a token and %i with a wrong one',
  async (method, path, without, wrong) => {
    const { deps, calls } = createFakeDaemon()
    const app = createApp(deps)
    const url = path.replace(':attempt', '1').replace(/:\w+/g, 'x')
    const ask = (headers: Record<string, string>) =>
      app.request(url, { method, headers: { host, 'content-type': 'application/json', ...headers } })
    expect((await ask({})).status).toBe(without)
    for (const authorization of [
      'Bearer wrong',
      'Bearer',
      'Basic right-token',
      'Bearer right-token-and-more',
    ]) {
      expect((await ask({ authorization })).status).toBe(wrong)
    }
    expect(calls).toEqual([])
  },
)

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
  expect(((await response.json()) as ProblemJson).message).toContain('1048576')
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
