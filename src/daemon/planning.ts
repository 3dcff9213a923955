import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Schedules } from '../store/schedules.ts'
import type { StartPulse } from '../supervisor/loops/beats.ts'
import { watchLoop } from '../supervisor/loops/patience.ts'
import { createScheduler, type Scheduler } from '../supervisor/requests/schedules.ts'
import type { createOwnTasks } from './own-tasks.ts'

/** Adds tasks at the times of schedules, on a loop of its own; none before `begin`. */
export function createPlanning(deps: {
  schedules: Schedules
  queue: Queue
  insert: ReturnType<typeof createOwnTasks>
  clock: Clock
  logger: Logger
  pulse: StartPulse
  /** The queue is another machine's. */
  isFar: boolean
}): Scheduler {
  const { schedules, queue, insert, clock, logger } = deps
  const loop = watchLoop(queue, deps.pulse, deps.isFar)
  return createScheduler({
    schedules,
    queue: loop.api,
    insert: ({ project, task }, dedupeKey) =>
      loop.during(insert(project, { ...task, source: 'schedule' }, dedupeKey)),
    clock,
    logger,
    ...loop.watched,
  })
}
