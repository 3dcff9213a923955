import { expect, onTestFinished, test, vi } from 'vitest'
import type { Principal } from '../../src/core/principal.ts'
import { createApiKey } from '../../src/http/identity/api-key.ts'
import { createAuthenticate } from '../../src/http/identity/authenticate.ts'
import { createUserTokens, type User } from '../../src/http/identity/user-token.ts'
import { createApiKeys } from '../../src/store/api-keys.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { ISSUER, startKeyServer } from './key-server.ts'

type Member = Pick<Principal, 'scopes' | 'projects'>

async function start() {
  const server = await startKeyServer()
  let now = Date.now()
  const clock = () => now
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const keys = createApiKeys(db)
  const members = new Map<string, Member>([['user-1', { scopes: ['read'], projects: ['app'] }]])
  const source = { issuer: ISSUER, audience: 'authenticated', jwksUrl: server.url }
  const tokens = createUserTokens(source, clock)
  let verified = 0
  const users = {
    read: (token: string) => {
      verified += 1
      return tokens.read(token)
    },
  }
  const memberOf = async (id: string) => members.get(id) ?? null
  const authenticate = createAuthenticate({ token: 'local-token', keys, users, memberOf, clock })
  const newKey = (changed: Partial<Parameters<typeof createApiKey>[1]> = {}) =>
    createApiKey(keys, { name: 'ci', scopes: ['write'], projects: ['app'], expiresAt: null, ...changed }, now)
  return {
    server,
    keys,
    members,
    authenticate,
    newKey,
    now: clock,
    later: (ms: number) => (now += ms),
    verified: () => verified,
  }
}

test("the daemon's own token is the local administrator", async () => {
  const { authenticate } = await start()
  expect(await authenticate('local-token')).toMatchObject({
    kind: 'local',
    scopes: ['admin'],
    projects: null,
  })
  for (const wrong of ['', 'local-toke', 'local-token2', 'LOCAL-TOKEN']) {
    expect(await authenticate(wrong)).toBe('refused')
  }
})

