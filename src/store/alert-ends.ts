import type { Database } from './database.ts'

/** Until when an alert fired. Milliseconds since 1970. */
export type AlertEnd = { fingerprint: string; endedAt: number }

/** Ends of alerts on the local database: once `note` has returned they survive everything. */
export type AlertEnds = {
  note: (ends: readonly AlertEnd[], now: number) => void
  /** Whether one that began then is over, as was heard within the last hour. */
  isOver: (fingerprint: string, startedAt: number, now: number) => boolean
}

/**
 * Retries and other replicas come within minutes. What fires on under the same start, as Prometheus was cut off for a
 * while, Alertmanager repeats for ever, every four hours unless told: that is to be taken.
 */
const KEPT_MS = 3_600_000

/** Ends of alerts of this home. */
export function createAlertEnds(db: Database): AlertEnds {
  const put = db.prepare<AlertEnd & { now: number }>(
    `INSERT INTO alert_ends (fingerprint, ended_at, heard_at) VALUES (:fingerprint, :endedAt, :now)
     ON CONFLICT (fingerprint) DO UPDATE SET ended_at = max(ended_at, :endedAt), heard_at = :now`,
  )
  const forget = db.prepare<{ before: number }>('DELETE FROM alert_ends WHERE heard_at < :before')
  const one = db.prepare<{ fingerprint: string; startedAt: number; after: number }, { found: number }>(
    `SELECT 1 AS found FROM alert_ends
     WHERE fingerprint = :fingerprint AND ended_at >= :startedAt AND heard_at >= :after`,
  )
  return {
    note: (ends, now) =>
      db.transaction(() => {
        forget.run({ before: now - KEPT_MS })
        for (const end of ends) put.run({ ...end, now })
      }),
    isOver: (fingerprint, startedAt, now) =>
      one.get({ fingerprint, startedAt, after: now - KEPT_MS }) !== undefined,
  }
}
