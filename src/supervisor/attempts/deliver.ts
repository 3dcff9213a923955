import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { CcmError } from '../../core/errors.ts'
import type { FinishReply, Queue, Report } from '../../core/task/queue.ts'
import type { Outbox } from '../../store/outbox.ts'
import type { StartPulse } from '../loops/beats.ts'

/** Brings the outcomes in the outbox to the queue, each until the queue has answered. */
export type Delivery = { nudge: () => void; close: () => Promise<void> }

const RETRY_MS = 5000
const AT_ONCE = 100
/** What every other report would be answered too. */
const ALL_ALIKE = new Set(['SUPABASE_UNREACHABLE', 'SUPABASE_KEY', 'STALE_LEASE', 'DISK_FULL'])

const isOfAll = (error: unknown): boolean => error instanceof CcmError && ALL_ALIKE.has(error.code)

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
      const { answered, refusal } = await send(waiting)
      for (const [{ taskId, attempt }, reply] of answered) {
        if (reply === 'stale' || reply === 'not_yours' || reply === 'unknown') {
          logger.warn({ taskId, attempt, code: reply.toUpperCase() }, 'the queue refused a report')
        }
      }
      const leases = answered.map(([report]) => report)
      outbox.markDelivered(leases, clock())
      for (const { taskId } of leases) options.onDelivered(taskId)
      if (refusal !== null && answered.length === 0) throw refusal
    }
  }

  /**
   * All in one step. Where the queue does not take them together each goes alone: the one that it cannot take stays, and
   * holds up no other. Throws where the queue is away.
   */
  async function send(reports: Report[]): Promise<{ answered: [Report, FinishReply][]; refusal: unknown }> {
    const answered: [Report, FinishReply][] = []
    let refusal: unknown = null
    if (reports.length > 1) {
      try {
        const replies = await queue.finishMany(reports)
        for (const [index, reply] of replies.entries()) {
          const report = reports[index]
          if (report !== undefined) answered.push([report, reply])
        }
        return { answered, refusal }
      } catch (error) {
        if (isOfAll(error)) throw error
      }
    }
    for (const report of reports) {
      try {
        answered.push([report, await queue.finish(report)])
      } catch (error) {
        refusal = error
        if (isOfAll(error)) break
      }
    }
    return { answered, refusal }
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
