import type { Incident, IncidentKind, Notice } from '../core/incident/incident.ts'
import type { Redactor } from '../core/redact.ts'
import { jsonList, type Database } from './database.ts'

/** How a message to one notifier fares. */
export type NoticeState = {
  notifier: string
  phase: Notice['phase']
  state: 'pending' | 'delivered' | 'given_up'
  tries: number
  /** Why the last try failed; null after a success. */
  error: string | null
}

/** Of these projects, null: of all and of none; older than the one with the id `before`, null: from the newest on. */
export type IncidentQuery = {
  limit: number
  open: boolean
  projects?: readonly string[] | null
  before?: number | null
}

/** The record of what went wrong, with the messages about it that are due. */
export type Incidents = {
  /**
   * Opens an incident and, for an alert, one message to each of `notifiers`, in one step. Null when one of this
   * key is open already: nothing changed.
   */
  open: (incident: Omit<Incident, 'id' | 'closedAt'>, notifiers: readonly string[]) => Incident | null
  /** Closes the open incident of a key; who was told of it is told of its end. Null when none is open. */
  close: (key: string, at: number, action: string | null) => Incident | null
  /** The open incident of a key. */
  openOne: (key: string) => Incident | null
  /** Open ones, oldest first. */
  openOnes: () => Incident[]
  /** Newest first. */
  list: (query: IncidentQuery) => (Incident & { notices: NoticeState[] })[]
  /** Messages that are due, oldest first, with the name of their notifier. */
  dueNotices: (at: number, limit: number) => (Notice & { notifier: string })[]
  noticeDelivered: (id: number) => void
  /** `nextAt` null: it is given up. */
  noticeFailed: (id: number, error: string, nextAt: number | null) => void
}

/** Nothing is a secret: for tests. */
const PLAIN = { text: (text: string) => text }
/** What a receiver asks for may be a day. */
const LONGEST_WAIT_MS = 86_400_000
/** Closed incidents beyond this many are forgotten. */
const KEPT = 10_000

type Row = {
  id: number
  kind: string
  key: string
  what: string
  evidence: string
  action: string
  alert: number
  task_id: string | null
  attempt: number | null
  opened_at: number
  closed_at: number | null
}
type NoticeRow = {
  id: number
  incident_id: number
  notifier: string
  phase: string
  state: string
  tries: number
  error: string | null
}

