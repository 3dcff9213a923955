import type { NewTask, Task } from '../core/task/task.ts'
import { jsonList, type Database } from './database.ts'

/**
 * A task that was accepted here for a queue that did not answer. `waiting`: for the queue. `handed`: the queue has it,
 * as `taskId`. `cancelled` and `refused`: it never became one. Times are milliseconds since 1970.
 */
export type AcceptedTask = {
  id: string
  /** By which the queue knows it when it is sent again. */
  requestKey: string
  task: NewTask
  state: 'waiting' | 'handed' | 'cancelled' | 'refused'
  /** The queue may have it already. */
  sent: boolean
  cancelReason: string | null
  taskId: string | null
  reason: string | null
  acceptedAt: number
  settledAt: number | null
}

/** Accepted tasks on the local database: once `add` has returned they survive everything. */
export type AcceptedTasks = {
  /** One that waits under the same dedupe key is answered instead, `isNew: false`. */
  add: (
    given: Pick<AcceptedTask, 'id' | 'requestKey' | 'task' | 'sent'>,
    at: number,
  ) => { entry: AcceptedTask; isNew: boolean }
  get: (id: string) => AcceptedTask | null
  /** In the order of arrival. */
  waiting: () => AcceptedTask[]
  next: () => AcceptedTask | null
  countWaiting: () => number
  /** Newest first, those that are no task of the queue. */
  outside: () => AcceptedTask[]
  newestId: () => string | null
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => string[]
  /** Before each time it is sent. */
  setSent: (id: string) => void
  /** `told`: the cancel the queue has heard of. False where one was asked for meanwhile: it is to hear of that first. */
  setHanded: (id: string, taskId: string, told: string | null, at: number) => boolean
  /** `cancelled`: nobody else has heard of it; `requested`: it is noted for the queue; null: it does not wait. */
  cancel: (id: string, reason: string, at: number) => 'cancelled' | 'requested' | null
  /** Ends one that waits. */
  settle: (id: string, state: 'cancelled' | 'refused', reason: string, at: number) => void
  /** Lets one that was cancelled or refused wait again. */
  again: (id: string) => boolean
}

/** People ask for what became of it for a while. */
const KEPT_MS = 30 * 86_400_000

type Row = {
  id: string
  request_key: string
  task: string
  state: string
  sent: number
  cancel_reason: string | null
  task_id: string | null
  reason: string | null
  accepted_at: number
  settled_at: number | null
}
type Id = { id: string }

