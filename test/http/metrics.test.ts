import { expect, test } from 'vitest'
import { createApp } from '../../src/http/app.ts'
import { createFakeDaemon, PORT } from './fake-daemon.ts'

const host = `127.0.0.1:${PORT}`
const here = { incoming: { socket: { remoteAddress: '127.0.0.1' } } }

function serve(behindTls = false) {
  const daemon = createFakeDaemon({
    names: { port: () => PORT, public: ['ccm.example'], behindTls },
    scrape: async () => ({ type: 'text/plain', text: 'up 1\n' }),
  })
  const app = createApp(daemon.deps)
  return (headers: Record<string, string>, env: object = here) =>
    app.request('/metrics', { headers: { host, ...headers } }, env)
}

test('a program on this machine reads the metrics without a credential, through the socket too', async () => {
  const ask = serve()
  expect(await (await ask({})).text()).toBe('up 1\n')
  expect((await ask({}, { unix: true, incoming: { socket: {} } })).status).toBe(200)
})

test('through a proxy or from elsewhere they take the scope read, for all projects', async () => {
  const ask = serve()
  const far = { incoming: { socket: { remoteAddress: '192.0.2.7' } } }
  const proxied = { host: 'ccm.example', 'x-forwarded-proto': 'https' }
  expect((await ask(proxied)).status).toBe(401)
  expect((await ask({ 'x-forwarded-for': '192.0.2.7' })).status).toBe(401)
  expect((await ask({}, far)).status).toBe(401)
  expect((await ask({ ...proxied, authorization: 'Bearer write-key' })).status).toBe(403)
  // Its projects are some.
  expect((await ask({ ...proxied, authorization: 'Bearer read-key' })).status).toBe(403)
  expect((await ask({ ...proxied, authorization: 'Bearer right-token' })).status).toBe(200)
})

test('with http.behind_tls they take it over TCP always: the proxy may look like a program of this machine', async () => {
  const ask = serve(true)
  expect((await ask({})).status).toBe(401)
  expect((await ask({ authorization: 'Bearer right-token' })).status).toBe(200)
  expect((await ask({}, { unix: true, incoming: { socket: {} } })).status).toBe(200)
})

test('each answer is counted under the pattern of its route, whatever was asked', async () => {
  const seen: unknown[] = []
  const daemon = createFakeDaemon({
    answered: (route, method, status, tookMs) => {
      seen.push([route, method, status, tookMs >= 0])
    },
  })
  const app = createApp(daemon.deps)
  const headers = { host, authorization: 'Bearer right-token' }
  await app.request('/api/tasks/one', { headers }, here)
  await app.request('/nothing/here', { headers }, here)
  await app.request('/api/tasks', { headers: { host: 'evil.example' } }, here)
  expect(seen).toEqual([
    ['/api/tasks/:id', 'GET', 404, true],
    ['none', 'GET', 404, true],
    ['none', 'GET', 403, true],
  ])
})
