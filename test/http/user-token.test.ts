import { createHmac } from 'node:crypto'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createUserTokens } from '../../src/http/identity/user-token.ts'
import { ISSUER, startKeyServer } from './key-server.ts'

const SECRET = 'a-shared-secret-of-at-least-32-characters'

async function start() {
  const server = await startKeyServer()
  let now = Date.now()
  const source = { issuer: ISSUER, audience: 'authenticated', jwksUrl: server.url }
  const { read } = createUserTokens(source, () => now)
  return { server, read, later: (ms: number) => (now += ms) }
}

function hs256(claims: object, secret: string, header: object = { alg: 'HS256', typ: 'JWT' }): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part(header)}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

const now = Math.floor(Date.now() / 1000)
const claims = {
  iss: ISSUER,
  aud: 'authenticated',
  sub: 'u',
  role: 'authenticated',
  iat: now,
  exp: now + 600,
}

test('a token of the source is its user', async () => {
  const { server, read } = await start()
  expect(await read(await server.sign())).toMatchObject({ id: 'user-1' })
  await server.rotate('rsa', 'RS256')
})

test.each([
  ['another issuer', { iss: 'https://other.example/auth/v1' }],
  ['another audience', { aud: 'anon' }],
  ['no subject', { sub: undefined }],
  ['a subject with blanks', { sub: 'a b' }],
  ['a very long subject', { sub: 'x'.repeat(200) }],
  ['no role', { role: undefined }],
  ['the role anon', { role: 'anon' }],
  ['the role service_role', { role: 'service_role' }],
  ['no end', { exp: undefined }],
  ['an end in the past', { exp: now - 60 }],
  ['no time of issue', { iat: undefined }],
  ['a start in the future', { nbf: now + 600 }],
])('a token with %s is refused', async (_, changed) => {
  const { server, read } = await start()
  expect(await read(await server.sign(changed))).toBe('refused')
})

test('a token whose signature or form is not right is refused, and nothing is fetched for what is no token', async () => {
  const { server, read } = await start()
  expect(await read('no.token')).toBe('refused')
  expect(await read(`${'x'.repeat(9000)}.y.z`)).toBe('refused')
  expect(server.fetches()).toBe(0)
  const token = await server.sign()
  const [head, body, signature] = token.split('.') as [string, string, string]
  const other = Buffer.from(JSON.stringify({ ...claims, sub: 'admin' })).toString('base64url')
  expect(await read(`${head}.${other}.${signature}`)).toBe('refused')
  expect(await read(`${head}.${body}.`)).toBe('refused')
  expect(await read(hs256(claims, '', { alg: 'none' }))).toBe('refused')
})

test('a public key is never taken for a shared secret', async () => {
  const { server, read } = await start()
  const secret = JSON.stringify(server.signer().jwk)
  expect(await read(hs256(claims, secret, { alg: 'HS256', kid: 'first' }))).toBe('refused')
})

test('a shared secret counts only where it was asked for, and then nothing else does', async () => {
  const { server } = await start()
  const source = { issuer: ISSUER, audience: 'authenticated', secret: SECRET }
  const { read } = createUserTokens(source, Date.now)
  expect(await read(hs256(claims, SECRET))).toMatchObject({ id: 'u' })
  expect(await read(hs256(claims, 'another'))).toBe('refused')
  expect(await read(await server.sign())).toBe('refused')
})

test('within half a minute of a fetch an unknown key fetches nothing, a new one neither', async () => {
  const { server, read } = await start()
  await read(await server.sign())
  const old = server.signer()
  await server.rotate('second')
  // Within the cooldown of the first fetch the new key is not known yet.
  expect(await read(await server.sign())).toBe('refused')
  for (let count = 0; count < 20; count++) await read(await server.sign({}, { ...old, kid: `x${count}` }))
  expect(server.fetches()).toBe(1)
})

/** The key server, an hour's token of its first key, and a way to let time go on. */
async function withTime() {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  onTestFinished(() => void vi.useRealTimers())
  const started = await start()
  const old = await started.server.sign({ exp: now + 3600 })
  expect(await started.read(old)).toMatchObject({ id: 'user-1' })
  return { ...started, old, later: (ms: number) => vi.setSystemTime(Date.now() + ms) }
}

test.each(['ES256', 'RS256'] as const)(
  'after half a minute a token that names a new key, of %s, has it fetched, and those of the old one are over',
  async (alg) => {
    const { server, read, old, later } = await withTime()
    await server.rotate('second', alg)
    later(30_000)
    expect(await read(await server.sign())).toMatchObject({ id: 'user-1' })
    expect(await read(old)).toBe('refused')
    expect(server.fetches()).toBe(2)
  },
)

test('a key that was taken out is no good after ten minutes, though no token names another', async () => {
  const { server, read, old, later } = await withTime()
  await server.rotate('second')
  later(599_000)
  expect(await read(old)).toMatchObject({ id: 'user-1' })
  later(1000)
  expect(await read(old)).toBe('refused')
})

test('another key under the same name vouches for no token of the first', async () => {
  const { server, read, old, later } = await withTime()
  await server.rotate('first')
  later(600_000)
  expect(await read(old)).toBe('refused')
  expect(await read(await server.sign())).toMatchObject({ id: 'user-1' })
})

test.each(['error', 'html'] as const)(
  'a key server that answers %s is told apart from a bad token',
  async (mood) => {
    const { server, read, later } = await start()
    server.mood(mood)
    const token = await server.sign()
    expect(await read(token)).toBe('unavailable')
    for (let count = 0; count < 20; count++) expect(await read(token)).toBe('unavailable')
    expect(server.fetches()).toBe(1)
    server.mood('well')
    later(2000)
    expect(await read(token)).toMatchObject({ id: 'user-1' })
  },
)

test.each([
  ['before its answer', 'silent'],
  ['within it', 'half'],
] as const)('a key server that stalls %s holds nobody for longer than 4 s', { retry: 2 }, async (_, mood) => {
  const { server, read } = await start()
  server.mood(mood)
  const started = Date.now()
  expect(await read(await server.sign())).toBe('unavailable')
  // Below the 5 s that the library would wait by itself.
  expect(Date.now() - started).toBeLessThan(4800)
})

test('a key server without keys vouches for nobody', async () => {
  const { server, read } = await start()
  server.mood('empty')
  expect(await read(await server.sign())).toBe('refused')
})

test('a key server that is gone is told apart from a bad token', async () => {
  const source = { issuer: ISSUER, audience: 'authenticated', jwksUrl: 'http://127.0.0.1:1/jwks.json' }
  const { server } = await start()
  expect(await createUserTokens(source, Date.now).read(await server.sign())).toBe('unavailable')
})
