import { z } from 'zod'
import { SCOPES, type ApiKey } from '../core/principal.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

/** Query of `GET /api/keys`. */
export const KeyFilter = z.strictObject(
  paged(['created_at', '-created_at', 'name', '-name', 'last_used_at', '-last_used_at']),
)

/** Body of `POST /api/keys`. Without `projects` the key is for all of them; without an end it is for ever. */
export const NewKeyBody = z
  .strictObject({
    name: z.string().regex(/^[\w .@:/-]{1,80}$/, 'must be 1 to 80 letters, digits, blanks and . @ : / - _'),
    scopes: z
      .array(z.enum(SCOPES))
      .min(1)
      .transform((scopes) => [...new Set(scopes)]),
    projects: z.array(z.string().min(1).max(40)).min(1).max(1000).optional(),
    expires_at: z.iso.datetime({ offset: true }).optional(),
  })
  .refine(({ scopes, projects }) => projects === undefined || !scopes.includes('admin'), {
    message: 'The scope admin is over all projects; name others with projects.',
    path: ['projects'],
  })
export type NewKeyBody = z.input<typeof NewKeyBody>

/** A key on the wire, without its secret. Times are ISO 8601 in UTC; `last_used_at` is right to the minute. */
export const KeyJson = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.enum(SCOPES)),
    projects: z.array(z.string()).nullable(),
    created_at: at,
    expires_at: at.nullable(),
    last_used_at: at.nullable(),
    revoked_at: at.nullable(),
  })
  .meta({ id: 'Key' })
export type KeyJson = z.output<typeof KeyJson>

/** Reply of `POST /api/keys`: the only time the key itself is shown. */
export const NewKeyJson = z.object({ ...KeyJson.shape, key: z.string() }).meta({ id: 'NewKey' })
export type NewKeyJson = z.output<typeof NewKeyJson>

export function toKeyJson(key: ApiKey): KeyJson {
  const iso = (at: number | null) => (at === null ? null : new Date(at).toISOString())
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    projects: key.projects,
    created_at: new Date(key.createdAt).toISOString(),
    expires_at: iso(key.expiresAt),
    last_used_at: iso(key.lastUsedAt),
    revoked_at: iso(key.revokedAt),
  }
}

/** Reply of `POST /api/users/:id/revoke`: tokens issued until then are refused. */
export const RevokedUserJson = z.object({ id: z.string(), revoked_at: at })
export type RevokedUserJson = z.output<typeof RevokedUserJson>
