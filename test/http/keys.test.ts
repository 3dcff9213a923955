import { expect, test } from 'vitest'
import { createAuthenticate } from '../../src/http/identity/authenticate.ts'
import type { KeyJson, NewKeyJson } from '../../src/protocol/key.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, createKeysInMemory, rightful, TOKEN } from './fake-daemon.ts'

function start() {
  let now = Date.parse('2030-01-01T00:00:00Z')
  const clock = () => now
  const keys = createKeysInMemory()
  const authenticate = createAuthenticate({
    token: TOKEN,
    keys,
    users: null,
    memberOf: async () => null,
    clock,
  })
  const daemon = createFakeDaemon({ keys, clock, authenticate })
  const app = createApp(daemon.deps)
  const ask = async (method: string, path: string, body?: object, credential = TOKEN) => {
    const reply = await app.request(path, {
      method,
      headers: rightful({ authorization: `Bearer ${credential}`, 'content-type': 'application/json' }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: reply.status, body: (await reply.json()) as NewKeyJson & KeyJson[] }
  }
  return { ...daemon, ask, later: (ms: number) => (now += ms) }
}

test('a key is shown once, works for what it was made for, and not after it is revoked', async () => {
  const { ask } = start()
  const made = await ask('POST', '/api/keys', { name: 'ci', scopes: ['read'], projects: ['app'] })
  expect(made).toMatchObject({ status: 201, body: { name: 'ci', scopes: ['read'], projects: ['app'] } })
  const { key, id } = made.body
  expect((await ask('GET', '/api/tasks', undefined, key)).status).toBe(200)
  expect((await ask('POST', '/api/shutdown', {}, key)).status).toBe(403)
  const listed = await ask('GET', '/api/keys')
  expect(listed.body).toMatchObject([{ id, revoked_at: null }])
  expect(JSON.stringify(listed.body)).not.toContain(key)
  const revoked = await ask('POST', '/api/keys/ci/revoke')
  expect(revoked.body.revoked_at).not.toBeNull()
  expect((await ask('GET', '/api/tasks', undefined, key)).status).toBe(401)
})

test('a key that is over opens nothing', async () => {
  const { ask, later } = start()
  const { body } = await ask('POST', '/api/keys', {
    name: 'short',
    scopes: ['read'],
    expires_at: '2030-01-01T00:01:00Z',
  })
  expect((await ask('GET', '/api/tasks', undefined, body.key)).status).toBe(200)
  later(60_000)
  expect((await ask('GET', '/api/tasks', undefined, body.key)).status).toBe(401)
})

test.each([
  [{ name: 'x', scopes: [] }, 400],
  [{ name: 'x', scopes: ['root'] }, 400],
  [{ name: '', scopes: ['read'] }, 400],
  [{ name: 'a\u001b[31m', scopes: ['read'] }, 400],
  [{ name: 'x', scopes: ['read'], projects: [] }, 400],
  [{ name: 'x', scopes: ['read'], projects: ['none'] }, 404],
  [{ name: 'x', scopes: ['admin'], projects: ['app'] }, 400],
  [{ name: 'x', scopes: ['read'], expires_at: '2029-01-01T00:00:00Z' }, 400],
  [{ name: 'x', scopes: ['read'], expires_at: 'tomorrow' }, 400],
])('a key of %j is refused with %i', async (body, status) => {
  const { ask } = start()
  expect((await ask('POST', '/api/keys', body)).status).toBe(status)
})

test('which key is meant must be clear', async () => {
  const { ask } = start()
  for (const name of ['ci', 'ci']) await ask('POST', '/api/keys', { name, scopes: ['read'] })
  expect((await ask('POST', '/api/keys/ci/revoke')).status).toBe(409)
  expect((await ask('POST', '/api/keys/none/revoke')).status).toBe(404)
})
