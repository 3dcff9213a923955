import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import { onTestFinished } from 'vitest'

/** How the key server answers: as it should, with an error, never, only in part, or with something else. */
type Mood = 'well' | 'error' | 'silent' | 'half' | 'html' | 'empty'

type Pair = { kid: string; alg: string; privateKey: CryptoKey; jwk: JWK }

export const ISSUER = 'https://project.example/auth/v1'

/** A server of public keys that can rotate, die, stall and lie, and the signer that belongs to it. */
export async function startKeyServer() {
  let mood: Mood = 'well'
  let pairs = [await pairOf('first', 'ES256')]
  let fetches = 0
  const server = createServer((_request, response) => {
    fetches += 1
    if (mood === 'silent') return
    if (mood === 'half')
      return void response.writeHead(200, { 'content-type': 'application/json' }).write('{"keys":[')
    if (mood === 'error') return void response.writeHead(503).end('{}')
    if (mood === 'html')
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>keys</p>')
    const keys = mood === 'empty' ? [] : pairs.map(({ jwk }) => jwk)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth/v1/.well-known/jwks.json`,
    fetches: () => fetches,
    mood: (next: Mood) => {
      mood = next
    },
    /** Other keys from now on; tokens of the old ones are no longer vouched for. */
    async rotate(kid: string, alg: 'ES256' | 'RS256' = 'ES256') {
      pairs = [await pairOf(kid, alg)]
    },
    /** A token as the auth server makes them; `changed` overrides or, with undefined, removes claims. */
    sign: (changed: Record<string, unknown> = {}, signer = pairs[0]) => sign(signer as Pair, changed),
    signer: () => pairs[0] as Pair,
  }
}

async function sign({ kid, alg, privateKey }: Pair, changed: Record<string, unknown>): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: ISSUER,
    aud: 'authenticated',
    sub: 'user-1',
    role: 'authenticated',
    iat: now,
    exp: now + 600,
    ...changed,
  }
  const defined = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
  return new SignJWT(defined).setProtectedHeader({ alg, kid }).sign(privateKey)
}

async function pairOf(kid: string, alg: 'ES256' | 'RS256'): Promise<Pair> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}
