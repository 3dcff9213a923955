import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import type { Queue, Report } from '../../core/task/queue.ts'
import { limitJitterMs } from '../../core/task/resume.ts'
import type { Task } from '../../core/task/task.ts'
import type { BlackBox } from '../incidents/black-box.ts'
import type { Budgets } from '../claims/budgets.ts'
import type { Recovery } from '../incidents/recovery.ts'
import { resumeAgain } from './resume.ts'
import type { Runner } from './runner.ts'

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

  // Nothing of its attempt exists. Should this fail too, its lease runs out.
  function giveBack(task: Task, end: Pick<Report, 'outcome' | 'error'> & Partial<Report>): void {
    queue
      .finish({
        taskId: task.id,
        attempt: task.attempt,
        result: null,
        retryAfterMs: null,
        resume: resumeAgain(task, 0),
        ...end,
      })
      .then(() => notify(task.id, 'task'))
      .catch((err: unknown) =>
        logger.error({ err, taskId: task.id }, 'a claimed task could not be given back'),
      )
  }

  function begin(task: Task): void {
    const why = budgets.over(task)
    const limitedUntil = recovery.limits.until(modelOf(task))
    if (why !== null) giveBack(task, { outcome: 'failed_permanent', error: why })
    else if (limitedUntil !== null) {
      // The queue knows nothing of models, and this one came in after it was asked what to pass over.
      const error = `The usage limit of its model is reached until ${new Date(limitedUntil).toISOString()}.`
      const waitMs = Math.max(0, limitedUntil - clock())
      const retryAfterMs = waitMs + limitJitterMs(waitMs, random)
      of.putOff(retryAfterMs)
      giveBack(task, { outcome: 'released', error, retryAfterMs, resume: resumeAgain(task, retryAfterMs) })
    } else {
      runner.start(task).catch((err: unknown) => {
        logger.error({ err, taskId: task.id }, 'a claimed task could not be begun')
        giveBack(task, {
          outcome: 'released',
          error: `The attempt could not be recorded: ${messageOf(err)}`,
        })
      })
    }
  }

  return (task) => of.blackBox.during({ taskId: task.id, attempt: task.attempt }, () => begin(task))
}
