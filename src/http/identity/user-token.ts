import type { Clock } from '../../core/clock.ts'
import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose'

/** Where user tokens come from. Exactly one kind of key: a shared secret never stands beside public ones. */
export type TokenSource = { issuer: string; audience: string } & (
  | { jwksUrl: string }
  | { /** HS256, for projects that have no public keys; asked for by name in the config. */ secret: string }
)

/** A user whose token was verified: signature, issuer, audience, time and form. Times are milliseconds. */
export type User = { id: string; issuedAt: number; expiresAt: number }

/** What became of a token: a user, `refused`, or `unavailable` when the keys could not be fetched. */
export type TokenReply = User | 'refused' | 'unavailable'

/** A key set that was rotated is seen after this long at the latest, and at once when a token names a new key. */
const JWKS_MAX_AGE_MS = 10 * 60_000
const JWKS_TIMEOUT_MS = 3000
/** After a fetch for an unknown key the next one waits, so that forged key ids fetch nothing. */
const JWKS_COOLDOWN_MS = 30_000
/** A token longer than this is no token of an auth server, and is not parsed. */
const TOKEN_MAX_CHARS = 8192
const CLOCK_TOLERANCE_S = 5
/** After a fetch that failed nothing is fetched for so long: a dead key server is not asked per request. */
const UNAVAILABLE_MS = 2000

/** Whether a credential has the form of a JWT. */
function isUserToken(credential: string): boolean {
  return credential.length <= TOKEN_MAX_CHARS && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(credential)
}

/** Verifies tokens of one source. Keys are fetched at the first token and then kept. */
export function createUserTokens(
  source: TokenSource,
  clock: Clock,
): { read: (token: string) => Promise<TokenReply> } {
  const shared = 'secret' in source
  const key: Uint8Array | JWTVerifyGetKey = shared
    ? new TextEncoder().encode(source.secret)
    : createRemoteJWKSet(new URL(source.jwksUrl), {
        cacheMaxAge: JWKS_MAX_AGE_MS,
        timeoutDuration: JWKS_TIMEOUT_MS,
        cooldownDuration: JWKS_COOLDOWN_MS,
      })
  const options = {
    // Pinned by the source: a token never chooses how it is verified.
    algorithms: shared ? ['HS256'] : ['ES256', 'RS256'],
    issuer: source.issuer,
    audience: source.audience,
    clockTolerance: CLOCK_TOLERANCE_S,
  }
  const verify = (token: string) =>
    typeof key === 'function' ? jwtVerify(token, key, options) : jwtVerify(token, key, options)
  let unavailableUntil = 0
  return {
    async read(token) {
      if (!isUserToken(token)) return 'refused'
      if (clock() < unavailableUntil) return 'unavailable'
      try {
        return toUser((await verify(token)).payload)
      } catch (error) {
        if (isRefusal(error)) return 'refused'
        unavailableUntil = clock() + UNAVAILABLE_MS
        return 'unavailable'
      }
    },
  }
}

function toUser({ sub, role, exp, iat }: JWTPayload): User | 'refused' {
  // `anon` and `service_role` are signed by the same key and are no person.
  if (role !== 'authenticated' || typeof sub !== 'string' || !/^[\w.@:-]{1,128}$/.test(sub)) return 'refused'
  if (exp === undefined || iat === undefined) return 'refused'
  return { id: sub, issuedAt: iat * 1000, expiresAt: exp * 1000 }
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof errors.JOSEError)) return false
  // These two tell of the key server, not of the token.
  return (
    !(error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) &&
    error.code !== 'ERR_JOSE_GENERIC'
  )
}
