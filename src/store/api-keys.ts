import type { ApiKey, Scope } from '../core/principal.ts'
import type { Database } from './database.ts'

/** The API keys of this system, by the SHA-256 of their secret. */
export type ApiKeys = {
  insert: (key: ApiKey, hash: string) => void
  /** The key with this id and the hash its secret must have. */
  byId: (id: string) => { key: ApiKey; hash: string } | null
  /** Oldest first, revoked ones too. */
  list: () => ApiKey[]
  /** False when there is no such key; a second time changes nothing. */
  revoke: (id: string, at: number) => boolean
  used: (id: string, at: number) => void
  /** Tokens of this user issued at or before `at` are refused from now on. */
  revokeUser: (userId: string, at: number) => void
  /** When this user's tokens were last revoked; null: never. */
  userRevokedAt: (userId: string) => number | null
}

type Row = {
  id: string
  name: string
  hash: string
  scopes: string
  projects: string | null
  created_at: number
  expires_at: number | null
  last_used_at: number | null
  revoked_at: number | null
}

/** API keys on the local database. */
export function createApiKeys(db: Database): ApiKeys {
  const insert = db.prepare<Row>(
    `INSERT INTO api_keys (id, name, hash, scopes, projects, created_at, expires_at, last_used_at, revoked_at)
     VALUES (:id, :name, :hash, :scopes, :projects, :created_at, :expires_at, :last_used_at, :revoked_at)`,
  )
  const byId = db.prepare<{ id: string }, Row>('SELECT * FROM api_keys WHERE id = :id')
  const list = db.prepare<Record<string, never>, Row>('SELECT * FROM api_keys ORDER BY created_at, id')
  const revoke = db.prepare<{ id: string; at: number }>(
    'UPDATE api_keys SET revoked_at = coalesce(revoked_at, :at) WHERE id = :id',
  )
  const used = db.prepare<{ id: string; at: number }>(
    'UPDATE api_keys SET last_used_at = :at WHERE id = :id AND coalesce(last_used_at, 0) < :at',
  )
  const revokeUser = db.prepare<{ id: string; at: number }>(
    `INSERT INTO revoked_users (id, revoked_at) VALUES (:id, :at)
     ON CONFLICT (id) DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)`,
  )
  const revokedUser = db.prepare<{ id: string }, { at: number }>(
    'SELECT revoked_at AS at FROM revoked_users WHERE id = :id',
  )
  return {
    insert: (key, hash) =>
      void insert.run({
        id: key.id,
        name: key.name,
        hash,
        scopes: JSON.stringify(key.scopes),
        projects: key.projects === null ? null : JSON.stringify(key.projects),
        created_at: key.createdAt,
        expires_at: key.expiresAt,
        last_used_at: key.lastUsedAt,
        revoked_at: key.revokedAt,
      }),
    byId(id) {
      const row = byId.get({ id })
      return row === undefined ? null : { key: toApiKey(row), hash: row.hash }
    },
    list: () => list.all({}).map(toApiKey),
    revoke: (id, at) => revoke.run({ id, at }) > 0,
    used: (id, at) => void used.run({ id, at }),
    revokeUser: (id, at) => void revokeUser.run({ id, at }),
    userRevokedAt: (id) => revokedUser.get({ id })?.at ?? null,
  }
}

function toApiKey(row: Row): ApiKey {
  return {
    id: row.id,
    name: row.name,
    scopes: JSON.parse(row.scopes) as Scope[],
    projects: row.projects === null ? null : (JSON.parse(row.projects) as string[]),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    revokedAt: row.revoked_at,
  }
}
