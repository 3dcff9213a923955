import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import type { Queue, Report } from '../../core/task/queue.ts'
import { limitJitterMs, resumeAgain } from '../../core/task/resume.ts'
import type { Task } from '../../core/task/task.ts'
import type { BlackBox } from '../incidents/black-box.ts'
import type { Budgets } from '../claims/budgets.ts'
import type { Recovery } from '../incidents/recovery.ts'
import { isAway } from '../shared/away.ts'
import type { Runner } from './runner.ts'

const GIVE_BACK_AGAIN_MS = 5000

/**
 * Begins a claimed task, or gives it back: its budget was used up by its attempts of before, its model is at its
 * limit, or the attempt cannot be recorded. Never throws.
 */
export function createBeginning(of: {
  budgets: Budgets
  recovery: Pick<Recovery, 'limits'>
  runner: Pick<Runner, 'start'>
  blackBox: BlackBox
  queue: Queue
  modelOf: (task: Task) => string | null
  notify: (taskId: string, kind: 'task') => void
  /** A task was given back for so long. */
  putOff: (ms: number) => void
  clock: Clock
  random: () => number
  logger: Logger
}): (task: Task) => void {
  const { budgets, recovery, runner, queue, modelOf, notify, clock, random, logger } = of

  /** Nothing of its attempt exists, so no outbox keeps this. The next daemon gives back what this one did not. */
  async function giveBack(
    task: Task,
    end: Pick<Report, 'outcome' | 'error'> & Partial<Report>,
  ): Promise<void> {
    const { id: taskId, attempt } = task
    const resume = resumeAgain(task, 0)
    for (;;) {
      try {
        await queue.finish({ taskId, attempt, result: null, retryAfterMs: null, resume, ...end })
        return notify(taskId, 'task')
      } catch (err) {
        logger.error({ err, taskId }, 'a claimed task could not be given back')
        if (!isAway(err)) return
        await sleep(GIVE_BACK_AGAIN_MS, undefined, { ref: false })
      }
    }
  }

  function begin(task: Task): void {
    const why = budgets.over(task)
    const limitedUntil = recovery.limits.until(modelOf(task))
    if (why !== null) void giveBack(task, { outcome: 'failed_permanent', error: why })
    else if (limitedUntil !== null) {
      // The queue knows nothing of models, and this one came in after it was asked what to pass over.
      const error = `The usage limit of its model is reached until ${new Date(limitedUntil).toISOString()}.`
      const waitMs = Math.max(0, limitedUntil - clock())
      const retryAfterMs = waitMs + limitJitterMs(waitMs, random)
      of.putOff(retryAfterMs)
      void giveBack(task, {
        outcome: 'released',
        error,
        retryAfterMs,
        resume: resumeAgain(task, retryAfterMs),
      })
    } else {
      runner.start(task).catch((err: unknown) => {
        logger.error({ err, taskId: task.id }, 'a claimed task could not be begun')
        void giveBack(task, {
          outcome: 'released',
          error: `The attempt could not be recorded: ${messageOf(err)}`,
        })
      })
    }
  }

  return (task) => of.blackBox.during({ taskId: task.id, attempt: task.attempt }, () => begin(task))
}
