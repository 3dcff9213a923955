import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import { CcmError } from '../core/errors.ts'
import type { Queue } from '../core/queue.ts'
import { narrowed, type Rights } from '../core/rights.ts'
import type { NewTask, PermissionMode, Task, TaskStatus } from '../core/task.ts'
import type { SharedTasks } from '../store/shared-tasks.ts'
import type { Arrivals } from './arrivals.ts'
import type { Fence } from './fence.ts'

/** What this machine allows the tasks of a project at most. */
export type RightsLimit = Rights & { permissionMode: PermissionMode; inPlace: boolean }

/**
 * A queue that others write to as well. What is claimed from it has no more rights than `limitOf` its project,
 * unless this very daemon put it there and nobody has changed it since; it is kept for the time when the queue does
 * not answer; and each answer about a lease moves its fence.
 */
export function createSharedQueue(deps: {
  queue: Queue
  kept: SharedTasks
  fence: Fence
  arrivals: Arrivals
  limitOf: (project: string) => RightsLimit
  logger: Logger
}): Queue {
  const { queue, kept, fence, arrivals, logger } = deps
  /** Prints of inserts under way: their tasks may be claimed before the answer is here. */
  const coming: string[] = []
  const counts = new Map<TaskStatus, number>()

  function narrow(task: Task): Task {
    const print = printOf(task)
    if (kept.ownPrint(task.id) === print || coming.includes(print)) return task
    const limit = deps.limitOf(task.project)
    const rights = narrowed(task, limit)
    const inPlace = task.inPlace === true && !limit.inPlace ? null : task.inPlace
    const isLess =
      rights.permissionMode !== task.permissionMode ||
      rights.allowedTools.length < task.allowedTools.length ||
      inPlace !== task.inPlace
    if (isLess)
      logger.warn({ taskId: task.id }, 'a task asked for more rights than this machine gives; it got those')
    return {
      ...task,
      permissionMode: rights.permissionMode,
      allowedTools: [...rights.allowedTools],
      inPlace,
    }
  }

  return {
    ...queue,
    async insert(task) {
      const print = printOf(task)
      coming.push(print)
      try {
        const added = await queue.insert(task)
        if (added.inserted) kept.putOwn(added.task.id, print)
        // Whoever inserts it here looks for it at once.
        arrivals.announce(added.task.id)
        return added
      } finally {
        coming.splice(coming.indexOf(print), 1)
      }
    },
    async get(id) {
      try {
        return await queue.get(id)
      } catch (error) {
        const known = isAway(error) ? kept.newest(id) : null
        if (known === null) throw error
        return known
      }
    },
    async count(status) {
      try {
        const count = await queue.count(status)
        counts.set(status, count)
        return count
      } catch (error) {
        // For whoever asks how the daemon is: the last that was known.
        if (!isAway(error)) throw error
        return counts.get(status) ?? 0
      }
    },
    async claim(limit, filter) {
      const sentAt = fence.now()
      const tasks = (await queue.claim(limit, filter)).map(narrow)
      arrivals.claimed(tasks)
      try {
        kept.putClaimed(tasks)
      } catch (err) {
        // Without it only a start during an outage leaves the agent to its fence.
        logger.warn({ err }, 'claimed tasks could not be kept')
      }
      fence.move(
        tasks.map(({ id, attempt }) => ({ taskId: id, attempt })),
        sentAt,
      )
      return tasks
    },
    reap() {
      // Each sweep does it, and nothing else.
      arrivals.swept()
      return queue.reap()
    },
    async heartbeat(leases) {
      const sentAt = fence.now()
      const replies = await queue.heartbeat(leases)
      fence.move(
        replies.filter(({ ok }) => ok),
        sentAt,
      )
      return replies
    },
  }
}

/** The shared queue does not answer, which it may do again. */
export function isAway(error: unknown): boolean {
  return error instanceof CcmError && error.code === 'SUPABASE_UNREACHABLE'
}

/** What rights rest on, and what they are used for. */
function printOf(task: Task | NewTask): string {
  const { project, prompt, permissionMode, allowedTools, inPlace } = task
  return createHash('sha256')
    .update(JSON.stringify([project, prompt, permissionMode, allowedTools, inPlace]))
    .digest('hex')
}
