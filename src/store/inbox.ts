import type { InboxEntry, InboxState, InboxTask, NewInboxEntry, Origin } from '../core/outside/inbox.ts'
import { jsonList, type Database } from './database.ts'

/** A delivery may be repeated for days; its key is kept longer than that. */
const KEPT_MS = 8 * 86_400_000
const NEWEST = Number.MAX_SAFE_INTEGER

/** Null: any state, any project, from the newest on; `before`: only those with a smaller id. */
export type InboxQuery = {
  state: InboxState | null
  projects?: readonly string[] | null
  before?: number | null
  limit: number
}

/** Requests from outside on the local database: once `accept` has returned they survive everything. */
export type InboxStore = {
  /** Stores all or none; what is known by its key is left as it is. `isNew` in the order given. */
  accept: (entries: NewInboxEntry[], at: number) => { entry: InboxEntry; isNew: boolean }[]
  get: (id: number) => InboxEntry | null
  byKey: (key: string) => InboxEntry | null
  ofTask: (taskId: string) => InboxEntry | null
  /** Newest first. */
  list: (filter: InboxQuery) => InboxEntry[]
  /** Those from a repository on GitHub that wait for approval, and how many of them this sender's are. */
  countWaiting: (repository: string, sender: string) => { all: number; own: number }
  /** Those that wait for approval since before this time. */
  waitingSince: (before: number) => number[]
  /** The oldest one for the queue, due or not. */
  nextPending: () => InboxEntry | null
  /** Those from an issue on GitHub that are not refused, newest first. */
  ofIssue: (repository: string, number: number) => InboxEntry[]
  /** Those of a source that are not refused, and whose task was not seen to be over. */
  countOpen: (source: string) => number
  /** Of these, those that have a task. */
  openTasks: (source: string) => { id: number; taskId: string }[]
  setOver: (id: number, at: number) => void
  /** Those that became a task long ago, which was not seen to be over. */
  longTasks: (now: number) => { id: number; taskId: string }[]
  /** They came in again: what is over of them is kept for as long again. */
  cameAgain: (keys: string[], at: number) => void
  setInserted: (id: number, taskId: string, at: number) => void
  setLater: (id: number, dueAt: number, reason: string) => void
  /** Moves one from `waiting` or `pending`; false where it is neither any more. */
  approve: (id: number, by: string, at: number) => boolean
  /** `by` null: ccm itself refuses it, also one that a person approved. */
  refuse: (id: number, reason: string, by: string | null, at: number) => boolean
  /** Whoever asked is to be told, now. */
  wantTell: (id: number, at: number) => void
  dueTells: (now: number, limit: number) => InboxEntry[]
  /** Counted before the try: a message may have gone out even where nothing was noted of it. */
  beginTell: (id: number) => void
  told: (id: number, text: string, ref: string | null) => void
  /** `dueAt` null: never again. */
  tellLater: (id: number, dueAt: number | null) => void
  /** Forgets what was refused, or whose task was seen to be over, long ago. */
  prune: (now: number) => number
}

type Row = {
  id: number
  key: string
  source: string
  project: string
  state: string
  title: string
  sender: string | null
  request: string
  origin: string
  task_id: string | null
  over_at: number | null
  reason: string | null
  decided_by: string | null
  tries: number
  due_at: number
  received_at: number
  settled_at: number | null
  told: string | null
  told_ref: string | null
  tell_tries: number
  tell_due_at: number | null
}

