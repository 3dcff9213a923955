import type { Database } from './database.ts'

/** A reply as it was sent. */
export type KeptReply = { status: number; body: string }

/** What is known of a caller's key: nothing, its reply, or that it was used for another request. */
export type KnownRequest = 'new' | 'different' | KeptReply

/** Replies of requests that a caller may repeat, each for a day. */
export type Idempotency = {
  /** `print`: what the request is, as a digest. */
  find: (caller: string, key: string, print: string, now: number) => KnownRequest
  keep: (caller: string, key: string, print: string, reply: KeptReply, now: number) => void
}

const KEPT_MS = 86_400_000

/** Kept replies on the local database. */
export function createIdempotency(db: Database): Idempotency {
  const find = db.prepare<
    { caller: string; key: string; since: number },
    { print: string; status: number; body: string }
  >('SELECT print, status, body FROM idempotency WHERE caller = :caller AND key = :key AND at > :since')
  const keep = db.prepare<{
    caller: string
    key: string
    print: string
    status: number
    body: string
    now: number
  }>(
    `INSERT INTO idempotency (caller, key, print, status, body, at)
     VALUES (:caller, :key, :print, :status, :body, :now)
     ON CONFLICT (caller, key) DO UPDATE SET print = :print, status = :status, body = :body, at = :now`,
  )
  const forget = db.prepare<{ before: number }>('DELETE FROM idempotency WHERE at <= :before')
  return {
    find(caller, key, print, now) {
      const row = find.get({ caller, key, since: now - KEPT_MS })
      if (row === undefined) return 'new'
      return row.print === print ? { status: row.status, body: row.body } : 'different'
    },
    keep(caller, key, print, { status, body }, now) {
      forget.run({ before: now - KEPT_MS })
      keep.run({ caller, key, print, status, body, now })
    },
  }
}
