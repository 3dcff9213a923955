import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What `work` answers or throws within `limitMs`, else what `late` answers or throws; the work goes on all the same.
 * Keeps no process alive.
 */
export async function inTime<T, L>(limitMs: number, work: Promise<T>, late: () => L): Promise<T | L> {
  const over = new AbortController()
  try {
    const limit = sleep(limitMs, undefined, { ref: false, signal: over.signal })
    return await Promise.race([work, limit.then(late)])
  } finally {
    over.abort()
  }
}
