import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isAway } from './shared/away.ts'

/** Joins the queue, now or as soon as it answers. */
export type Join = {
  /** Resolves once it has joined, or has done what can be done without the queue. Throws what is no outage. */
  begin: () => Promise<void>
  close: () => Promise<void>
}

/** `join` may be called again after it was broken off by an outage. */
export function createJoin(options: {
  join: () => Promise<void>
  /** What is done once while the queue does not answer. */
  meanwhile: () => Promise<void>
  retryMs: number
  logger: Logger
}): Join {
  const { join, logger } = options
  const closing = new AbortController()
  const { signal } = closing
  let running: Promise<void> = Promise.resolve()

  async function untilJoined(): Promise<void> {
    for (;;) {
      await sleep(options.retryMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      try {
        await join()
        logger.info('joined the queue')
        return
      } catch (err) {
        // A key that was revoked meanwhile can be given back: agents at work are no reason to end.
        if (!isAway(err)) logger.error({ err }, 'the queue refuses this worker; it is tried again')
      }
    }
  }

  return {
    async begin() {
      try {
        await join()
      } catch (error) {
        if (!isAway(error)) throw error
        await options.meanwhile()
        running = untilJoined()
      }
    },
    async close() {
      closing.abort()
      await running
    },
  }
}
