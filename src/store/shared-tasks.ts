import type { Clock } from '../core/clock.ts'
import type { Lease } from '../core/task/queue.ts'
import type { Task } from '../core/task/task.ts'
import { jsonList, type Database } from './database.ts'

/** What this worker knows of tasks in a shared queue without asking it. */
export type SharedTasks = {
  /** Stores tasks as they were claimed. */
  putClaimed: (tasks: readonly Task[]) => void
  claimed: (lease: Lease) => Task | null
  /** The newest claim of it here. */
  newest: (taskId: string) => Task | null
  /** Those whose attempt is under way here, newest first. */
  running: () => Task[]
  /** At most 2 of these projects; null: of all. */
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => string[]
  /** Notes that this daemon put the task into the queue, and what it asked for. */
  putOwn: (taskId: string, print: string) => void
  /** What was noted with `putOwn`; null: somebody else put it there, or it is long over. */
  ownPrint: (taskId: string) => string | null
}

const KEPT_MS = 90 * 86_400_000

/** Shared tasks on the local database; rows older than 90 days go when it is opened. */
export function createSharedTasks(db: Database, clock: Clock): SharedTasks {
  const put = db.prepare<Lease & { task: string; at: number }>(
    `INSERT INTO shared_tasks (task_id, attempt, task, at) VALUES (:taskId, :attempt, :task, :at)
     ON CONFLICT (task_id, attempt) DO UPDATE SET task = :task`,
  )
  const one = db.prepare<Lease, { task: string }>(
    'SELECT task FROM shared_tasks WHERE task_id = :taskId AND attempt = :attempt',
  )
  const newest = db.prepare<{ taskId: string }, { task: string }>(
    'SELECT task FROM shared_tasks WHERE task_id = :taskId ORDER BY attempt DESC LIMIT 1',
  )
  const running = db.prepare<Record<string, never>, { task: string }>(
    `SELECT s.task FROM shared_tasks AS s JOIN attempts AS a ON a.task_id = s.task_id AND a.attempt = s.attempt
     WHERE a.phase IN ('claimed', 'starting', 'started') ORDER BY s.task_id DESC`,
  )
  const prefixed = db.prepare<{ from: string; to: string; projects: string | null }, { id: string }>(
    `SELECT DISTINCT task_id AS id FROM shared_tasks
     WHERE task_id >= :from AND task_id < :to
       AND (:projects IS NULL OR task ->> 'project' IN (SELECT value FROM json_each(:projects)))
     LIMIT 2`,
  )
  const putOwn = db.prepare<{ taskId: string; print: string; at: number }>(
    `INSERT INTO shared_own (task_id, print, at) VALUES (:taskId, :print, :at) ON CONFLICT (task_id) DO NOTHING`,
  )
  const own = db.prepare<{ taskId: string }, { print: string }>(
    'SELECT print FROM shared_own WHERE task_id = :taskId',
  )
  for (const table of ['shared_tasks', 'shared_own'])
    db.prepare<{ before: number }>(`DELETE FROM ${table} WHERE at < :before`).run({
      before: clock() - KEPT_MS,
    })
  const parse = (row: { task: string } | undefined) =>
    row === undefined ? null : (JSON.parse(row.task) as Task)
  return {
    putClaimed: (tasks) =>
      db.transaction(() => {
        for (const task of tasks)
          put.run({ taskId: task.id, attempt: task.attempt, task: JSON.stringify(task), at: clock() })
      }),
    claimed: ({ taskId, attempt }) => parse(one.get({ taskId, attempt })),
    newest: (taskId) => parse(newest.get({ taskId })),
    running: () => running.all({}).map(({ task }) => JSON.parse(task) as Task),
    idsByPrefix: (prefix, projects) =>
      prefixed
        .all({
          from: prefix,
          to: `${prefix}~`,
          projects: jsonList(projects),
        })
        .map(({ id }) => id),
    putOwn: (taskId, print) => void putOwn.run({ taskId, print, at: clock() }),
    ownPrint: (taskId) => own.get({ taskId })?.print ?? null,
  }
}
