import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { LOCAL, type Principal } from '../../core/principal.ts'
import type { ApiKeys } from '../../store/api-keys.ts'
import { isApiKey, readApiKey } from './api-key.ts'
import type { TokenReply, User } from './user-token.ts'

/** Who holds a credential; `unavailable`: it may be good, but who could tell is away. */
export type Authenticate = (credential: string) => Promise<Principal | 'refused' | 'unavailable'>

export type AuthenticateDeps = {
  /** The daemon's own token. */
  token: string
  keys: ApiKeys
  /** Verifies a user's token; null where no user may come. */
  users: { read: (token: string) => Promise<TokenReply> } | null
  /** What a user may do here; null: not a member of this system. Asked again at least every `RECHECK_MS`. */
  memberOf: (userId: string) => Promise<Pick<Principal, 'scopes' | 'projects'> | null>
  clock: Clock
}

/** Revocation and membership are asked again after this long, also for a token that was verified. */
const RECHECK_MS = 4000
/** A signature is verified again after this long, so that a key taken out of the set ends its tokens. */
const VERIFIED_MS = 60_000
/** About 300 bytes an entry. The oldest goes first. */
const CACHE_MAX = 1000

type Verified = { user: User; verifiedAt: number; checkedAt: number; principal: Principal | 'refused' }

/** Reads the credential of a request: the token file's, an API key, or a user's token. */
export function createAuthenticate(deps: AuthenticateDeps): Authenticate {
  const { keys, users, clock } = deps
  const expected = digest(deps.token)
  const verified = new Map<string, Verified>()

  const check = async (user: User): Promise<Principal | 'refused'> => {
    const revokedAt = keys.userRevokedAt(user.id)
    if (revokedAt !== null && user.issuedAt <= revokedAt) return 'refused'
    const member = await deps.memberOf(user.id)
    return member === null ? 'refused' : { kind: 'user', id: user.id, ...member }
  }

  const recheck = async (known: Verified, now: number): Promise<Verified['principal']> => {
    if (now - known.checkedAt >= RECHECK_MS) {
      known.principal = await check(known.user)
      known.checkedAt = now
    }
    return known.principal
  }

  const readUser = async (token: string): Promise<Principal | 'refused' | 'unavailable'> => {
    if (users === null) return 'refused'
    // By digest: a heap dump then holds no token.
    const name = digest(token).toString('base64')
    const known = verified.get(name)
    const now = clock()
    const isOver = known !== undefined && now >= known.user.expiresAt
    const isFresh = known !== undefined && !isOver && now - known.verifiedAt < VERIFIED_MS
    const checked = known === undefined ? null : await recheck(known, now)
    // Revocation and the token's end are known here, whoever is away.
    if (checked === 'refused' || (checked !== null && isFresh)) return checked
    const user = await users.read(token)
    if (user === 'unavailable' && known !== undefined) return isOver ? 'refused' : 'unavailable'
    verified.delete(name)
    if (typeof user === 'string') return user
    const principal = await check(user)
    const oldest = verified.size >= CACHE_MAX ? verified.keys().next().value : undefined
    if (oldest !== undefined) verified.delete(oldest)
    verified.set(name, { user, verifiedAt: now, checkedAt: now, principal })
    return principal
  }

  return async (credential) => {
    if (timingSafeEqual(digest(credential), expected)) return LOCAL
    if (isApiKey(credential)) return readApiKey(keys, credential, clock()) ?? 'refused'
    return readUser(credential)
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