test('a key is whom it was made for, and only its digest is kept', async () => {
  const { authenticate, newKey, keys } = await start()
  const { key, secret } = newKey()
  expect(secret).toMatch(/^ccmk_[a-z2-7]{12}_[\w-]{43}$/)
  expect(await authenticate(secret)).toEqual({
    kind: 'key',
    id: key.id,
    scopes: ['write'],
    projects: ['app'],
  })
  expect(JSON.stringify([keys.list(), keys.byId(key.id)])).not.toContain(secret.slice(-43))
  expect(await authenticate(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`)).toBe('refused')
  expect(await authenticate(secret.replace(key.id, 'aaaaaaaaaaaa'))).toBe('refused')
})

test('a key is nobody from the moment it is revoked or over', async () => {
  const { authenticate, newKey, keys, now, later } = await start()
  const revoked = newKey()
  expect(await authenticate(revoked.secret)).not.toBe('refused')
  expect(keys.revoke(revoked.key.id, now())).toBe(true)
  expect(await authenticate(revoked.secret)).toBe('refused')
  expect(keys.revoke('nobody', now())).toBe(false)
  const short = newKey({ expiresAt: now() + 1000 })
  expect(await authenticate(short.secret)).not.toBe('refused')
  later(1000)
  expect(await authenticate(short.secret)).toBe('refused')
  expect(() => newKey({ expiresAt: now() })).toThrow('expire')
})

test('the last use of a key is kept to the minute', async () => {
  const { authenticate, newKey, keys, now, later } = await start()
  const { key, secret } = newKey()
  await authenticate(secret)
  const first = now()
  later(59_999)
  await authenticate(secret)
  expect(keys.byId(key.id)?.key.lastUsedAt).toBe(first)
  later(1)
  await authenticate(secret)
  expect(keys.byId(key.id)?.key.lastUsedAt).toBe(now())
})

test('a user is who the membership says, verified once a minute and checked every few seconds', async () => {
  const { authenticate, server, members, later, verified } = await start()
  const token = await server.sign()
  const user = { kind: 'user', id: 'user-1', scopes: ['read'], projects: ['app'] }
  for (let count = 0; count < 5; count++) expect(await authenticate(token)).toEqual(user)
  expect(verified()).toBe(1)
  members.delete('user-1')
  later(4000)
  expect(await authenticate(token)).toBe('refused')
  members.set('user-1', { scopes: ['operate'], projects: null })
  later(4000)
  expect(await authenticate(token)).toMatchObject({ scopes: ['operate'] })
  later(60_000)
  await authenticate(token)
  expect(verified()).toBe(2)
})

test("revoking a user's tokens works within 5 s, and a token issued later is good again", async () => {
  const { authenticate, server, keys, now, later } = await start()
  const old = await server.sign({ iat: Math.floor(now() / 1000) - 10 })
  expect(await authenticate(old)).toMatchObject({ kind: 'user' })
  keys.revokeUser('user-1', now() - 5000)
  later(4000)
  expect(await authenticate(old)).toBe('refused')
  expect(await authenticate(await server.sign())).toMatchObject({ kind: 'user' })
})

test('a token of the very moment of a revocation is revoked', async () => {
  const { authenticate, server, keys, now } = await start()
  const iat = Math.floor(now() / 1000)
  keys.revokeUser('user-1', iat * 1000)
  expect(await authenticate(await server.sign({ iat }))).toBe('refused')
})

test('of a thousand tokens and more the newest are remembered, and no others', async () => {
  const { keys, now } = await start()
  const read = vi.fn<(token: string) => Promise<User>>(async (id) => ({
    id,
    issuedAt: now(),
    expiresAt: now() + 60_000,
  }))
  const memberOf = async (): Promise<Member> => ({ scopes: ['read'], projects: null })
  const authenticate = createAuthenticate({ token: 't', keys, users: { read }, memberOf, clock: now })
  for (let count = 0; count <= 1000; count++) await authenticate(`token ${count}`)
  read.mockClear()
  for (const again of [1000, 1, 0]) await authenticate(`token ${again}`)
  expect(read.mock.calls).toEqual([['token 0']])
})

test('a verified token ends at its own end', async () => {
  const { authenticate, server, now, later, verified } = await start()
  const token = await server.sign({ exp: Math.floor(now() / 1000) + 30 })
  expect(await authenticate(token)).toMatchObject({ kind: 'user' })
  later(31_000)
  await authenticate(token)
  expect(verified()).toBe(2)
})

test('a good token stays good while the key server is away, for as long as it was verified', async () => {
  const { authenticate, server, later } = await start()
  const token = await server.sign()
  await authenticate(token)
  server.mood('error')
  later(10_000)
  expect(await authenticate(token)).toMatchObject({ kind: 'user' })
})

test.each(['revoked', 'over'])(
  'a token that is %s is refused also while the key server is away',
  async (how) => {
    const { authenticate, server, keys, now, later } = await start()
    const token = await server.sign({ exp: Math.floor(now() / 1000) + 700 })
    expect(await authenticate(token)).toMatchObject({ kind: 'user' })
    server.mood('error')
    // For ten minutes the keys are kept.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 })
    onTestFinished(() => void vi.useRealTimers())
    later(601_000)
    expect(await authenticate(token)).toBe('unavailable')
    if (how === 'revoked') keys.revokeUser('user-1', now())
    later(how === 'revoked' ? 4000 : 100_000)
    expect(await authenticate(token)).toBe('refused')
  },
)

test('what has no known form is refused without asking anybody', async () => {
  const { authenticate, server } = await start()
  for (const wrong of [
    'x',
    'a.b',
    'ccmk_x',
    `${'a'.repeat(9000)}.b.c`,
    'ccmk_aaaaaaaaaaaa_short',
    '\u0000',
  ]) {
    expect(await authenticate(wrong)).toBe('refused')
  }
  expect(server.fetches()).toBe(0)
})
