import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { serveFakeDaemon, until } from './served.ts'

/** A daemon that answers three requests at once, and is asked for three statuses that nobody is told yet. */
async function full() {
  const served = await serveFakeDaemon({}, { max: 6, answered: 3 })
  const gate = Promise.withResolvers<void>()
  const { status } = served.deps
  let asked = 0
  served.deps.status = async () => {
    asked += 1
    await gate.promise
    return status()
  }
  const held = [1, 2, 3].map(() => served.client.status())
  await until(() => asked === 3)
  return { ...served, held, open: gate.resolve, asked: () => asked }
}

test('who asks while as many are answered as may be is told to come again, also with a large body', async () => {
  const { baseUrl, client, held, open, calls } = await full()
  const reply = await fetch(`${baseUrl}/api/tasks`)
  expect([reply.status, reply.headers.get('retry-after'), reply.headers.get('cache-control')]).toEqual([
    503,
    '5',
    'no-store',
  ])
  expect(await reply.json()).toMatchObject({
    status: 503,
    code: 'UNAVAILABLE',
    retry_after_s: 5,
    request_id: reply.headers.get('x-request-id'),
  })
  for (let count = 0; count < 20; count++)
    await expect(client.createTask({ prompt: 'x'.repeat(900_000), dir: '/x' })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryAfterMs: 5000,
    })
  expect(calls).toEqual([])
  open()
  expect(await Promise.all(held)).toHaveLength(3)
  expect(await client.tasks()).toEqual([])
})

test('how it is, is answered all the while, beside any number of connections that say nothing', async () => {
  const { baseUrl, client, port, held, open, asked } = await full()
  const silent = Array.from({ length: 30 }, () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => void socket.destroy())
    return socket
  })
  await until(() => silent.filter(({ closed }) => closed).length >= 27)
  for (let count = 0; count < 10; count++) {
    expect((await fetch(`${baseUrl}/health`, { headers: { connection: 'close' } })).status).toBe(200)
    expect((await fetch(`${baseUrl}/api/status`, { headers: { connection: 'close' } })).status).toBe(503)
  }
  expect(asked()).toBe(3)
  open()
  expect(await Promise.all(held)).toHaveLength(3)
  expect(await client.status()).toMatchObject({ pid: 1 })
})

test.each<[string, string, Record<string, string>, number]>([
  ['GET', '/health', {}, 200],
  ['HEAD', '/health', {}, 200],
  ['GET', '/health?verbose', {}, 200],
  ['GET', '/health/supabase', {}, 200],
  ['GET', '/health/tmux', {}, 200],
  ['GET', '/health', { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.7' }, 200],
  ['POST', '/health', {}, 503],
  ['GET', '/healthy', {}, 503],
  ['GET', '/docs?/health', {}, 503],
])('meanwhile %s %s with the headers %j is answered %i', async (method, path, headers, status) => {
  const { baseUrl, held, open } = await full()
  const reply = await fetch(baseUrl + path, { method, headers: { ...headers, connection: 'close' } })
  expect(reply.status).toBe(status)
  open()
  expect(await Promise.all(held)).toHaveLength(3)
})

test('a connection that has its answer is no request: it may stay open and another is answered', async () => {
  const served = await serveFakeDaemon({}, { max: 6, answered: 3 })
  const idle = Array.from({ length: 5 }, () => {
    const socket = connect(served.port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => void socket.destroy())
    let all = ''
    socket.on('data', (data) => (all += data.toString()))
    socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${served.port}\r\n\r\n`)
    return { socket, all: () => all }
  })
  await until(() => idle.every(({ all }) => all().includes('HTTP/1.1 200')))
  expect(await served.client.status()).toMatchObject({ pid: 1 })
  expect(idle.filter(({ socket }) => socket.closed)).toEqual([])
})
