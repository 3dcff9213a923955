import type { Attempt, NewStateChange, StateChange } from '../core/agent/attempt.ts'
import { CcmError } from '../core/errors.ts'
import type { Lease, Report } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import { type AttemptRow, type ChangeRow, fromRow, toAttempt, toChange, toRow } from './attempt-rows.ts'
import type { Database } from './database.ts'

/** A tmux window as it is stored with an attempt: ids count only together with their server. */
type StoredWindow = {
  serverPid: number
  serverStartedAt: number
  windowId: string
  paneId: string
  windowName: string
}

/** The local record of attempts: what was intended, what happened, and what proved it. */
export type Attempts = {
  /** Stores a claimed attempt before anything of it exists. Throws CONFLICT when it is known already. */
  open: (attempt: Attempt) => void
  /** Where the agent will work, once that is known. Throws NOT_FOUND for an unknown attempt. */
  setDir: (lease: Lease, dir: string) => void
  /** Announces that a window may exist from now on. Throws CONFLICT unless the attempt is `claimed`. */
  setStarting: (lease: Lease) => void
  /** Keeps the window's ids whatever the phase, so that it can be found and ended. */
  setStarted: (lease: Lease, window: StoredWindow) => void
  /** Stores the change and the attempt's new state in one step. Throws NOT_FOUND for an unknown attempt. */
  recordState: (change: NewStateChange) => StateChange
  /** Adds to the time that counts for no deadline; negative where the clock was set back. */
  addPaused: (lease: Lease, ms: number) => void
  /** Closes the attempt and puts its report into the outbox in one step. False: it was settled before. */
  settle: (report: Report, at: number, endKind?: string) => boolean
  get: (lease: Lease) => Attempt | null
  newestOf: (taskId: string) => Attempt | null
  /** The newest attempt of each of these tasks that has one. */
  newestOfAll: (taskIds: string[]) => Map<string, Attempt>
  /** Attempts that are neither settled nor reported, oldest first. */
  openOnes: () => Attempt[]
  /** How attempts that were settled after `at` ended, counted. */
  endsSince: (at: number) => { outcome: string; kind: string | null; count: number }[]
  /** Notes the session it works in, and whether an earlier attempt began it. */
  setSession: (lease: Lease, claudeSessionId: string, resumed: boolean) => void
  /** The attempts of a task, oldest first. */
  ofTask: (taskId: string) => Attempt[]
  /** All changes of a task, over all its attempts, oldest first. */
  chain: (taskId: string) => StateChange[]
  /** Changes with a greater id, oldest first; `taskId` null: of all tasks. */
  changesAfter: (id: number, taskId: string | null, limit: number) => StateChange[]
  /** The newest change's id; 0 when there is none. */
  lastChangeId: () => number
}

/** Nothing is redacted: for tests that store what is known to be harmless. */
const PLAIN: Pick<Redactor, 'text' | 'value'> = { text: (text) => text, value: (value) => value }