/** Incidents on the local database. */
export function createIncidents(db: Database, redactor: Pick<Redactor, 'text'> = PLAIN): Incidents {
  const insert = db.prepare<Omit<Row, 'id' | 'closed_at'>, Row>(
    `INSERT INTO incidents (kind, key, what, evidence, action, alert, task_id, attempt, opened_at, project)
     VALUES (:kind, :key, :what, :evidence, :action, :alert, :task_id, :attempt, :opened_at, coalesce(
       (SELECT project FROM tasks WHERE id = :task_id),
       (SELECT task ->> 'project' FROM shared_tasks WHERE task_id = :task_id LIMIT 1)))
     RETURNING *`,
  )
  const forget = db.prepare<{ before: number }>(
    'DELETE FROM incidents WHERE id < :before AND closed_at IS NOT NULL',
  )
  const addNotice = db.prepare<{ incident: number; notifier: string; at: number }>(
    `INSERT INTO notices (incident_id, notifier, phase, state, tries, next_at)
     VALUES (:incident, :notifier, 'opened', 'pending', 0, :at)`,
  )
  const addResolved = db.prepare<{ incident: number; at: number }>(
    `INSERT INTO notices (incident_id, notifier, phase, state, tries, next_at)
     SELECT incident_id, notifier, 'resolved', 'pending', 0, :at FROM notices
     WHERE incident_id = :incident AND phase = 'opened' AND state <> 'given_up' ORDER BY id`,
  )
  const close = db.prepare<{ key: string; at: number; action: string | null }, Row>(
    `UPDATE incidents SET closed_at = :at, action = coalesce(:action, action)
     WHERE key = :key AND closed_at IS NULL RETURNING *`,
  )
  const openOne = db.prepare<{ key: string }, Row>(
    'SELECT * FROM incidents WHERE key = :key AND closed_at IS NULL',
  )
  const openOnes = db.prepare<Record<string, never>, Row>(
    'SELECT * FROM incidents WHERE closed_at IS NULL ORDER BY id',
  )
  const all = db.prepare<{ limit: number; open: number; projects: string | null; before: number }, Row>(
    `SELECT * FROM incidents WHERE (:open = 0 OR closed_at IS NULL) AND id < :before
       AND (:projects IS NULL OR project IN (SELECT value FROM json_each(:projects)))
     ORDER BY id DESC LIMIT :limit`,
  )
  const noticesOf = db.prepare<{ incident: number }, NoticeRow>(
    'SELECT * FROM notices WHERE incident_id = :incident ORDER BY id',
  )
  // By a clock that was set back nothing waits that was never tried, or would wait longer than anything does.
  // A resolved message never overtakes the one that told of the incident.
  const due = db.prepare<
    { at: number; limit: number },
    Row & { notice: number; notifier: string; phase: string; tries: number }
  >(
    `SELECT i.*, n.id AS notice, n.notifier, n.phase, n.tries FROM notices n
     JOIN incidents i ON i.id = n.incident_id
     WHERE n.state = 'pending' AND (n.next_at <= :at OR n.tries = 0 OR n.next_at > :at + ${LONGEST_WAIT_MS}) AND NOT EXISTS (
       SELECT 1 FROM notices e WHERE e.incident_id = n.incident_id AND e.notifier = n.notifier
         AND e.id < n.id AND e.state = 'pending')
     ORDER BY n.id LIMIT :limit`,
  )
  const delivered = db.prepare<{ id: number }>(
    `UPDATE notices SET state = 'delivered', tries = tries + 1, error = NULL
     WHERE id = :id AND state = 'pending'`,
  )
  const failed = db.prepare<{ id: number; error: string; nextAt: number | null }>(
    `UPDATE notices SET tries = tries + 1, error = :error, next_at = coalesce(:nextAt, next_at),
       state = CASE WHEN :nextAt IS NULL THEN 'given_up' ELSE state END
     WHERE id = :id AND state = 'pending'`,
  )

  return {
    open: ({ kind, key, what, evidence, action, alert, taskId, attempt, openedAt }, notifiers) =>
      db.transaction(() => {
        if (openOne.get({ key }) !== undefined) return null
        const row = insert.get({
          kind,
          key,
          what: redactor.text(what),
          evidence: redactor.text(evidence),
          action,
          alert: alert ? 1 : 0,
          task_id: taskId,
          attempt,
          opened_at: openedAt,
        })
        if (row === undefined) return null
        if (alert)
          for (const notifier of notifiers) addNotice.run({ incident: row.id, notifier, at: openedAt })
        forget.run({ before: row.id - KEPT })
        return toIncident(row)
      }),
    close: (key, at, action) =>
      db.transaction(() => {
        const row = close.get({ key, at, action })
        if (row === undefined) return null
        addResolved.run({ incident: row.id, at })
        return toIncident(row)
      }),
    openOne: (key) => {
      const row = openOne.get({ key })
      return row === undefined ? null : toIncident(row)
    },
    openOnes: () => openOnes.all({}).map(toIncident),
    list: (query) =>
      all.all(paramsOf(query)).map((row) => ({
        ...toIncident(row),
        notices: noticesOf.all({ incident: row.id }).map(({ notifier, phase, state, tries, error }) => ({
          notifier,
          phase: phase as NoticeState['phase'],
          state: state as NoticeState['state'],
          tries,
          error,
        })),
      })),
    dueNotices: (at, limit) =>
      due.all({ at, limit }).map(({ notice, notifier, phase, tries, ...row }) => ({
        id: notice,
        notifier,
        phase: phase as Notice['phase'],
        tries,
        incident: toIncident(row),
      })),
    noticeDelivered: (id) => void delivered.run({ id }),
    noticeFailed: (id, error, nextAt) => void failed.run({ id, error, nextAt }),
  }
}

function paramsOf({ limit, open, projects = null, before }: IncidentQuery) {
  return {
    limit,
    open: open ? 1 : 0,
    projects: jsonList(projects),
    before: before ?? Number.MAX_SAFE_INTEGER,
  }
}

function toIncident(row: Row): Incident {
  return {
    id: row.id,
    kind: row.kind as IncidentKind,
    key: row.key,
    what: row.what,
    evidence: row.evidence,
    action: row.action,
    alert: row.alert === 1,
    taskId: row.task_id,
    attempt: row.attempt,
    openedAt: row.opened_at,
    closedAt: row.closed_at,
  }
}
