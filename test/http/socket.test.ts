import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { socketFetch } from '../../src/cli/socket-fetch.ts'
import { createDaemonClient } from '../../src/client/daemon-client.ts'
import { createApp } from './checked-app.ts'
import { listenOnSocket } from '../../src/http/listen.ts'
import { TOKEN, createFakeDaemon } from './fake-daemon.ts'
import { until } from './served.ts'

async function serve() {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-sock-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'api.sock')
  writeFileSync(path, 'left from before')
  const daemon = createFakeDaemon({ heartbeatMs: 50 })
  const server = await listenOnSocket(createApp(daemon.deps), path)
  onTestFinished(() => server.close())
  const fetch = socketFetch(path)
  const client = createDaemonClient({ baseUrl: 'http://127.0.0.1:1', token: TOKEN, fetch })
  return { ...daemon, path, fetch, client, server }
}

test('the socket belongs to its owner alone, and what lay in its place is replaced', async () => {
  const { path, client } = await serve()
  expect(statSync(path).isSocket()).toBe(true)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(await client.status()).toMatchObject({ pid: 1 })
})

test('the client works through it: bodies, errors, and a stream that ends when it is left', async () => {
  const { client, fetch, addTask, addHook, listeners } = await serve()
  const { task } = await client.createTask({ prompt: 'Dö it.', dir: '/x' })
  expect(task.prompt).toBe('Dö it.')
  await expect(client.task('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect((await fetch('http://x/api/status')).status).toBe(401)
  addTask('a')
  const stop = new AbortController()
  const seen: string[] = []
  const reading = (async () => {
    for await (const message of client.liveEvents({ signal: stop.signal })) seen.push(JSON.stringify(message))
  })().catch(() => undefined)
  await until(() => listeners.size === 1)
  addHook('a', 'Stop')
  await until(() => seen.join().includes('Stop'))
  stop.abort()
  await reading
  await until(() => listeners.size === 0)
})

test('any Host will do, and none', async () => {
  const { path } = await serve()
  for (const lines of ['Host: other.example\r\n', '']) {
    const socket = connect(path)
    onTestFinished(() => void socket.destroy())
    let all = ''
    socket.on('data', (data) => (all += data.toString()))
    socket.write(`GET /api/status HTTP/1.1\r\n${lines}Authorization: Bearer ${TOKEN}\r\n\r\n`)
    await until(() => all.includes('\r\n\r\n'))
    expect(all).toMatch(/^HTTP\/1\.1 200 /)
  }
})

test('a socket that nobody serves any more is a daemon that cannot be reached', async () => {
  const { client, server } = await serve()
  await server.close()
  await expect(client.status()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' })
})
