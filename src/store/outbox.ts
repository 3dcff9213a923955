import type { Lease, Report } from '../core/task/queue.ts'
import type { Database } from './database.ts'

/** Reports that the queue has not answered yet. `Attempts.settle` fills it. */
export type Outbox = {
  /** Undelivered reports, oldest first; fewer where they are large together: 4 MB, or a single one. */
  pending: (limit: number) => Report[]
  /** How many are undelivered, and when the oldest was written; null when none is. */
  waiting: () => { depth: number; oldestAt: number | null }
  /** Ends the resending and sets the attempts' phase to `reported`, all in one step. Idempotent. */
  markDelivered: (leases: Lease[], at: number) => void
}

/** The outbox on the local database. */
export function createOutbox(db: Database): Outbox {
  const pending = db.prepare<{ limit: number }, { report: string }>(
    `SELECT report FROM (
       SELECT id, report, row_number() OVER in_turn AS place, sum(octet_length(report)) OVER in_turn AS bytes
       FROM outbox WHERE delivered_at IS NULL
       WINDOW in_turn AS (ORDER BY id ROWS UNBOUNDED PRECEDING) ORDER BY id LIMIT :limit)
     WHERE place = 1 OR bytes <= 4000000 ORDER BY id`,
  )
  const delivered = db.prepare<Lease & { at: number }>(
    `UPDATE outbox SET delivered_at = :at
     WHERE task_id = :taskId AND attempt = :attempt AND delivered_at IS NULL`,
  )
  const reported = db.prepare<Lease>(
    `UPDATE attempts SET phase = 'reported'
     WHERE task_id = :taskId AND attempt = :attempt`,
  )
  const waiting = db.prepare<Record<string, never>, { depth: number; oldestAt: number | null }>(
    'SELECT count(*) AS depth, min(created_at) AS oldestAt FROM outbox WHERE delivered_at IS NULL',
  )
  return {
    waiting: () => waiting.get({}) ?? { depth: 0, oldestAt: null },
    pending: (limit) =>
      // Reports of an older ccm do not say whether to resume.
      pending
        .all({ limit })
        .map((row) => ({ resume: null, ...(JSON.parse(row.report) as Omit<Report, 'resume'>) })),
    markDelivered: (leases, at) =>
      db.transaction(() => {
        for (const { taskId, attempt } of leases) {
          delivered.run({ taskId, attempt, at })
          reported.run({ taskId, attempt })
        }
      }),
  }
}
