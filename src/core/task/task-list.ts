import type { ListedTask, Task, TaskStatus } from './task.ts'

/**
 * The orders of a list of tasks; `-`: the greatest first. In the order of priority there are only tasks that are
 * queued, in the order of their end only those that are over. What is equal comes in the order of its id, the same
 * way round.
 */
export const TASK_SORTS = [
  '-created_at',
  'created_at',
  '-priority',
  'priority',
  '-finished_at',
  'finished_at',
] as const
export type TaskSort = (typeof TASK_SORTS)[number]

/** Where a task stands in an order: its priority, or the time of its end; null where the id says it. */
export type TaskPlace = { key: number | null; id: string }

/** What a list of tasks has. */
export type TaskQuery = {
  status?: TaskStatus
  /** Of any of these. */
  projects?: readonly string[]
  /** The newest first unless told. */
  sort?: TaskSort
  /** Only what comes after this place in that order, to page on: it may be a task that is gone. */
  after?: TaskPlace
  limit: number
}

/** How many tasks of some projects there are that are not over. `byWorker`: those that run. */
export type ProjectCounts = { queued: number; running: number; byWorker: ReadonlyMap<string, number> }

/** The place of a task in an order that it is in. */
export function placeOf(
  { id, priority, finishedAt }: Pick<Task, 'id' | 'priority' | 'finishedAt'>,
  sort: TaskSort,
): TaskPlace {
  if (sort.endsWith('priority')) return { key: priority, id }
  return { key: sort.endsWith('finished_at') ? finishedAt : null, id }
}

/** The list of these tasks, for whoever has them at hand. */
export function listTasks(all: readonly ListedTask[], query: TaskQuery): ListedTask[] {
  const { status, projects, sort = '-created_at', after, limit } = query
  const way = sort.startsWith('-') ? -1 : 1
  const order = (a: TaskPlace, b: TaskPlace): number =>
    way * ((a.key ?? 0) - (b.key ?? 0) || (a.id === b.id ? 0 : a.id < b.id ? -1 : 1))
  return all
    .filter(
      (task) =>
        (status === undefined || task.status === status) &&
        (projects === undefined || projects.includes(task.project)) &&
        (!sort.endsWith('priority') || task.status === 'queued') &&
        (!sort.endsWith('finished_at') || task.finishedAt !== null) &&
        (after === undefined || order(placeOf(task, sort), after) > 0),
    )
    .toSorted((a, b) => order(placeOf(a, sort), placeOf(b, sort)))
    .slice(0, limit)
}
