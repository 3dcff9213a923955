import { PLAIN_TASK, type NewTask, type Task } from '../core/task/task.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'

/** What a schedule or a request from outside says of its task; `priority` null: the project's. */
type Wanted = Pick<NewTask, 'prompt' | 'source'> &
  Partial<Omit<NewTask, 'priority'>> & { priority: number | null }

/** Adds tasks that no person asks for at this moment: each in a project that is known, once for its key. */
export function createOwnTasks(
  supervisor: Pick<Supervisor, 'insert'>,
): (project: string, task: Wanted, dedupeKey: string) => Promise<Task> {
  return async (project, task, dedupeKey) => {
    const asked = { ...PLAIN_TASK, dir: null, trust: false, ...task, project, dedupeKey }
    return (await supervisor.insert(asked)).task
  }
}
