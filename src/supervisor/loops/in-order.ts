import type { Logger } from 'pino'

/** Brings what is stored to where it belongs, one after the other; the oldest one holds up those behind it. */
export type InOrder = {
  nudge: () => void
  /** Resolves when the work that was asked for until now is over. */
  settled: () => Promise<void>
  /** Begins nothing more; resolves when what runs is over. */
  close: () => Promise<void>
}

/** The time may be far off, and the clock be set. */
const LONGEST_MS = 60_000
const BROKEN_MS = 5000

/**
 * `step` deals with the oldest entry. It answers 0 where it settled it, how long to wait where that one has to, and
 * null where there is none. What it throws is logged, and it is called again in 5 s.
 */
export function createInOrder(step: () => Promise<number | null>, logger: Logger): InOrder {
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | null = null
  let closed = false

  async function go(): Promise<void> {
    for (;;) {
      if (closed) return
      const waitMs = await step()
      if (waitMs === null) return
      if (waitMs > 0) return later(waitMs)
    }
  }

  function later(waitMs: number): void {
    if (closed) return
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(nudge, Math.min(waitMs, LONGEST_MS)).unref()
  }

  function nudge(): void {
    if (closed) return
    running = running.then(go).catch((err: unknown) => {
      logger.error({ err }, 'what waits for the queue could not be dealt with; it is tried again')
      later(BROKEN_MS)
    })
  }

  return {
    nudge,
    settled: async () => running,
    async close() {
      closed = true
      if (timer !== null) clearTimeout(timer)
      await running
    },
  }
}