/** Accepted tasks of this home; those settled 30 days ago go when it is opened at `now`. */
export function createAcceptedTasks(db: Database, now: number): AcceptedTasks {
  const insert = db.prepare<
    Id & { requestKey: string; dedupeKey: string | null; task: string; sent: number; at: number },
    Row
  >(
    `INSERT INTO accepted_tasks (id, request_key, dedupe_key, task, sent, accepted_at)
     VALUES (:id, :requestKey, :dedupeKey, :task, :sent, :at) RETURNING *`,
  )
  const byKey = db.prepare<{ dedupeKey: string | null }, Row>(
    `SELECT * FROM accepted_tasks WHERE state = 'waiting' AND cancel_reason IS NULL AND dedupe_key = :dedupeKey`,
  )
  const get = db.prepare<Id, Row>('SELECT * FROM accepted_tasks WHERE id = :id')
  const waiting = db.prepare<{ limit: number }, Row>(
    `SELECT * FROM accepted_tasks WHERE state = 'waiting' ORDER BY seq LIMIT :limit`,
  )
  const count = db.prepare<Record<string, never>, { n: number }>(
    `SELECT count(*) AS n FROM accepted_tasks WHERE state = 'waiting'`,
  )
  const outside = db.prepare<Record<string, never>, Row>(
    `SELECT * FROM accepted_tasks WHERE state <> 'handed' ORDER BY id DESC`,
  )
  const newest = db.prepare<Record<string, never>, { id: string | null }>(
    'SELECT max(id) AS id FROM accepted_tasks',
  )
  const prefixed = db.prepare<{ from: string; to: string; projects: string | null }, Id>(
    `SELECT id FROM accepted_tasks
     WHERE id >= :from AND id < :to
       AND (:projects IS NULL OR task ->> 'project' IN (SELECT value FROM json_each(:projects)))
     LIMIT 2`,
  )
  const setSent = db.prepare<Id>('UPDATE accepted_tasks SET sent = 1 WHERE id = :id')
  const forget = db.prepare<Id & { told: string | null }>(
    `DELETE FROM accepted_tasks WHERE id = :id AND state = 'waiting' AND cancel_reason IS :told`,
  )
  const become = db.prepare<Id & { taskId: string; told: string | null; at: number }>(
    `UPDATE accepted_tasks SET state = 'handed', task_id = :taskId, settled_at = :at
     WHERE id = :id AND state = 'waiting' AND cancel_reason IS :told`,
  )
  const settle = db.prepare<Id & { state: string; reason: string; at: number }>(
    `UPDATE accepted_tasks SET state = :state, reason = :reason, settled_at = :at
     WHERE id = :id AND state = 'waiting'`,
  )
  const wish = db.prepare<Id & { reason: string }>(
    `UPDATE accepted_tasks SET cancel_reason = coalesce(cancel_reason, :reason) WHERE id = :id AND state = 'waiting'`,
  )
  const again = db.prepare<Id>(
    `UPDATE accepted_tasks SET state = 'waiting', cancel_reason = NULL, reason = NULL, settled_at = NULL
     WHERE id = :id AND state IN ('cancelled', 'refused')`,
  )
  db.prepare<{ before: number }>('DELETE FROM accepted_tasks WHERE settled_at < :before').run({
    before: now - KEPT_MS,
  })
  const maybe = (row: Row | undefined) => (row === undefined ? null : toEntry(row))
  const all = () => waiting.all({ limit: -1 }).map(toEntry)

  return {
    add: ({ id, requestKey, task, sent }, at) =>
      db.transaction(() => {
        const { dedupeKey } = task
        const known = dedupeKey === null ? undefined : byKey.get({ dedupeKey })
        if (known !== undefined) return { entry: toEntry(known), isNew: false }
        const row = insert.get({
          id,
          requestKey,
          dedupeKey,
          task: JSON.stringify(task),
          sent: sent ? 1 : 0,
          at,
        })
        if (row === undefined) throw new Error('SQLite kept no row of an accepted task')
        return { entry: toEntry(row), isNew: true }
      }),
    get: (id) => maybe(get.get({ id })),
    waiting: all,
    next: () => maybe(waiting.get({ limit: 1 })),
    countWaiting: () => count.get({})?.n ?? 0,
    outside: () => outside.all({}).map(toEntry),
    newestId: () => newest.get({})?.id ?? null,
    idsByPrefix: (prefix, projects) =>
      prefixed
        .all({
          from: prefix,
          to: `${prefix}~`,
          projects: jsonList(projects),
        })
        .map(({ id }) => id),
    setSent: (id) => void setSent.run({ id }),
    setHanded: (id, taskId, told, at) =>
      (taskId === id ? forget.run({ id, told }) : become.run({ id, taskId, told, at })) > 0,
    cancel: (id, reason, at) =>
      db.transaction(() => {
        const row = get.get({ id })
        if (row?.state !== 'waiting') return null
        if (row.sent === 0) settle.run({ id, state: 'cancelled', reason, at })
        else wish.run({ id, reason })
        return row.sent === 0 ? 'cancelled' : 'requested'
      }),
    settle: (id, state, reason, at) => void settle.run({ id, state, reason, at }),
    again: (id) => again.run({ id }) > 0,
  }
}

/** The task as people see it until the queue has it. */
export function taskOf({ id, task, state, cancelReason, reason, acceptedAt, settledAt }: AcceptedTask): Task {
  const isOver = state === 'cancelled' || state === 'refused' || cancelReason !== null
  return {
    ...task,
    id,
    status: state === 'refused' ? 'failed' : isOver ? 'cancelled' : 'queued',
    attempt: 0,
    worker: null,
    failures: 0,
    lostLeases: 0,
    scheduledAt: Math.max(task.scheduledAt ?? 0, acceptedAt),
    resumeWorker: null,
    resumeUntil: null,
    claudeSessionId: null,
    cancelRequested: false,
    leaseExpiresAt: null,
    result: null,
    error: reason ?? cancelReason,
    createdAt: acceptedAt,
    startedAt: null,
    finishedAt: settledAt,
  }
}

function toEntry(row: Row): AcceptedTask {
  return {
    id: row.id,
    requestKey: row.request_key,
    task: JSON.parse(row.task) as NewTask,
    state: row.state as AcceptedTask['state'],
    sent: row.sent === 1,
    cancelReason: row.cancel_reason,
    taskId: row.task_id,
    reason: row.reason,
    acceptedAt: row.accepted_at,
    settledAt: row.settled_at,
  }
}