/** Attempts, their states and the outbox side of settling, on the local database. */
export function createAttempts(db: Database, redactor: Pick<Redactor, 'text' | 'value'> = PLAIN): Attempts {
  const insert = db.prepare<AttemptRow>(
    `INSERT INTO attempts (task_id, attempt, phase, dir, folder, claude_session_id, config_dir,
       permission_mode, server_pid, server_started_at, window_id, pane_id, window_name, state, wait_kind,
       state_reason, state_at, started_at, settled_at, paused_ms, resumed, end_kind)
     VALUES (:task_id, :attempt, :phase, :dir, :folder, :claude_session_id, :config_dir,
       :permission_mode, :server_pid, :server_started_at, :window_id, :pane_id, :window_name, :state, :wait_kind,
       :state_reason, :state_at, :started_at, :settled_at, :paused_ms, :resumed, :end_kind)
     ON CONFLICT (task_id, attempt) DO NOTHING`,
  )
  const setDir = db.prepare<Lease & { dir: string }>(
    'UPDATE attempts SET dir = :dir WHERE task_id = :taskId AND attempt = :attempt',
  )
  const starting = db.prepare<Lease>(
    `UPDATE attempts SET phase = 'starting'
     WHERE task_id = :taskId AND attempt = :attempt AND phase = 'claimed'`,
  )
  const started = db.prepare<Lease & StoredWindow>(
    `UPDATE attempts SET phase = CASE WHEN phase IN ('claimed', 'starting') THEN 'started' ELSE phase END,
       server_pid = :serverPid, server_started_at = :serverStartedAt, window_id = :windowId, pane_id = :paneId,
       window_name = :windowName
     WHERE task_id = :taskId AND attempt = :attempt`,
  )
  const setState = db.prepare<
    Lease & { to: string; waitKind: string | null; reason: string; stateAt: number }
  >(
    `UPDATE attempts SET state = :to, wait_kind = :waitKind, state_reason = :reason, state_at = :stateAt
     WHERE task_id = :taskId AND attempt = :attempt`,
  )
  const insertChange = db.prepare<Omit<StateChange, 'id'>, ChangeRow>(
    `INSERT INTO state_changes (task_id, attempt, at, from_state, to_state, cue, reason, source, evidence)
     VALUES (:taskId, :attempt, :at, :from, :to, :cue, :reason, :source, :evidence) RETURNING *`,
  )
  const paused = db.prepare<Lease & { ms: number }>(
    'UPDATE attempts SET paused_ms = paused_ms + :ms WHERE task_id = :taskId AND attempt = :attempt',
  )
  const settled = db.prepare<Lease & { at: number; endKind: string | null }>(
    `UPDATE attempts SET phase = 'settled', settled_at = :at, end_kind = :endKind
     WHERE task_id = :taskId AND attempt = :attempt AND phase IN ('claimed', 'starting', 'started')`,
  )
  const toOutbox = db.prepare<Lease & { outcome: string; report: string; at: number }>(
    `INSERT INTO outbox (task_id, attempt, outcome, report, created_at)
     VALUES (:taskId, :attempt, :outcome, :report, :at)`,
  )
  const one = db.prepare<Lease, AttemptRow>(
    'SELECT * FROM attempts WHERE task_id = :taskId AND attempt = :attempt',
  )
  const newest = db.prepare<{ taskId: string }, AttemptRow>(
    'SELECT * FROM attempts WHERE task_id = :taskId ORDER BY attempt DESC LIMIT 1',
  )
  const newestOfAll = db.prepare<{ ids: string }, AttemptRow>(
    `SELECT attempts.* FROM json_each(:ids) AS line CROSS JOIN attempts
       ON task_id = line.value AND attempt = (SELECT max(attempt) FROM attempts WHERE task_id = line.value)`,
  )
  const open = db.prepare<Record<string, never>, AttemptRow>(
    `SELECT * FROM attempts WHERE phase IN ('claimed', 'starting', 'started') ORDER BY started_at, task_id`,
  )
  const ends = db.prepare<{ at: number }, { outcome: string; kind: string | null; count: number }>(
    `SELECT o.outcome, a.end_kind AS kind, count(*) AS count FROM attempts a
     JOIN outbox o ON o.task_id = a.task_id AND o.attempt = a.attempt
     WHERE a.settled_at > :at GROUP BY o.outcome, a.end_kind`,
  )
  const session = db.prepare<Lease & { claudeSessionId: string; resumed: number }>(
    `UPDATE attempts SET claude_session_id = :claudeSessionId, resumed = :resumed
     WHERE task_id = :taskId AND attempt = :attempt`,
  )
  const ofTask = db.prepare<{ taskId: string }, AttemptRow>(
    'SELECT * FROM attempts WHERE task_id = :taskId ORDER BY attempt',
  )
  const chain = db.prepare<{ taskId: string }, ChangeRow>(
    'SELECT * FROM state_changes WHERE task_id = :taskId ORDER BY id',
  )
  const changesOfTask = db.prepare<{ id: number; taskId: string; limit: number }, ChangeRow>(
    'SELECT * FROM state_changes WHERE task_id = :taskId AND id > :id ORDER BY id LIMIT :limit',
  )
  const changes = db.prepare<{ id: number; limit: number }, ChangeRow>(
    'SELECT * FROM state_changes WHERE id > :id ORDER BY id LIMIT :limit',
  )
  const lastChange = db.prepare<Record<string, never>, { id: number }>(
    'SELECT coalesce(max(id), 0) AS id FROM state_changes',
  )

  return {
    open: (attempt) => {
      if (insert.run(toRow(attempt)) === 0) {
        throw new CcmError(
          'CONFLICT',
          `Attempt ${attempt.attempt} of task ${attempt.taskId} is recorded already.`,
        )
      }
    },
    setDir: ({ taskId, attempt }, dir) => {
      if (setDir.run({ taskId, attempt, dir }) === 0) throw unknown({ taskId, attempt })
    },
    setStarting: ({ taskId, attempt }) => {
      if (starting.run({ taskId, attempt }) === 0) {
        throw new CcmError(
          'CONFLICT',
          `Attempt ${attempt} of task ${taskId} cannot start: it is not waiting to.`,
        )
      }
    },
    setStarted: ({ taskId, attempt }, window) => {
      if (started.run({ taskId, attempt, ...window }) === 0) throw unknown({ taskId, attempt })
    },
    recordState: ({ waitKind, stateAt, ...told }) =>
      db.transaction(() => {
        const evidence = endOf(redactor.text(told.evidence), told.source)
        const change = { ...told, reason: redactor.text(told.reason), evidence }
        const { taskId, attempt, to, reason } = change
        if (setState.run({ taskId, attempt, to, waitKind, reason, stateAt }) === 0) throw unknown(change)
        const row = insertChange.get(change)
        if (row === undefined) throw new CcmError('INTERNAL', 'SQLite returned no row for an insert.')
        return toChange(row)
      }),
    addPaused: ({ taskId, attempt }, ms) => void paused.run({ taskId, attempt, ms }),
    settle: (report, at, endKind = report.outcome) =>
      db.transaction(() => {
        const { taskId, attempt, outcome } = report
        if (settled.run({ taskId, attempt, at, endKind }) === 0) return false
        toOutbox.run({ taskId, attempt, outcome, report: JSON.stringify(redactor.value(report)), at })
        return true
      }),
    get: ({ taskId, attempt }) => toAttempt(one.get({ taskId, attempt })),
    newestOf: (taskId) => toAttempt(newest.get({ taskId })),
    newestOfAll: (taskIds) =>
      new Map(newestOfAll.all({ ids: JSON.stringify(taskIds) }).map((row) => [row.task_id, fromRow(row)])),
    openOnes: () => open.all({}).map(fromRow),
    endsSince: (at) => ends.all({ at }),
    setSession: ({ taskId, attempt }, claudeSessionId, resumed) =>
      void session.run({ taskId, attempt, claudeSessionId, resumed: resumed ? 1 : 0 }),
    ofTask: (taskId) => ofTask.all({ taskId }).map(fromRow),
    chain: (taskId) => chain.all({ taskId }).map(toChange),
    changesAfter: (id, taskId, limit) =>
      (taskId === null ? changes.all({ id, limit }) : changesOfTask.all({ id, taskId, limit })).map(toChange),
    lastChangeId: () => lastChange.get({})?.id ?? 0,
  }
}

function unknown({ taskId, attempt }: Lease): CcmError {
  return new CcmError('NOT_FOUND', `Attempt ${attempt} of task ${taskId} is not recorded.`)
}

/** Characters kept of what proves a change: of a long message, how it ends. */
const EVIDENCE_MAX = 800

/** To be called with what is redacted. A screen is kept whole: it may be one that nobody knows yet. */
function endOf(evidence: string, source: StateChange['source']): string {
  return source === 'screen' ? evidence : evidence.slice(-EVIDENCE_MAX).toWellFormed()
}
