import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, PORT, rightful } from './fake-daemon.ts'
import { serveFakeDaemon, until } from './served.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const as = (key: string) => ({ host: `127.0.0.1:${PORT}`, authorization: `Bearer ${key}`, ...JSON_TYPE })

test('a change is written down before its answer goes out: who, what, from where, what became of it', async () => {
  const daemon = createFakeDaemon()
  daemon.addTask('task-a', { project: 'app' })
  const app = createApp(daemon.deps)
  const answer = await app.request(
    '/api/tasks/task/cancel',
    { method: 'POST', headers: as('write-key'), body: '{"reason":"a secret reason"}' },
    { incoming: { socket: { remoteAddress: '127.0.0.1' } } },
  )
  expect(daemon.audits).toEqual([
    {
      at: expect.any(Number),
      kind: 'key',
      who: 'write',
      action: 'POST /api/tasks/:id/cancel',
      target: 'task',
      taskId: 'task-a',
      project: 'app',
      origin: '127.0.0.1',
      status: 200,
      code: null,
      requestId: answer.headers.get('x-request-id'),
    },
  ])
  expect(JSON.stringify(daemon.audits)).not.toContain('secret')
})

test('refusals of a known caller are written down too, a stranger and a reader are not', async () => {
  const daemon = createFakeDaemon()
  const app = createApp(daemon.deps)
  const post = async (path: string, headers: Record<string, string>) =>
    (await app.request(path, { method: 'POST', headers })).status
  expect(await post('/api/shutdown', as('read-key'))).toBe(403)
  expect(await post('/api/tasks/none/retry', as('write-key'))).toBe(404)
  expect(await post('/api/tasks/none/retry', as('wrong'))).toBe(401)
  await app.request('/api/tasks', { headers: rightful() })
  expect(daemon.audits.map(({ who, status, code }) => [who, status, code])).toEqual([
    ['read', 403, 'FORBIDDEN'],
    ['write', 404, 'NOT_FOUND'],
  ])
})

test('a new task is written down with its id; an answer that was only told again is not', async () => {
  const daemon = createFakeDaemon()
  const app = createApp(daemon.deps)
  const body = JSON.stringify({ prompt: 'Do it.', project: 'app' })
  const headers = { ...rightful(JSON_TYPE), 'idempotency-key': 'once' }
  for (let n = 0; n < 2; n++) await app.request('/api/tasks', { method: 'POST', headers, body })
  expect(daemon.audits.map(({ taskId, origin }) => [taskId, origin])).toEqual([['task-1', 'local']])
})

test('who asks too often fills no audit log', async () => {
  const daemon = createFakeDaemon({ rate: 1, clock: () => 0 })
  const app = createApp(daemon.deps)
  const statuses = []
  for (let n = 0; n < 30; n++)
    statuses.push((await app.request('/api/shutdown', { method: 'POST', headers: as('admin-key') })).status)
  expect(statuses.slice(9, 11)).toEqual([202, 429])
  expect(daemon.audits).toHaveLength(10)
})

test('through a proxy its last word about the address is kept, and nothing that is none', async () => {
  const daemon = createFakeDaemon()
  const app = createApp(daemon.deps)
  const env = { incoming: { socket: { remoteAddress: '127.0.0.1' } } }
  for (const given of ['6.6.6.6, 203.0.113.9', '<script>']) {
    const headers = {
      ...as('admin-key'),
      host: 'ccm.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-for': given,
    }
    await app.request('/api/tasks/none/retry', { method: 'POST', headers }, env)
  }
  const origins = daemon.audits.map(({ origin }) => origin)
  expect(origins).toEqual(['203.0.113.9 through 127.0.0.1', '127.0.0.1'])
})

test('of a caller who hangs up before the answer it is known from where it came', async () => {
  const gate = Promise.withResolvers<void>()
  const served = await serveFakeDaemon()
  served.addTask('a')
  let isAsked = false
  served.deps.tasks.cancel = async () => {
    isAsked = true
    await gate.promise
    return 'cancelled'
  }
  const caller = connect(served.port, '127.0.0.1')
  const gone = new Promise((resolve) => caller.on('close', resolve))
  caller.write(
    `POST /api/tasks/a/cancel HTTP/1.1\r\nHost: 127.0.0.1:${served.port}\r\nAuthorization: Bearer write-key\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
  )
  await until(() => isAsked)
  caller.destroy()
  await gone
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.resolve()
  await until(() => served.audits.length === 1)
  expect(served.audits).toMatchObject([{ who: 'write', origin: '127.0.0.1' }])
})

test('the audit log is for administrators, by caller and time, with a link to what is older', async () => {
  const asked: unknown[] = []
  const daemon = createFakeDaemon({
    audits: async (query) => {
      asked.push(query)
      return [7, 6].map((id) => ({ ...ENTRY, id }))
    },
  })
  const app = createApp(daemon.deps)
  const url = '/api/audit?who=key&since=2026-01-01T00:00:00Z&limit=1'
  const answer = await app.request(url, { headers: rightful() })
  expect(await answer.json()).toMatchObject([{ id: 7, at: '1970-01-01T00:00:00.000Z', task_id: null }])
  expect(asked).toEqual([{ since: Date.parse('2026-01-01T00:00:00Z'), who: 'key', before: null, limit: 2 }])
  const next = /<(.*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1] ?? ''
  await app.request(next, { headers: rightful() })
  expect(asked[1]).toMatchObject({ who: 'key', before: 7 })
})

const ENTRY = {
  at: 0,
  kind: 'local',
  who: 'local',
  action: 'POST /api/shutdown',
  target: null,
  taskId: null,
  project: null,
  origin: 'socket',
  status: 202,
  code: null,
  requestId: 'r',
}
