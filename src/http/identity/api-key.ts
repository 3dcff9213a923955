import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { CcmError } from '../../core/errors.ts'
import type { ApiKey, Principal, Scope } from '../../core/principal.ts'
import type { ApiKeys } from '../../store/api-keys.ts'

/** `ccmk_<id>_<secret>`: a secret scanner can know it, and its id finds the row without a search by secret. */
const FORM = /^ccmk_([a-z2-7]{12})_([A-Za-z0-9_-]{43})$/
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
/** One write a minute and key is enough to see whether it is still in use. */
const USED_EVERY_MS = 60_000

/** Whether a credential has the form of an API key; it need not be one. */
export function isApiKey(credential: string): boolean {
  return FORM.test(credential)
}

/** A new key and its row. The key is returned once and can never be shown again. */
export function createApiKey(
  keys: ApiKeys,
  wanted: { name: string; scopes: Scope[]; projects: string[] | null; expiresAt: number | null },
  now: number,
): { key: ApiKey; secret: string } {
  if (wanted.expiresAt !== null && wanted.expiresAt <= now)
    throw new CcmError('BAD_INPUT', 'The key would expire before it begins.')
  const id = [...randomBytes(12)].map((byte) => ALPHABET[byte % 32]).join('')
  const secret = `ccmk_${id}_${randomBytes(32).toString('base64url')}`
  const key: ApiKey = { id, ...wanted, createdAt: now, lastUsedAt: null, revokedAt: null }
  keys.insert(key, hashOf(secret))
  return { key, secret }
}

/** Who this API key is, read from the store each time: a revoked or expired one is nobody at once. */
export function readApiKey(keys: ApiKeys, credential: string, now: number): Principal | null {
  const id = FORM.exec(credential)?.[1]
  const found = id === undefined ? null : keys.byId(id)
  if (found === null || !timingSafeEqual(Buffer.from(hashOf(credential)), Buffer.from(found.hash)))
    return null
  const { key } = found
  if (key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt <= now)) return null
  if (now - (key.lastUsedAt ?? 0) >= USED_EVERY_MS) keys.used(key.id, now)
  return { kind: 'key', id: key.id, scopes: key.scopes, projects: key.projects }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
