import { expect, onTestFinished, test, vi } from 'vitest'
import { createApp } from './checked-app.ts'
import { CcmError } from '../../src/core/errors.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import { createIdempotency } from '../../src/store/idempotency.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'

function start(overrides: Partial<AppDeps> = {}) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  let now = 1_000_000_000_000
  const daemon = createFakeDaemon({ idempotency: createIdempotency(db), clock: () => now, ...overrides })
  const app = createApp(daemon.deps)
  const post = async (
    key: string,
    body: object = { prompt: 'x', project: 'app' },
    credential = 'right-token',
  ) => {
    const reply = await app.request('/api/tasks', {
      method: 'POST',
      headers: rightful({
        'content-type': 'application/json',
        'idempotency-key': key,
        authorization: `Bearer ${credential}`,
      }),
      body: JSON.stringify(body),
    })
    const { id, code } = (await reply.json()) as { id?: string; code?: string }
    return { status: reply.status, id, code, replayed: reply.headers.get('idempotency-replayed') }
  }
  const inserts = () => daemon.calls.filter(([name]) => name === 'insert')
  return { ...daemon, db, app, post, inserts, later: (ms: number) => (now += ms) }
}

test('a repeated request is done once and answered alike, for a day', async () => {
  const { post, inserts, later } = start()
  const first = await post('k1')
  expect(first).toEqual({ status: 201, id: 'task-1', code: undefined, replayed: null })
  later(86_399_999)
  expect(await post('k1')).toEqual({ ...first, replayed: 'true' })
  expect(inserts()).toHaveLength(1)
  later(1)
  expect(await post('k1')).toMatchObject({ id: 'task-2', replayed: null })
})

test('a key belongs to its caller, and to one request', async () => {
  const { app, post, inserts } = start()
  await post('k1')
  const elsewhere = await app.request('/api/templates', {
    method: 'POST',
    headers: rightful({ 'content-type': 'application/json', 'idempotency-key': 'k1' }),
    body: JSON.stringify({ prompt: 'x', project: 'app' }),
  })
  expect(elsewhere.status).toBe(422)
  expect(await post('k1', { prompt: 'y', project: 'app' })).toMatchObject({ status: 422, code: 'CONFLICT' })
  expect(await post('k1', undefined, 'write-key')).toMatchObject({ status: 201, id: 'task-2' })
  expect(await post('k1', undefined, 'admin-key')).toMatchObject({ status: 201, id: 'task-3' })
  expect(inserts()).toHaveLength(3)
})

test('a refusal is not kept: the request may be mended and sent again', async () => {
  const { post } = start()
  expect((await post('k1', { prompt: '' })).status).toBe(400)
  expect((await post('k1')).status).toBe(201)
})

test('what was done is answered as done also where that cannot be kept, on a full disk say', async () => {
  const full: AppDeps['idempotency'] = {
    find: () => 'new',
    keep: () => {
      throw new CcmError('DISK_FULL', 'The disk is full.')
    },
  }
  const { post, inserts } = start({ idempotency: full })
  expect(await post('k1')).toMatchObject({ status: 201, id: 'task-1' })
  expect(inserts()).toHaveLength(1)
})

test('a new API key is kept nowhere: a repetition makes none, and is told so', async () => {
  const { db, app, deps } = start()
  const post = () =>
    app.request('/api/keys', {
      method: 'POST',
      headers: rightful({ 'content-type': 'application/json', 'idempotency-key': 'k1' }),
      body: JSON.stringify({ name: 'ci', scopes: ['read'] }),
    })
  const first = await post()
  const { key } = (await first.json()) as { key: string }
  expect([first.status, key]).toEqual([201, expect.stringMatching(/^ccmk_/)])
  const rows = db.prepare<Record<string, never>, object>('SELECT * FROM idempotency').all({})
  expect(rows).toHaveLength(1)
  expect(JSON.stringify(rows)).not.toContain(key)
  const again = await post()
  expect([again.status, await again.text()]).toEqual([409, expect.stringContaining('shown once')])
  expect(deps.keys.list()).toHaveLength(1)
})

test('what ends after its caller was told that it takes too long is done once, too', async () => {
  const gate = Promise.withResolvers<void>()
  const { deps, post, inserts } = start()
  const { insert } = deps.tasks
  deps.tasks.insert = async (request) => {
    await gate.promise
    return insert(request)
  }
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const first = post('k1')
  await new Promise((resolve) => setImmediate(resolve))
  vi.advanceTimersByTime(30_000)
  expect((await first).status).toBe(503)
  expect((await post('k1')).status).toBe(409)
  gate.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  expect(await post('k1')).toMatchObject({ status: 201, id: 'task-1', replayed: 'true' })
  expect(inserts()).toHaveLength(1)
})

test('what has an answer too large to be kept is done once, too', async () => {
  const { app, addTask, calls } = start()
  addTask('a', { prompt: 'x'.repeat(300 * 1024) })
  const approve = () =>
    app.request('/api/tasks/a/approve', {
      method: 'POST',
      headers: rightful({ 'content-type': 'application/json', 'idempotency-key': 'k1' }),
      body: '{}',
    })
  expect((await approve()).status).toBe(200)
  const again = await approve()
  expect([again.status, await again.text()]).toEqual([409, expect.stringContaining('was done')])
  expect(calls.filter(([name]) => name === 'approve')).toHaveLength(1)
})

test('two at once are one', async () => {
  const gate = Promise.withResolvers<void>()
  const daemon = start()
  const insert = daemon.deps.tasks.insert
  daemon.deps.tasks.insert = async (request) => {
    await gate.promise
    return insert(request)
  }
  const first = daemon.post('k1')
  await new Promise((resolve) => setImmediate(resolve))
  expect((await daemon.post('k1')).status).toBe(409)
  gate.resolve()
  expect((await first).status).toBe(201)
})

test('a task from a request with a key has a dedupe key, for a crash before the reply is kept', async () => {
  const { post, inserts } = start()
  await post('k1')
  await post('k2', { prompt: 'x', project: 'app', dedupe_key: 'mine' })
  await post('k3', undefined, 'write-key')
  const keys = inserts().map(([, request]) => (request as { dedupeKey: string }).dedupeKey)
  expect(keys).toEqual([expect.stringMatching(/^once:[\w-]{43}$/), 'mine', expect.stringMatching(/^once:/)])
  expect(keys[0]).not.toBe(keys[2])
})

test.each(['', 'x'.repeat(256), 'a b'])('the key %j is refused', async (key) => {
  const { post, inserts } = start()
  expect((await post(key)).status).toBe(400)
  expect(inserts()).toEqual([])
})
