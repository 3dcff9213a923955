import { request } from 'node:http'
import { expect, test } from 'vitest'
import { createApp } from './checked-app.ts'
import { serveFakeDaemon } from './served.ts'

type Answer = { status: number; headers: Record<string, unknown>; body: string }

function ask(
  port: number,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options
    const asked = request({ port, path: '/health', method, headers }, (reply) => {
      let text = ''
      reply.setEncoding('utf8').on('data', (data: string) => (text += data))
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body: text }))
    })
    asked.on('error', reject).end(body)
  })
}

test('a plain GET /health gets the very answer of the app', async () => {
  const served = await serveFakeDaemon()
  const quick = await ask(served.port)
  const slow = await createApp(served.deps).request('/health', {
    headers: { host: `127.0.0.1:${served.port}` },
  })
  expect([quick.status, JSON.parse(quick.body)]).toEqual([slow.status, await slow.json()])
  const own = Object.entries(quick.headers).filter(
    ([name]) => !/^(date|connection|keep-alive|content-length)$/.test(name),
  )
  const changing = { 'x-request-id': expect.stringMatching(/^[\w-]{12}$/) }
  expect(Object.fromEntries(own)).toEqual({ ...Object.fromEntries(slow.headers), ...changing })
})

test('it is 503 when health fails or cannot be told', async () => {
  const failing = await serveFakeDaemon({ health: async () => ({ status: 'failing', tmux: 'down' }) })
  expect((await ask(failing.port)).status).toBe(503)
  const broken = await serveFakeDaemon({ health: () => Promise.reject(new Error('/home/me')) })
  expect(await ask(broken.port)).toMatchObject({ status: 503, body: '{"status":"failing"}' })
})

test('strangers are refused as everywhere, and each request counts', async () => {
  let asked = 0
  const served = await serveFakeDaemon({
    rate: 1,
    clock: () => 0,
    health: async () => {
      asked += 1
      return { status: 'ok' }
    },
  })
  for (const headers of [
    { host: 'evil.example' },
    { origin: 'http://evil.example' },
    { host: `localhost:${served.port}`, origin: 'null' },
  ] as Record<string, string>[])
    expect((await ask(served.port, { headers })).status).toBe(403)
  expect(asked).toBe(0)
  const statuses = []
  for (let n = 0; n < 12; n++) statuses.push((await ask(served.port)).status)
  expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429, 429])
})
