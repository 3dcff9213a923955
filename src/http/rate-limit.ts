import type { Clock } from '../core/clock.ts'

/** Counts requests per caller; `take` answers 0, or how many milliseconds to wait. */
export type RateLimit = { take: (caller: string) => number }

/** Beyond this many callers the one that was quiet longest is forgotten: it is given a full bucket again. */
const CALLERS_MAX = 10_000
/** How many seconds of requests a caller may save up. */
const BURST_S = 10

/** A bucket for each caller, refilled with `perSecond` requests a second. */
export function createRateLimit(perSecond: number, clock: Clock): RateLimit {
  const buckets = new Map<string, { left: number; at: number }>()
  const most = perSecond * BURST_S
  return {
    take(caller) {
      const now = clock()
      const bucket = buckets.get(caller) ?? { left: most, at: now }
      // Taken out and put back: the map's order is that of the last request.
      buckets.delete(caller)
      // A clock that was set back gives nothing and takes nothing.
      const left = Math.min(most, bucket.left + (Math.max(0, now - bucket.at) / 1000) * perSecond)
      const granted = left >= 1
      buckets.set(caller, { left: granted ? left - 1 : left, at: now })
      const oldest = buckets.size > CALLERS_MAX ? buckets.keys().next().value : undefined
      if (oldest !== undefined) buckets.delete(oldest)
      return granted ? 0 : Math.ceil(((1 - left) / perSecond) * 1000)
    },
  }
}
