import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import type { FinishReply, Queue, Report } from '../core/queue.ts'
import type { Outbox } from '../store/outbox.ts'
import type { StartPulse } from './beats.ts'

/** Brings the outcomes in the outbox to the queue, each until the queue has answered. */
export type Delivery = { nudge: () => void; close: () => Promise<void> }

const RETRY_MS = 5000
const AT_ONCE = 100
/** What a single report would be answered too. */
const ALL_ALIKE = new Set(['SUPABASE_UNREACHABLE', 'STALE_LEASE', 'DISK_FULL'])

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
    for (;;) {
      const waiting = outbox.pending(AT_ONCE)
      if (waiting.length === 0) return
      const replies = await send(waiting)
      const answered = waiting.slice(0, replies.length)
      for (const [index, { taskId, attempt }] of answered.entries()) {
        const reply = replies[index]
        if (reply === 'stale' || reply === 'not_yours' || reply === 'unknown') {
          logger.warn({ taskId, attempt, code: reply.toUpperCase() }, 'the queue refused a report')
        }
      }
      outbox.markDelivered(answered, clock())
      for (const { taskId } of answered) options.onDelivered(taskId)
    }
  }

  /** All in one step. Where the queue does not take one of them, the first goes alone: nothing behind it holds it up. */
  async function send(reports: Report[]): Promise<FinishReply[]> {
    const [first] = reports
    if (first === undefined) return []
    if (reports.length > 1) {
      try {
        return await queue.finishMany(reports)
      } catch (error) {
        if (error instanceof CcmError && ALL_ALIKE.has(error.code)) throw error
      }
    }
    return [await queue.finish(first)]
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
