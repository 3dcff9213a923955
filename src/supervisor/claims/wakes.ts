import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { Queue } from '../../core/task/queue.ts'
import { isAway } from '../shared/away.ts'

/** Looks for work at the times at which tasks that were put off may go on; those of one limit have times of their own. */
export type Wakes = {
  /** A task of ours was given back for so long. */
  after: (ms: number) => void
  /** Those that an earlier daemon gave back. Never rejects. */
  ofBefore: () => Promise<void>
  close: () => void
}

/** The report that puts it off is on its way to the queue, whose clock counts. */
const REPORT_MS = 1000
/** What a timer can do; the sweep finds the others. */
const LONGEST_MS = 2 ** 31 - 1

/** Without it the sweep would find them: up to its whole period late, and all in one look. */
export function createWakes(of: {
  queue: Queue
  worker: string
  nudge: () => void
  clock: Clock
  logger: Logger
}): Wakes {
  const timers = new Set<NodeJS.Timeout>()

  function after(ms: number): void {
    if (ms + REPORT_MS > LONGEST_MS) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      of.nudge()
    }, ms + REPORT_MS)
    timers.add(timer)
  }

  return {
    after,
    async ofBefore() {
      try {
        const now = of.clock()
        for (const { resumeWorker, scheduledAt } of await of.queue.list({ status: 'queued', limit: 1000 }))
          if (resumeWorker === of.worker && scheduledAt > now) after(scheduledAt - now)
      } catch (err) {
        of.logger[isAway(err) ? 'debug' : 'error']({ err }, 'tasks that were put off are left to the sweep')
      }
    },
    close() {
      for (const timer of timers) clearTimeout(timer)
    },
  }
}
