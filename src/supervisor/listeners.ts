import type { Logger } from 'pino'
import type { Queue } from '../core/task/queue.ts'
import { cancelledWith } from './dependents.ts'

/** Something of this task was stored. */
export type Notice = { kind: 'hook' | 'state' | 'task'; taskId: string }

/** Who hears of what was stored. A notice is a nudge: whoever hears it looks for itself. */
export type Listeners = {
  notify: (taskId: string, kind: Notice['kind']) => void
  /** A task was moved by the queue, and may have taken others with it. */
  notifyEnd: (taskId: string) => void
  /** Returns how to hear no more. */
  subscribe: (listener: (notice: Notice) => void) => () => void
}

/** Nobody listens yet. */
export function createListeners(queue: Pick<Queue, 'get' | 'list'>, logger: Logger): Listeners {
  const listeners = new Set<(notice: Notice) => void>()

  function notify(taskId: string, kind: Notice['kind']): void {
    for (const listener of listeners) listener({ kind, taskId })
  }

  return {
    notify,
    notifyEnd(taskId) {
      notify(taskId, 'task')
      cancelledWith(queue, taskId).then(
        (ids) => ids.forEach((id) => notify(id, 'task')),
        (err: unknown) => logger.warn({ err, taskId }, 'tasks that depend on it could not be looked up'),
      )
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
