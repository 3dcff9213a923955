import type { HookEvent, HookPayload } from '../core/hook-event.ts'
import type { Lease } from '../core/queue.ts'
import type { Database } from './database.ts'

/** A hook event before it is stored. `fileName` is its identity: its spool file's name, unique for ever. */
export type NewHookEvent = Omit<HookEvent, 'id'> & { fileName: string }

/** The record of what Claude Code's hooks reported. */
export type HookEvents = {
  /** Stores all of them or none; those whose file name is known are left out. Returns the new ones, in order. */
  insertBatch: (events: readonly NewHookEvent[]) => HookEvent[]
  /** Events of a task with an id above `afterId`, oldest first; `name` is Claude's hook_event_name. */
  ofTask: (taskId: string, filter: { afterId?: number; limit: number; name?: string }) => HookEvent[]
  /** Events with a greater id, oldest first; `taskId` null: of all tasks. */
  after: (id: number, taskId: string | null, limit: number) => HookEvent[]
  /** Events of one attempt, oldest first, read in steps: they may be many and large. */
  ofAttempt: (lease: Lease) => Iterable<HookEvent>
  /** The newest event's id; 0 when there is none. */
  lastId: () => number
}

type Row = {
  id: number
  task_id: string
  attempt: number
  claude_session_id: string | null
  hook_event_name: string
  at: number
  payload: string
}

const COLUMNS = 'id, task_id, attempt, claude_session_id, hook_event_name, at, payload'

/** Hook events on the local database. */
export function createHookEvents(db: Database): HookEvents {
  const insert = db.prepare<Omit<NewHookEvent, 'payload'> & { payload: string }, { id: number }>(
    `INSERT INTO hook_events
       (file_name, task_id, attempt, claude_session_id, hook_event_name, at, payload)
     VALUES (:fileName, :taskId, :attempt, :claudeSessionId, :hookEventName, :at, :payload)
     ON CONFLICT (file_name) DO NOTHING RETURNING id`,
  )
  const ofTask = db.prepare<{ taskId: string; id: number; limit: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events WHERE task_id = :taskId AND id > :id ORDER BY id LIMIT :limit`,
  )
  const ofTaskNamed = db.prepare<{ taskId: string; id: number; limit: number; name: string }, Row>(
    `SELECT ${COLUMNS} FROM hook_events
     WHERE task_id = :taskId AND id > :id AND hook_event_name = :name ORDER BY id LIMIT :limit`,
  )
  const ofAttempt = db.prepare<{ taskId: string; attempt: number; id: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events
     WHERE task_id = :taskId AND attempt = :attempt AND id > :id ORDER BY id LIMIT 100`,
  )
  const all = db.prepare<{ id: number; limit: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events WHERE id > :id ORDER BY id LIMIT :limit`,
  )
  const lastId = db.prepare<Record<string, never>, { id: number }>(
    'SELECT coalesce(max(id), 0) AS id FROM hook_events',
  )

  return {
    insertBatch: (events) =>
      db.transaction(() =>
        events.flatMap(({ fileName, ...event }) => {
          const row = insert.get({ ...event, fileName, payload: JSON.stringify(event.payload) })
          return row === undefined ? [] : [{ ...event, id: row.id }]
        }),
      ),
    ofTask: (taskId, { afterId = 0, limit, name }) =>
      (name === undefined
        ? ofTask.all({ taskId, id: afterId, limit })
        : ofTaskNamed.all({ taskId, id: afterId, limit, name })
      ).map(toHookEvent),
    after: (id, taskId, limit) =>
      (taskId === null ? all.all({ id, limit }) : ofTask.all({ taskId, id, limit })).map(toHookEvent),
    *ofAttempt({ taskId, attempt }) {
      for (let id = 0; ;) {
        const rows = ofAttempt.all({ taskId, attempt, id })
        for (const row of rows) yield toHookEvent(row)
        const last = rows.at(-1)
        if (last === undefined) return
        id = last.id
      }
    },
    lastId: () => lastId.get({})?.id ?? 0,
  }
}

function toHookEvent(row: Row): HookEvent {
  return {
    id: row.id,
    taskId: row.task_id,
    attempt: row.attempt,
    claudeSessionId: row.claude_session_id,
    hookEventName: row.hook_event_name,
    at: row.at,
    payload: JSON.parse(row.payload) as HookPayload,
  }
}
