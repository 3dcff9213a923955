import type { Logger } from 'pino'
import type { Queue } from '../../core/task/queue.ts'
import { isFinal, type Task } from '../../core/task/task.ts'
import type { Workspaces } from './workspaces.ts'

/** Brings the trees of final tasks to their end, however their daemon ended. */
export type WorkspaceSweep = {
  /** Looks soon; any number of calls cost one look. Trees that stay for a reason are left alone. */
  nudge: () => void
  /** Looks at all, also at those that stayed; answers a sentence for each that changed. */
  atStart: () => Promise<string[]>
  close: () => Promise<void>
}

export function createWorkspaceSweep(options: {
  workspaces: Workspaces
  queue: Queue
  /** Whether an attempt of the task is under way here. */
  isRunning: (taskId: string) => boolean
  onClosed: (taskId: string) => void
  everyMs: number
  logger: Logger
}): WorkspaceSweep {
  const { workspaces, queue, logger } = options
  let wanted = false
  let closed = false
  let running: Promise<unknown> = Promise.resolve()
  const timer = setInterval(nudge, options.everyMs)

  async function look(alsoKept: boolean): Promise<string[]> {
    const found: string[] = []
    for (const { taskId, phase } of workspaces.there()) {
      if (closed) break
      if (phase === 'kept' && !alsoKept) continue
      const sentence = await workspaces
        .close(taskId, () => over(taskId))
        .catch((err: unknown) => {
          logger.warn({ err, taskId }, 'a worktree could not be closed; it is tried again')
          return null
        })
      if (sentence === null) continue
      found.push(sentence)
      options.onClosed(taskId)
    }
    return found
  }

  /** The task, when nothing more will be done in its tree; a task the queue has forgotten is over as well. */
  async function over(taskId: string): Promise<Pick<Task, 'id' | 'prompt'> | null> {
    if (options.isRunning(taskId)) return null
    const task = await queue.get(taskId)
    // Asked again, because an attempt may have begun meanwhile.
    if (options.isRunning(taskId)) return null
    if (task === null) return { id: taskId, prompt: '' }
    return isFinal(task.status) ? task : null
  }

  function nudge(): void {
    if (wanted || closed) return
    wanted = true
    running = running.then(async () => {
      wanted = false
      await look(false)
    })
  }

  return {
    nudge,
    async atStart() {
      await workspaces.forgetOld()
      return look(true)
    },
    async close() {
      closed = true
      clearInterval(timer)
      await running
    },
  }
}
