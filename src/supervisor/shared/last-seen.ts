import { toListed, type ListedTask, type Task } from '../../core/task/task.ts'

/** Tasks of a shared queue as they were answered last: what is known of them while the queue does not answer. */
export type LastSeen = {
  note: (tasks: readonly (Task | ListedTask)[]) => void
  get: (id: string) => ListedTask | null
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => string[]
}

/** About 1.5 kB each. */
const SEEN_MAX = 500

/** The newest 500, without their results and with the beginnings of their prompts; they end with the daemon. */
export function createLastSeen(): LastSeen {
  const seen = new Map<string, ListedTask>()
  return {
    note(tasks) {
      for (const task of tasks) {
        seen.delete(task.id)
        seen.set(task.id, toListed({ ...task, result: null }))
      }
      for (const id of seen.keys()) {
        if (seen.size <= SEEN_MAX) return
        seen.delete(id)
      }
    },
    get: (id) => seen.get(id) ?? null,
    idsByPrefix: (prefix, projects) =>
      [...seen.values()]
        .filter(({ id, project }) => id.startsWith(prefix) && (projects?.includes(project) ?? true))
        .map(({ id }) => id),
  }
}