/** The inbox on the local database. */
export function createInboxStore(db: Database): InboxStore {
  const insert = db.prepare<
    Pick<
      Row,
      'key' | 'source' | 'project' | 'state' | 'title' | 'sender' | 'request' | 'origin' | 'reason'
    > & {
      at: number
    },
    Row
  >(
    `INSERT INTO inbox (key, source, project, state, title, sender, request, origin, reason, due_at, received_at)
     VALUES (:key, :source, :project, :state, :title, :sender, :request, :origin, :reason, :at, :at)
     ON CONFLICT (key) DO NOTHING RETURNING *`,
  )
  const get = db.prepare<{ id: number }, Row>('SELECT * FROM inbox WHERE id = :id')
  const byKey = db.prepare<{ key: string }, Row>('SELECT * FROM inbox WHERE key = :key')
  const ofTask = db.prepare<{ taskId: string }, Row>('SELECT * FROM inbox WHERE task_id = :taskId LIMIT 1')
  const listed = (where: string) =>
    db.prepare<{ state: string; projects: string | null; before: number; limit: number }, Row>(
      `SELECT * FROM inbox WHERE ${where} id < :before
         AND (:projects IS NULL OR project IN (SELECT value FROM json_each(:projects)))
       ORDER BY id DESC LIMIT :limit`,
    )
  const all = listed('')
  const inState = listed('state = :state AND')
  const nextPending = db.prepare<Record<string, never>, Row>(
    `SELECT * FROM inbox WHERE state = 'pending' ORDER BY id LIMIT 1`,
  )
  const ofIssue = db.prepare<{ repository: string; number: number }, Row>(
    `SELECT * FROM inbox INDEXED BY inbox_issue
     WHERE source = 'github' AND origin ->> 'repository' = :repository AND origin ->> 'number' = :number
       AND state <> 'refused' ORDER BY id DESC`,
  )
  const countWaiting = db.prepare<{ repository: string; sender: string }, { all: number; own: number }>(
    `SELECT count(*) AS "all", count(*) FILTER (WHERE sender = :sender) AS own FROM inbox INDEXED BY inbox_issue
     WHERE source = 'github' AND origin ->> 'repository' = :repository AND state = 'waiting'`,
  )
  const waitingSince = db.prepare<{ before: number }, { id: number }>(
    `SELECT id FROM inbox WHERE state = 'waiting' AND received_at < :before ORDER BY id`,
  )
  const OPEN = `inbox INDEXED BY inbox_open WHERE source = :source AND state <> 'refused' AND over_at IS NULL`
  const countOpen = db.prepare<{ source: string }, { n: number }>(`SELECT count(*) AS n FROM ${OPEN}`)
  const openTasks = db.prepare<{ source: string }, { id: number; taskId: string }>(
    `SELECT id, task_id AS taskId FROM ${OPEN} AND task_id IS NOT NULL`,
  )
  const over = db.prepare<{ id: number; at: number }>('UPDATE inbox SET over_at = :at WHERE id = :id')
  const longTasks = db.prepare<{ before: number }, { id: number; taskId: string }>(
    `SELECT id, task_id AS taskId FROM inbox
     WHERE state = 'inserted' AND over_at IS NULL AND settled_at < :before`,
  )
  const again = db.prepare<{ keys: string; at: number }>(
    `UPDATE inbox SET over_at = :at
     WHERE key IN (SELECT value FROM json_each(:keys)) AND (state = 'refused' OR over_at IS NOT NULL)`,
  )
  const inserted = db.prepare<{ id: number; taskId: string; at: number }>(
    `UPDATE inbox SET state = 'inserted', task_id = :taskId, reason = NULL, settled_at = :at, tell_due_at = :at
     WHERE id = :id AND state = 'pending'`,
  )
  const later = db.prepare<{ id: number; dueAt: number; reason: string }>(
    `UPDATE inbox SET tries = tries + 1, due_at = :dueAt, reason = :reason WHERE id = :id AND state = 'pending'`,
  )
  const approve = db.prepare<{ id: number; by: string; at: number }>(
    `UPDATE inbox SET state = 'pending', decided_by = :by, reason = NULL, due_at = :at
     WHERE id = :id AND state = 'waiting'`,
  )
  const refuse = db.prepare<{ id: number; reason: string; by: string | null; at: number }>(
    `UPDATE inbox SET state = 'refused', decided_by = :by, reason = :reason,
       settled_at = :at, tell_due_at = :at
     WHERE id = :id AND state IN ('waiting', 'pending')`,
  )
  const wantTell = db.prepare<{ id: number; at: number }>(
    'UPDATE inbox SET tell_due_at = coalesce(tell_due_at, :at) WHERE id = :id',
  )
  const dueTells = db.prepare<{ now: number; limit: number }, Row>(
    'SELECT * FROM inbox WHERE tell_due_at <= :now ORDER BY tell_due_at, id LIMIT :limit',
  )
  const beginTell = db.prepare<{ id: number }>('UPDATE inbox SET tell_tries = tell_tries + 1 WHERE id = :id')
  const told = db.prepare<{ id: number; text: string; ref: string | null }>(
    `UPDATE inbox SET told = :text, told_ref = coalesce(:ref, told_ref), tell_tries = 0, tell_due_at = NULL
     WHERE id = :id`,
  )
  const tellLater = db.prepare<{ id: number; dueAt: number | null }>(
    'UPDATE inbox SET tell_due_at = :dueAt WHERE id = :id',
  )
  const prune = db.prepare<{ before: number }>(
    `DELETE FROM inbox
     WHERE coalesce(over_at, iif(state = 'refused', settled_at, NULL)) < :before AND tell_due_at IS NULL`,
  )
  const maybe = (row: Row | undefined) => (row === undefined ? null : toEntry(row))

  return {
    accept: (entries, at) =>
      db.transaction(() =>
        entries.map(({ task, origin, ...rest }) => {
          const row = insert.get({
            ...rest,
            request: JSON.stringify(task),
            origin: JSON.stringify(origin),
            at,
          })
          const stored = row ?? byKey.get({ key: rest.key })
          if (stored === undefined) throw new Error('SQLite kept no row of an entry')
          return { entry: toEntry(stored), isNew: row !== undefined }
        }),
      ),
    get: (id) => maybe(get.get({ id })),
    byKey: (key) => maybe(byKey.get({ key })),
    ofTask: (taskId) => maybe(ofTask.get({ taskId })),
    list: ({ state, projects = null, before, limit }) =>
      (state === null ? all : inState)
        .all({ state: state ?? '', projects: jsonList(projects), before: before ?? NEWEST, limit })
        .map(toEntry),
    countWaiting: (repository, sender) => countWaiting.get({ repository, sender }) ?? { all: 0, own: 0 },
    waitingSince: (before) => waitingSince.all({ before }).map(({ id }) => id),
    nextPending: () => maybe(nextPending.get({})),
    ofIssue: (repository, number) => ofIssue.all({ repository, number }).map(toEntry),
    countOpen: (source) => countOpen.get({ source })?.n ?? 0,
    openTasks: (source) => openTasks.all({ source }),
    setOver: (id, at) => void over.run({ id, at }),
    longTasks: (now) => longTasks.all({ before: now - KEPT_MS }),
    cameAgain: (keys, at) => void again.run({ keys: JSON.stringify(keys), at }),
    setInserted: (id, taskId, at) => void inserted.run({ id, taskId, at }),
    setLater: (id, dueAt, reason) => void later.run({ id, dueAt, reason }),
    approve: (id, by, at) => approve.run({ id, by, at }) > 0,
    refuse: (id, reason, by, at) => refuse.run({ id, reason, by, at }) > 0,
    wantTell: (id, at) => void wantTell.run({ id, at }),
    dueTells: (now, limit) => dueTells.all({ now, limit }).map(toEntry),
    beginTell: (id) => void beginTell.run({ id }),
    told: (id, text, ref) => void told.run({ id, text, ref }),
    tellLater: (id, dueAt) => void tellLater.run({ id, dueAt }),
    prune: (now) => prune.run({ before: now - KEPT_MS }),
  }
}

function toEntry(row: Row): InboxEntry {
  return {
    id: row.id,
    key: row.key,
    source: row.source,
    project: row.project,
    state: row.state as InboxState,
    title: row.title,
    sender: row.sender,
    task: JSON.parse(row.request) as InboxTask,
    origin: JSON.parse(row.origin) as Origin,
    taskId: row.task_id,
    isOver: row.over_at !== null,
    reason: row.reason,
    decidedBy: row.decided_by,
    tries: row.tries,
    dueAt: row.due_at,
    receivedAt: row.received_at,
    settledAt: row.settled_at,
    told: row.told,
    toldRef: row.told_ref,
    tellTries: row.tell_tries,
  }
}
