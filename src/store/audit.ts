import type { AuditEntry } from '../core/audit.ts'
import type { Clock } from '../core/clock.ts'
import type { Database } from './database.ts'

/** Newest first; `before`: only entries with a smaller id, to page on. */
export type AuditQuery = { since: number | null; who: string | null; before: number | null; limit: number }

/** The audit log: entries are added, and go only when they are old. */
export type AuditLog = {
  add: (entry: Omit<AuditEntry, 'id'>) => void
  list: (query: AuditQuery) => AuditEntry[]
  /** Removes at most `limit` entries before that time; the last week stays. Answers how many went. */
  prune: (before: number, limit: number) => number
}

type Row = Omit<AuditEntry, 'taskId' | 'requestId'> & { task_id: string | null; request_id: string | null }

const WEEK_MS = 7 * 86_400_000
/** Of what a caller wrote into a URL. */
const TARGET_MAX_CHARS = 200

/** The audit log on the local database. */
export function createAuditLog(db: Database, clock: Clock): AuditLog {
  const add = db.prepare<Omit<Row, 'id'>>(
    `INSERT INTO audit (at, kind, who, action, target, task_id, project, origin, status, code, request_id)
     VALUES (:at, :kind, :who, :action, :target, :task_id, :project, :origin, :status, :code, :request_id)`,
  )
  const list = db.prepare<{ since: number; who: string | null; before: number; limit: number }, Row>(
    `SELECT * FROM audit WHERE at >= :since AND id < :before AND (:who IS NULL OR who = :who OR kind = :who)
     ORDER BY id DESC LIMIT :limit`,
  )
  const prune = db.prepare<{ before: number; limit: number }>(
    'DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < :before ORDER BY at LIMIT :limit)',
  )
  return {
    add: ({ taskId, requestId, ...entry }) =>
      void add.run({
        ...entry,
        target: entry.target?.slice(0, TARGET_MAX_CHARS) ?? null,
        task_id: taskId,
        request_id: requestId,
      }),
    list: ({ since, who, before, limit }) =>
      list
        .all({ since: since ?? 0, who, before: before ?? Number.MAX_SAFE_INTEGER, limit })
        .map(({ task_id, request_id, ...row }) => ({ ...row, taskId: task_id, requestId: request_id })),
    // Its trigger goes by SQLite's own clock, so a minute stays between the two.
    prune: (before, limit) => prune.run({ before: Math.min(before, clock() - WEEK_MS - 60_000), limit }),
  }
}
