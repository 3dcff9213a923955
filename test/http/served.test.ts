import { createServer, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { createDaemonClient } from '../../src/client/daemon-client.ts'
import { createApp } from './checked-app.ts'
import { listen } from '../../src/http/listen.ts'
import { TOKEN, createFakeDaemon } from './fake-daemon.ts'
import { serveFakeDaemon, until } from './served.ts'

/** The question of one attempt, as Claude Code sends it; `leave` closes its connection. */
function askPermission(port: number, secret: string) {
  const abort = new AbortController()
  const reply = fetch(`http://127.0.0.1:${port}/internal/attempts/task-1/2/permission`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ hook_event_name: 'PermissionRequest', tool_name: 'Bash' }),
    signal: abort.signal,
  })
  return { reply, leave: () => abort.abort() }
}

test('a permission request is held until somebody decides', async () => {
  let decide = (_answer: Record<string, unknown>) => {}
  const asked: unknown[] = []
  const served = await serveFakeDaemon({
    isSecretOf: (taskId, attempt, secret) => {
      asked.push({ taskId, attempt, secret })
      return true
    },
    async askPermission(taskId, attempt, payload) {
      asked.push({ taskId, attempt, payload })
      return new Promise<Record<string, unknown>>((resolve) => (decide = resolve))
    },
  })
  const { reply } = askPermission(served.port, 's3cret')
  await until(() => asked.length === 2)
  decide({ hookSpecificOutput: { decision: { behavior: 'allow' } } })
  expect(await (await reply).json()).toEqual({ hookSpecificOutput: { decision: { behavior: 'allow' } } })
  const payload = { hook_event_name: 'PermissionRequest', tool_name: 'Bash' }
  const of = { taskId: 'task-1', attempt: 2 }
  expect(asked).toEqual([
    { ...of, secret: 's3cret' },
    { ...of, payload },
  ])
})

test('a held permission request learns that its client left', async () => {
  let left: unknown = null
  let held = false
  const served = await serveFakeDaemon({
    isSecretOf: () => true,
    async askPermission(_task, _attempt, _payload, signal) {
      held = true
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      left = signal.aborted
      return {}
    },
  })
  const { reply, leave } = askPermission(served.port, 's3cret')
  await until(() => held)
  leave()
  await expect(reply).rejects.toThrow('abort')
  await until(() => left === true)
})

test('a wrong secret is refused, and so is an attempt that is no number', async () => {
  const served = await serveFakeDaemon()
  const refused = await askPermission(served.port, 'wrong').reply
  expect([refused.status, await refused.json()]).toMatchObject([401, { code: 'UNAUTHORIZED' }])
})

test('nothing is read of a question with a wrong secret, also where its length is not said', async () => {
  const served = await serveFakeDaemon()
  const status = await new Promise((resolve, reject) => {
    const asking = request({
      port: served.port,
      host: '127.0.0.1',
      path: '/internal/attempts/a/1/permission',
      method: 'POST',
      headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
    })
    asking.on('error', reject).on('response', ({ statusCode }) => {
      asking.destroy()
      resolve(statusCode)
    })
    // Its end never comes.
    asking.write('{')
  })
  expect(status).toBe(401)
})

test('a file of 3 MB may be asked about', async () => {
  let size = 0
  const served = await serveFakeDaemon({
    isSecretOf: () => true,
    async askPermission(_task, _attempt, payload) {
      size = JSON.stringify(payload).length
      return {}
    },
  })
  const url = `${served.baseUrl}/internal/attempts/a/1/permission`
  const headers = { authorization: 'Bearer x', 'content-type': 'application/json' }
  const body = JSON.stringify({ tool_input: { content: 'x'.repeat(3_000_000) } })
  expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(200)
  expect(size).toBeGreaterThan(3_000_000)
})

test('closing lets an answer under way go out and cuts what is held', async () => {
  let finish = () => {}
  const served = await serveFakeDaemon({
    health: () => new Promise((resolve) => (finish = () => resolve({ status: 'ok', tmux: 'ok' }))),
    isSecretOf: () => true,
    askPermission: () => new Promise(() => {}),
  })
  const held = askPermission(served.port, 'x').reply.catch((error: Error) => error.message)
  const slow = served.client.health()
  const first = finish
  await until(() => finish !== first)
  const closed = served.close(200)
  finish()
  expect(await slow).toEqual({ status: 'ok', tmux: 'ok' })
  await closed
  expect(await held).toBe('fetch failed')
  await expect(fetch(`${served.baseUrl}/health`)).rejects.toThrow('fetch failed')
})

test('a port in use is said with the setting that chooses another', async () => {
  const served = await serveFakeDaemon()
  const second = listen(createApp(createFakeDaemon().deps), { host: '127.0.0.1', port: served.port })
  await expect(second).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    message: `Port ${served.port} on 127.0.0.1 is taken by another program.`,
    remedy: expect.stringMatching(/\[http\] port.*CCM__HTTP__PORT/),
  })
})

test('the Host guard holds on a real socket', async () => {
  const served = await serveFakeDaemon()
  const status = await new Promise((resolve, reject) => {
    const headers = { host: `evil.example:${served.port}`, authorization: `Bearer ${TOKEN}` }
    request({ port: served.port, host: '127.0.0.1', path: '/api/status', headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  expect(status).toBe(403)
})

test('the client throws what the daemon said', async () => {
  const { client, baseUrl } = await serveFakeDaemon()
  await expect(client.task('nope')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: 'There is no task nope.',
  })
  const stranger = createDaemonClient({ baseUrl, token: 'wrong' })
  await expect(stranger.status()).rejects.toMatchObject({
    code: 'UNAUTHORIZED',
    message: 'The credential is unknown, revoked or over.',
    remedy: expect.stringContaining('token'),
  })
})

test('no daemon, and something that is no daemon, are both unreachable', async () => {
  const server = createServer((_request, response) => response.writeHead(404).end('hi'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const client = createDaemonClient({ baseUrl: `http://127.0.0.1:${port}`, token: 'x' })
  await expect(client.status()).rejects.toMatchObject({
    code: 'DAEMON_UNREACHABLE',
    message: expect.stringContaining('is not ccm'),
  })
  await new Promise((resolve) => server.close(resolve))
  await expect(client.status()).rejects.toMatchObject({
    code: 'DAEMON_UNREACHABLE',
    message: expect.stringContaining('cannot be reached'),
    remedy: '`ccm start` starts it.',
  })
  await expect(client.liveEvents().next()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' })
})
