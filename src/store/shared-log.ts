import type { IncidentKind } from '../core/incident/incident.ts'
import type { MetricsMinute, SharedIncident, TaskEvent } from '../core/task/worker.ts'
import type { Database } from './database.ts'

/** The newest incident that was told of, and which were open when they were. */
export type ToldIncidents = { incident: number; open: readonly number[] }

/** What is to be told to a shared queue and is not yet, by the tables that record it anyway. */
export type SharedLog = {
  /** Changes of agents' states after the one with this id, oldest first, and the id they reach to. */
  statesAfter: (id: number, limit: number) => { events: TaskEvent[]; last: number }
  /** One summary for each attempt that was reported after this id of the outbox. */
  summariesAfter: (id: number, limit: number) => { events: TaskEvent[]; last: number }
  /** Incidents after the newest that was told of, and those of `open` that are over, oldest first; where that leaves both. */
  incidentsAfter: (told: ToldIncidents, limit: number) => { incidents: SharedIncident[]; told: ToldIncidents }
  /** Ids of the newest rows, from which a queue begins that was never told anything. */
  newest: () => { state: number; summary: number; incident: number }
  /** Notes what only this minute knows: its last look counts. A minute without one is not told. */
  noteMinute: (minute: number, running: number, queued: number) => void
  /**
   * Noted minutes that have been over for a minute, oldest first, with all that happened in them. Not earlier: what a
   * message costs is known in part when it is first seen, and in full some seconds later.
   */
  minutes: (now: number, limit: number) => MetricsMinute[]
  forgetMinutes: (upTo: number) => void
}

const MINUTE_MS = 60_000
/** A queue that is away for longer than a week is told of the newest week. */
const MINUTES_MAX = 7 * 24 * 60

type IncidentRow = Omit<SharedIncident, 'seq' | 'alert' | 'kind'> & {
  id: number
  alert: number
  kind: string
}

/** The log on the local database. */
export function createSharedLog(db: Database): SharedLog {
  const states = db.prepare<
    { id: number; limit: number },
    { id: number; taskId: string; attempt: number; at: number; from: string; to: string; reason: string }
  >(
    `SELECT id, task_id AS taskId, attempt, at, from_state AS "from", to_state AS "to", reason
     FROM state_changes WHERE id > :id ORDER BY id LIMIT :limit`,
  )
  const summaries = db.prepare<
    { id: number; limit: number },
    { id: number; taskId: string; attempt: number; at: number; report: string }
  >(
    `SELECT id, task_id AS taskId, attempt, created_at AS at, report
     FROM outbox WHERE id > :id ORDER BY id LIMIT :limit`,
  )
  const incidents = db.prepare<{ after: number; open: string; limit: number }, IncidentRow>(
    `SELECT id, kind, key, what, evidence, action, alert, task_id AS taskId, attempt, opened_at AS openedAt,
       closed_at AS closedAt
     FROM incidents
     WHERE id > :after OR (closed_at IS NOT NULL AND id IN (SELECT value FROM json_each(:open)))
     ORDER BY id LIMIT :limit`,
  )
  const newest = db.prepare<Record<string, never>, { state: number; summary: number; incident: number }>(
    `SELECT (SELECT coalesce(max(id), 0) FROM state_changes) AS state,
       (SELECT coalesce(max(id), 0) FROM incidents) AS incident,
       (SELECT coalesce(max(id), 0) FROM outbox) AS summary`,
  )
  const note = db.prepare<{ minute: number; running: number; queued: number }>(
    `INSERT INTO shared_metrics (minute, running, queued) VALUES (:minute, :running, :queued)
     ON CONFLICT (minute) DO UPDATE SET running = :running, queued = :queued`,
  )
  const old = db.prepare<{ before: number }>('DELETE FROM shared_metrics WHERE minute < :before')
  const minutes = db.prepare<
    { before: number; limit: number },
    { minute: number; running: number; queued: number }
  >('SELECT minute, running, queued FROM shared_metrics WHERE minute <= :before ORDER BY minute LIMIT :limit')
  const ends = db.prepare<{ from: number; to: number }, { outcome: string; count: number }>(
    `SELECT outcome, count(*) AS count FROM outbox WHERE created_at >= :from AND created_at < :to GROUP BY outcome`,
  )
  const spent = db.prepare<
    { from: number; to: number },
    { input: number | null; output: number | null; cost: number | null }
  >(
    `SELECT sum(input_tokens + cache_read_tokens + cache_write_tokens) AS input, sum(output_tokens) AS output,
       sum(cost_usd) AS cost FROM spending WHERE at >= :from AND at < :to`,
  )

  return {
    statesAfter(id, limit) {
      const rows = states.all({ id, limit })
      const events = rows.map(({ id: seq, taskId, attempt, at, from, to, reason }): TaskEvent => {
        return { taskId, attempt, seq, at, kind: 'state', message: reason, data: { from, to } }
      })
      return { events, last: rows.at(-1)?.id ?? id }
    },
    summariesAfter(id, limit) {
      const rows = summaries.all({ id, limit })
      const events = rows.map(({ taskId, attempt, at, report }): TaskEvent => {
        const { outcome, error, result } = JSON.parse(report) as {
          outcome: string
          error: string | null
          result: { cost_usd: number | null; duration_ms: number; files: unknown[] } | null
        }
        const data = {
          outcome,
          ...(result === null
            ? {}
            : { cost_usd: result.cost_usd, duration_ms: result.duration_ms, files: result.files.length }),
        }
        // Changes of states count from 1.
        return { taskId, attempt, seq: 0, at, kind: 'summary', message: error ?? `It ${outcome}.`, data }
      })
      return { events, last: rows.at(-1)?.id ?? id }
    },
    incidentsAfter({ incident, open }, limit) {
      const rows = incidents.all({ after: incident, open: JSON.stringify(open), limit })
      const over = new Set(rows.flatMap(({ id, closedAt }) => (closedAt === null ? [] : [id])))
      const opened = rows.flatMap(({ id }) => (over.has(id) ? [] : [id]))
      return {
        incidents: rows.map(({ id, alert, kind, ...row }) => ({
          ...row,
          kind: kind as IncidentKind,
          alert: alert === 1,
          // Ids begin anew in a home that is made anew, and the worker may have its old name.
          seq: row.openedAt * 1000 + (id % 1000),
        })),
        told: {
          incident: Math.max(incident, ...rows.map(({ id }) => id)),
          open: [...open.filter((id) => !over.has(id)), ...opened],
        },
      }
    },
    newest: () => newest.get({}) ?? { state: 0, summary: 0, incident: 0 },
    noteMinute(minute, running, queued) {
      note.run({ minute, running, queued })
      old.run({ before: minute - MINUTES_MAX * MINUTE_MS })
    },
    minutes: (now, limit) =>
      minutes.all({ before: now - 2 * MINUTE_MS, limit }).map((row) => {
        const range = { from: row.minute, to: row.minute + MINUTE_MS }
        const counts = Object.fromEntries(ends.all(range).map(({ outcome, count }) => [outcome, count]))
        const { input, output, cost } = spent.get(range) ?? { input: 0, output: 0, cost: 0 }
        return {
          ...row,
          succeeded: counts['succeeded'] ?? 0,
          failed: (counts['failed'] ?? 0) + (counts['failed_permanent'] ?? 0),
          cancelled: counts['cancelled'] ?? 0,
          released: counts['released'] ?? 0,
          inputTokens: input ?? 0,
          outputTokens: output ?? 0,
          costUsd: cost ?? 0,
        }
      }),
    forgetMinutes: (upTo) => void old.run({ before: upTo + 1 }),
  }
}
