import type { ListedTask } from '../core/task/task.ts'
import type { Database } from './database.ts'

/** A cancel that the shared queue has not heard of yet. `task`: as this machine knew it; null: not at all. */
export type NotedCancel = { taskId: string; reason: string; task: ListedTask | null; at: number }

/** Noted cancels on the local database: once `add` has returned they survive everything. */
export type NotedCancels = {
  /** One that is noted already stays as it is. */
  add: (cancel: NotedCancel) => void
  get: (taskId: string) => NotedCancel | null
  /** The oldest. */
  next: () => NotedCancel | null
  /** Oldest first. */
  list: () => NotedCancel[]
  remove: (taskId: string) => void
}

type Row = { task_id: string; reason: string; task: string | null; at: number }
type Id = { taskId: string }

/** Noted cancels of this home. */
export function createNotedCancels(db: Database): NotedCancels {
  const insert = db.prepare<Row>(
    `INSERT INTO noted_cancels (task_id, reason, task, at) VALUES (:task_id, :reason, :task, :at)
     ON CONFLICT (task_id) DO NOTHING`,
  )
  const one = db.prepare<Id, Row>('SELECT * FROM noted_cancels WHERE task_id = :taskId')
  const oldest = db.prepare<{ limit: number }, Row>('SELECT * FROM noted_cancels ORDER BY seq LIMIT :limit')
  const remove = db.prepare<Id>('DELETE FROM noted_cancels WHERE task_id = :taskId')
  const maybe = (row: Row | undefined) => (row === undefined ? null : toCancel(row))
  return {
    add: ({ taskId, task, ...rest }) =>
      void insert.run({ ...rest, task_id: taskId, task: task === null ? null : JSON.stringify(task) }),
    get: (taskId) => maybe(one.get({ taskId })),
    next: () => maybe(oldest.get({ limit: 1 })),
    list: () => oldest.all({ limit: -1 }).map(toCancel),
    remove: (taskId) => void remove.run({ taskId }),
  }
}

function toCancel({ task_id, reason, task, at }: Row): NotedCancel {
  return { taskId: task_id, reason, task: task === null ? null : (JSON.parse(task) as ListedTask), at }
}
