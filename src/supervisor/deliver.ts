import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import type { Queue } from '../core/queue.ts'
import type { Outbox } from '../store/outbox.ts'
import type { StartPulse } from './beats.ts'

/** Brings the outcomes in the outbox to the queue, each until the queue has answered. */
export type Delivery = { nudge: () => void; close: () => Promise<void> }

const RETRY_MS = 5000

/** Resending is safe: the queue answers `duplicate` to a report it has. `onDelivered` hears of each answer. */
export function createDelivery(options: {
  outbox: Outbox
  queue: Queue
  clock: Clock
  logger: Logger
  onDelivered: (taskId: string) => void
  pulse?: StartPulse
}): Delivery {
  const { outbox, queue, clock, logger } = options
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | null = null
  let closed = false
  const pulse = options.pulse?.('delivery', () => running)

  async function deliver(): Promise<void> {
    for (const report of outbox.pending(100)) {
      const reply = await queue.finish(report)
      if (reply === 'stale' || reply === 'not_yours' || reply === 'unknown') {
        logger.warn(
          { taskId: report.taskId, attempt: report.attempt, code: reply.toUpperCase() },
          'the queue refused a report',
        )
      }
      outbox.markDelivered(report, clock())
      options.onDelivered(report.taskId)
    }
  }

  function nudge(): void {
    if (closed) return
    running = running.then(deliver).catch((err: unknown) => {
      logger.error({ err }, 'an outcome could not be delivered; it is tried again')
      if (!closed) timer ??= setTimeout(retry, RETRY_MS)
    })
  }

  function retry(): void {
    timer = null
    nudge()
  }

  return {
    nudge,
    async close() {
      pulse?.close()
      await running
      closed = true
      if (timer !== null) clearTimeout(timer)
    },
  }
}
