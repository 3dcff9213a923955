import type { TaskStatus } from '../core/task/task.ts'
import type { Candidate } from './claim-order.ts'
import type { Standing, TaskRow } from './sqlite-rows.ts'

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

/** A status in words that SQLite finds in the condition of an index: it proves nothing about a parameter. */
export const WITH_STATUS: Record<TaskStatus, string> = {
  queued: "status = 'queued'",
  running: "status = 'running'",
  succeeded: "status = 'succeeded'",
  failed: "status = 'failed' AND status IN ('failed', 'cancelled', 'dead')",
  cancelled: "status = 'cancelled' AND status IN ('failed', 'cancelled', 'dead')",
  dead: "status = 'dead' AND status IN ('failed', 'cancelled', 'dead')",
}

const HAS_LABELS = `OR NOT EXISTS (
  SELECT 1 FROM json_each(tasks.labels) AS label
  WHERE label.value NOT IN (SELECT value FROM json_each(:labels)))`

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
      `INSERT INTO tasks (id, system, project, prompt, role, model, priority, timeout_s, permission_mode, allowed_tools,
         disallowed_tools, dedupe_key, depends_on, labels, max_tokens, max_cost_usd, in_place, source,
         only_worker, status, attempt, worker, failures, lost_leases, releases, scheduled_at, resume_worker,
         resume_until, claude_session_id, cancel_requested, cancel_reason, lease_expires_at, result, error,
         created_at, started_at, finished_at)
       VALUES (:id, :system, :project, :prompt, :role, :model, :priority, :timeout_s, :permission_mode,
         :allowed_tools, :disallowed_tools, :dedupe_key, :depends_on, :labels, :max_tokens, :max_cost_usd,
         :in_place, :source, :only_worker, :status, :attempt, :worker, :failures, :lost_leases, :releases,
         :scheduled_at, :resume_worker, :resume_until, :claude_session_id, :cancel_requested, :cancel_reason,
         :lease_expires_at, :result, :error, :created_at, :started_at, :finished_at)`,
    ),
    addDependency: db.prepare<{ id: string; dependsOn: string }>(
      'INSERT INTO task_dependencies (task_id, depends_on) VALUES (:id, :dependsOn)',
    ),
    alive: db.prepare<{ system: string; dedupeKey: string }, TaskRow>(
      `SELECT * FROM tasks
       WHERE system = :system AND dedupe_key = :dedupeKey AND status IN ('queued', 'running')`,
    ),

    get: db.prepare<{ system: string; id: string }, TaskRow>(
      'SELECT * FROM tasks WHERE id = :id AND system = :system',
    ),
    // A range, not LIKE: no character of the prefix is special. The + keeps SQLite from another index.
    idsByPrefix: db.prepare<{ system: string; prefix: string }, Id>(
      `SELECT id FROM tasks
       WHERE id >= :prefix AND id < :prefix || char(1114111) AND +system = :system ORDER BY id LIMIT 2`,
    ),
    // One look for each project: all in one would read whatever others begin like this.
    idsByPrefixOf: db.prepare<{ system: string; project: string; prefix: string }, Id>(
      `SELECT id FROM tasks INDEXED BY tasks_by_project
       WHERE project = :project AND id >= :prefix AND id < :prefix || char(1114111) AND system = :system
       ORDER BY id LIMIT 2`,
    ),
    count: (status: TaskStatus) =>
      db.prepare<{ system: string }, { n: number }>(
        `SELECT count(*) AS n FROM tasks WHERE system = :system AND ${WITH_STATUS[status]}`,
      ),
    mine: db.prepare<{ system: string; worker: string }, TaskRow>(
      `SELECT * FROM tasks WHERE system = :system AND status = 'running' AND worker = :worker ORDER BY id`,
    ),

    projects: db.prepare<
      { system: string },
      { project: string; turn: number; max_running: number | null; paused: number }
    >('SELECT project, turn, max_running, paused FROM queue_projects WHERE system = :system'),
    countRunning: db.prepare<{ system: string; project: string }, { n: number }>(
      `SELECT count(*) AS n FROM tasks WHERE system = :system AND status = 'running' AND project = :project`,
    ),
    // One statement for all projects, and one for each kind of filter: most of its cost is its start, and of that
    // most is one json_each for each list.
    claimable: perKind((kind: { roles: boolean; labels: boolean; except: boolean }) =>
      db.prepare<
        {
          system: string
          projects: string
          worker: string
          roles: string
          labels: string
          except: string
          now: number
          skip: number
          count: number
        },
        Candidate
      >(
        `SELECT task.id, task.project, task.priority, task.scheduled_at, task.created_at
           FROM json_each(:projects) AS line CROSS JOIN tasks AS task
           WHERE task.rowid IN (
             SELECT rowid FROM tasks
             WHERE system = :system AND status = 'queued' AND project = line.value AND scheduled_at <= :now
               ${kind.except ? 'AND id NOT IN (SELECT value FROM json_each(:except))' : ''}
               ${kind.roles ? 'AND (role IS NULL OR role IN (SELECT value FROM json_each(:roles)))' : ''}
               AND (labels = '[]' ${kind.labels ? HAS_LABELS : ''})
               AND (only_worker IS NULL OR only_worker = :worker)
               AND (resume_until IS NULL OR resume_until <= :now OR resume_worker = :worker)
               AND (depends_on = '[]' OR NOT EXISTS (
                 SELECT 1 FROM task_dependencies AS edge LEFT JOIN tasks AS other ON other.id = edge.depends_on
                 WHERE edge.task_id = tasks.id AND other.status IS NOT 'succeeded'))
             ORDER BY priority DESC, scheduled_at, created_at, id LIMIT :count OFFSET :skip)
           ORDER BY task.priority DESC, task.scheduled_at, task.created_at, task.id`,
      ),
    ),
    // Another worker cannot go on with a session of this one.
    claim: db.prepare<{ ids: string; worker: string; now: number; expiresAt: number }, TaskRow>(
      `UPDATE tasks SET status = 'running', attempt = attempt + 1, worker = :worker,
         lease_expires_at = :expiresAt, started_at = coalesce(started_at, :now),
         claude_session_id = CASE WHEN resume_worker = :worker THEN claude_session_id END,
         resume_until = CASE WHEN resume_worker = :worker THEN resume_until END,
         resume_worker = CASE WHEN resume_worker = :worker THEN resume_worker END
       WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'queued' RETURNING *`,
    ),
    openAttempts: db.prepare<{ ids: string; worker: string; epoch: number; now: number }>(
      `INSERT INTO task_attempts (task_id, attempt, worker, epoch, claimed_at)
       SELECT id, attempt, :worker, :epoch, :now FROM tasks WHERE id IN (SELECT value FROM json_each(:ids))`,
    ),
    takeTurn: db.prepare<{ system: string; project: string; turn: number }>(
      `INSERT INTO queue_projects (system, project, turn) VALUES (:system, :project, :turn)
       ON CONFLICT (system, project) DO UPDATE SET turn = :turn`,
    ),
    configureProject: db.prepare<{
      system: string
      project: string
      maxRunning: number | null
      paused: number
    }>(
      `INSERT INTO queue_projects (system, project, turn, max_running, paused)
       VALUES (:system, :project, 0, :maxRunning, :paused)
       ON CONFLICT (system, project) DO UPDATE SET max_running = :maxRunning, paused = :paused`,
    ),

    renew: db.prepare<
      { system: string; id: string; attempt: number; worker: string; expiresAt: number },
      { cancel_requested: number }
    >(
      `UPDATE tasks SET lease_expires_at = :expiresAt
       WHERE id = :id AND system = :system AND status = 'running' AND attempt = :attempt AND worker = :worker
       RETURNING cancel_requested`,
    ),
    // What a report is judged by: not the prompt, which may be 100 KiB.
    standing: db.prepare<{ system: string; id: string }, Standing>(
      `SELECT id, status, attempt, worker, failures, lost_leases, releases, cancel_requested, cancel_reason
       FROM tasks WHERE id = :id AND system = :system`,
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
    close: db.prepare<{
      id: string
      status: string
      failures: number
      lostLeases: number
      released: number
      result: string | null
      error: string | null
      now: number
    }>(
      `UPDATE tasks SET status = :status, failures = :failures, lost_leases = :lostLeases,
         releases = releases + :released, result = :result, error = :error, finished_at = :now,
         resume_worker = NULL, resume_until = NULL, claude_session_id = NULL, lease_expires_at = NULL
       WHERE id = :id AND status = 'running'`,
    ),
    putBack: db.prepare<{
      id: string
      failures: number
      lostLeases: number
      released: number
      scheduledAt: number
      resumeWorker: string | null
      resumeUntil: number | null
      claudeSessionId: string | null
    }>(
      `UPDATE tasks SET status = 'queued', failures = :failures, lost_leases = :lostLeases,
         releases = releases + :released, scheduled_at = :scheduledAt, resume_worker = :resumeWorker,
         resume_until = :resumeUntil, claude_session_id = :claudeSessionId, worker = NULL, lease_expires_at = NULL
       WHERE id = :id AND status = 'running'`,
    ),
    expired: db.prepare<{ system: string; before: number }, Standing>(
      `SELECT id, status, attempt, worker, failures, lost_leases, releases, cancel_requested, cancel_reason
       FROM tasks
       WHERE system = :system AND status = 'running' AND lease_expires_at <= :before ORDER BY id`,
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

    dependencies: db.prepare<Id, { id: string; status: string | null }>(
      `SELECT edge.depends_on AS id, tasks.status FROM task_dependencies AS edge
         LEFT JOIN tasks ON tasks.id = edge.depends_on
       WHERE edge.task_id = :id ORDER BY edge.depends_on`,
    ),
    waitingFor: db.prepare<Id, Id>(
      `SELECT tasks.id FROM task_dependencies AS edge JOIN tasks ON tasks.id = edge.task_id
       WHERE edge.depends_on = :id AND tasks.status = 'queued' ORDER BY tasks.id`,
    ),
    retry: db.prepare<{ id: string; now: number }>(
      `UPDATE tasks SET status = 'queued', failures = 0, lost_leases = 0, releases = 0, scheduled_at = :now,
         worker = NULL, resume_worker = NULL, resume_until = NULL, claude_session_id = NULL,
         cancel_requested = 0, cancel_reason = NULL, result = NULL, error = NULL, finished_at = NULL
       WHERE id = :id AND status IN ('failed', 'cancelled', 'dead')`,
    ),
    prune: db.prepare<
      { system: string; before: number; keyedBefore: number; limit: number },
      { id: string; status: string }
    >(
      `DELETE FROM tasks WHERE id IN (
         SELECT id FROM tasks AS old
         WHERE system = :system AND finished_at < :before AND (dedupe_key IS NULL OR finished_at < :keyedBefore)
           AND NOT EXISTS (
             SELECT 1 FROM task_dependencies AS edge JOIN tasks AS living ON living.id = edge.task_id
             WHERE edge.depends_on = old.id AND living.status IN ('queued', 'running'))
         ORDER BY finished_at LIMIT :limit)
       RETURNING id, status`,
    ),
    dropMetEdges: db.prepare<Id>('DELETE FROM task_dependencies WHERE depends_on = :id'),
  }
}

/** Makes a statement for each kind it is asked for, once. */
function perKind<Kind extends Record<string, boolean>, Made>(
  make: (kind: Kind) => Made,
): (kind: Kind) => Made {
  const made = new Map<string, Made>()
  return (kind) => {
    const key = Object.values(kind).join()
    const known = made.get(key) ?? make(kind)
    made.set(key, known)
    return known
  }
}
