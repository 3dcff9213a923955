import { isFinal, type Task } from '../../core/task/task.ts'
import type { Incidents } from '../../store/incidents.ts'
import { isAway } from '../shared/away.ts'
import type { Recorder } from './recorder.ts'

/**
 * A look for tasks that went wrong here and need no further agent of ours: they were cancelled or given up while they
 * waited, or another worker has them. Each look asks the queue, which may be far, about one of them, in turn. Rejects where
 * the queue fails, but not while it is away.
 */
export function createTaskWatch(deps: {
  incidents: Pick<Incidents, 'openOnes'>
  recorder: Pick<Recorder, 'close'>
  taskOf: (id: string) => Promise<Task | null>
  /** Its next attempt closes what was wrong with the one before. */
  isRunning: (taskId: string) => boolean
  worker: string
}): () => Promise<void> {
  let last = 0

  return async () => {
    const waiting = deps.incidents
      .openOnes()
      .filter(({ key, taskId }) => taskId !== null && key === `task:${taskId}` && !deps.isRunning(taskId))
    const next = waiting.find(({ id }) => id > last) ?? waiting[0]
    if (next === undefined || next.taskId === null) return
    last = next.id
    try {
      const why = whyOver(await deps.taskOf(next.taskId), deps.worker)
      if (why !== null) deps.recorder.close(next.key, why)
    } catch (error) {
      if (!isAway(error)) throw error
    }
  }
}

/** Null: an agent of ours may follow. */
function whyOver(task: Task | null, worker: string): string | null {
  if (task === null) return 'Its task is gone.'
  if (isFinal(task.status)) return `Its task is over: ${task.status}.`
  return task.status === 'running' && task.worker !== worker ? 'Another worker has its task.' : null
}
