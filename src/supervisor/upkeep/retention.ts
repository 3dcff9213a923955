import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { messageOf } from '../../core/errors.ts'
import type { Queue } from '../../core/task/queue.ts'

/** Deletes what is over for longer than it is kept. */
export type Retention = { close: () => Promise<void> }

const EVERY_MS = 3_600_000
/** Between two portions of a long past, so that it holds nobody up. */
const PAUSE_MS = 200

/** Starts at once and looks again each hour; a failure waits for the next look. */
export function createRetention(options: {
  queue: Pick<Queue, 'prune'>
  /** How long a final task is kept. */
  keepMs: number
  logger: Logger
  /** Waits; may reject once the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<unknown>
}): Retention {
  const { wait = (ms, signal) => sleep(ms, undefined, { signal, ref: false }) } = options
  const closing = new AbortController()
  const { signal } = closing
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      const pruned = await options.queue.prune(options.keepMs).catch((err: unknown) => {
        options.logger.warn({ err }, `old tasks could not be deleted: ${messageOf(err)}`)
        return 0
      })
      await wait(pruned > 0 ? PAUSE_MS : EVERY_MS, signal).catch(() => undefined)
    }
  }
  const running = loop()
  return {
    close: async () => {
      closing.abort()
      await running
    },
  }
}
