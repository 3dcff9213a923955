import type { TaskRow } from './sqlite-rows.ts'

type Params = Record<string, string | number | null>
type Statement<P extends Params, Row> = {
  run: (params: P) => number
  get: (params: P) => Row | undefined
  all: (params: P) => Row[]
}

/** What the embedded queue needs of its database: prepared statements and immediate transactions. */
export type QueueDatabase = {
  prepare: <P extends Params, Row = never>(sql: string) => Statement<P, Row>
  transaction: <T>(work: () => T) => T
}

type Nothing = Record<string, never>
type Id = { id: string }

/** Every statement of the embedded queue. Whoever writes runs them inside one transaction. */
export function prepareStatements(db: QueueDatabase) {
  return {
    register: db.prepare<{ system: string; worker: string; now: number }, { epoch: number }>(
      `INSERT INTO workers (system, worker, epoch, registered_at) VALUES (:system, :worker, 1, :now)
       ON CONFLICT (system, worker) DO UPDATE SET epoch = epoch + 1, registered_at = :now RETURNING epoch`,
    ),
    epochOf: db.prepare<{ system: string; worker: string }, { epoch: number }>(
      'SELECT epoch FROM workers WHERE system = :system AND worker = :worker',
    ),

    newestId: db.prepare<Nothing, { id: string | null }>('SELECT max(id) AS id FROM tasks'),
    insert: db.prepare<TaskRow>(
      `INSERT INTO tasks (id, system, project, prompt, role, model, priority, timeout_s, permission_mode,
         allowed_tools, disallowed_tools, dedupe_key, status, attempt, worker, failures, lost_leases, scheduled_at,
         cancel_requested, cancel_reason, lease_expires_at, result, error, created_at, started_at, finished_at)
       VALUES (:id, :system, :project, :prompt, :role, :model, :priority, :timeout_s, :permission_mode,
         :allowed_tools, :disallowed_tools, :dedupe_key, :status, :attempt, :worker, :failures, :lost_leases,
         :scheduled_at, :cancel_requested, :cancel_reason, :lease_expires_at, :result, :error, :created_at,
         :started_at, :finished_at)`,
    ),
    alive: db.prepare<{ system: string; dedupeKey: string }, TaskRow>(
      `SELECT * FROM tasks
       WHERE system = :system AND dedupe_key = :dedupeKey AND status IN ('queued', 'running')`,
    ),

    get: db.prepare<{ system: string; id: string }, TaskRow>(
      'SELECT * FROM tasks WHERE id = :id AND system = :system',
    ),
    list: db.prepare<{ system: string; limit: number }, TaskRow>(
      'SELECT * FROM tasks WHERE system = :system ORDER BY id DESC LIMIT :limit',
    ),
    listOf: db.prepare<{ system: string; status: string; limit: number }, TaskRow>(
      'SELECT * FROM tasks WHERE system = :system AND status = :status ORDER BY id DESC LIMIT :limit',
    ),
    // A range, not LIKE: it uses the index, and no character of the prefix is special.
    idsByPrefix: db.prepare<{ system: string; prefix: string }, Id>(
      `SELECT id FROM tasks
       WHERE id >= :prefix AND id < :prefix || char(1114111) AND system = :system ORDER BY id LIMIT 2`,
    ),
    count: db.prepare<{ system: string; status: string }, { n: number }>(
      'SELECT count(*) AS n FROM tasks WHERE system = :system AND status = :status',
    ),
    mine: db.prepare<{ system: string; worker: string }, TaskRow>(
      `SELECT * FROM tasks WHERE system = :system AND status = 'running' AND worker = :worker ORDER BY id`,
    ),

    // Among equal priorities the project that was served longest ago goes first.
    best: db.prepare<{ system: string; now: number; projects: string }, Id>(
      `SELECT tasks.id FROM tasks
         LEFT JOIN project_turns AS turns ON turns.system = tasks.system AND turns.project = tasks.project
       WHERE tasks.system = :system AND status = 'queued' AND scheduled_at <= :now
         AND tasks.project IN (SELECT value FROM json_each(:projects))
       ORDER BY priority DESC, coalesce(turns.turn, 0), scheduled_at, created_at, tasks.id LIMIT 1`,
    ),
    claim: db.prepare<{ id: string; worker: string; now: number; expiresAt: number }, TaskRow>(
      `UPDATE tasks SET status = 'running', attempt = attempt + 1, worker = :worker,
         lease_expires_at = :expiresAt, started_at = coalesce(started_at, :now)
       WHERE id = :id AND status = 'queued' RETURNING *`,
    ),
    openAttempt: db.prepare<{ id: string; attempt: number; worker: string; epoch: number; now: number }>(
      `INSERT INTO task_attempts (task_id, attempt, worker, epoch, claimed_at)
       VALUES (:id, :attempt, :worker, :epoch, :now)`,
    ),
    takeTurn: db.prepare<{ system: string; project: string }>(
      `INSERT INTO project_turns (system, project, turn)
       VALUES (:system, :project, (SELECT coalesce(max(turn), 0) + 1 FROM project_turns WHERE system = :system))
       ON CONFLICT (system, project) DO UPDATE SET turn = excluded.turn`,
    ),

    renew: db.prepare<
      { system: string; id: string; attempt: number; worker: string; expiresAt: number },
      { cancel_requested: number }
    >(
      `UPDATE tasks SET lease_expires_at = :expiresAt
       WHERE id = :id AND system = :system AND status = 'running' AND attempt = :attempt AND worker = :worker
       RETURNING cancel_requested`,
    ),
    attempt: db.prepare<{ id: string; attempt: number }, { worker: string; outcome: string | null }>(
      'SELECT worker, outcome FROM task_attempts WHERE task_id = :id AND attempt = :attempt',
    ),
    endAttempt: db.prepare<{
      id: string
      attempt: number
      now: number
      outcome: string
      error: string | null
    }>(
      `UPDATE task_attempts SET ended_at = :now, outcome = :outcome, error = :error
       WHERE task_id = :id AND attempt = :attempt AND outcome IS NULL`,
    ),
    countReleased: db.prepare<Id, { n: number }>(
      `SELECT count(*) AS n FROM task_attempts WHERE task_id = :id AND outcome = 'released'`,
    ),
    moveOn: db.prepare<{
      id: string
      status: string
      failures: number
      lostLeases: number
      scheduledAt: number
      result: string | null
      error: string | null
      finishedAt: number | null
    }>(
      `UPDATE tasks SET status = :status, failures = :failures, lost_leases = :lostLeases,
         scheduled_at = :scheduledAt, result = :result, error = :error, finished_at = :finishedAt,
         worker = CASE WHEN :status = 'queued' THEN NULL ELSE worker END, lease_expires_at = NULL
       WHERE id = :id AND status = 'running'`,
    ),
    expired: db.prepare<{ system: string; before: number }, TaskRow>(
      `SELECT * FROM tasks
       WHERE system = :system AND status = 'running' AND lease_expires_at <= :before ORDER BY id`,
    ),

    cancelReason: db.prepare<Id, { reason: string | null }>(
      'SELECT cancel_reason AS reason FROM tasks WHERE id = :id',
    ),
    requestCancel: db.prepare<{ id: string; reason: string }>(
      `UPDATE tasks SET cancel_requested = 1, cancel_reason = coalesce(cancel_reason, :reason)
       WHERE id = :id AND status = 'running'`,
    ),
    cancelQueued: db.prepare<{ id: string; reason: string; now: number }>(
      `UPDATE tasks SET status = 'cancelled', cancel_requested = 1, cancel_reason = :reason, error = :reason,
         finished_at = :now
       WHERE id = :id AND status = 'queued'`,
    ),
  }
}
