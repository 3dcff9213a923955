/** One series of a metric: its labels and its number. */
export type Series = { labels: Record<string, string>; value: number }

/** Counts what happened, by its labels. */
export type Counter<L extends string> = {
  add: (labels: Record<L, string>, by?: number) => void
  series: () => Series[]
}

/** Counts how often something took how many seconds at most, by its labels. */
export type Timing<L extends string> = {
  observe: (labels: Record<L, string>, seconds: number) => void
  series: () => { labels: Record<string, string>; counts: number[]; sum: number }[]
  /** Upper bounds; `counts` has one number more, for what took longer than all of them. */
  bounds: readonly number[]
}

/** Beyond so many series of one metric, what is new counts as `other`: nobody fills the memory with names. */
export const SERIES_MAX = 200
const OTHER = 'other'

/** A counter of plain numbers. */
export function createCounter<L extends string>(): Counter<L> {
  const counts = new Map<string, Series>()
  return {
    add(labels, by = 1) {
      seriesOf(counts, labels, () => ({ value: 0 })).value += by
    },
    series: () => [...counts.values()],
  }
}

/** A timing of plain numbers; `bounds` ascend. */
export function createTiming<L extends string>(bounds: readonly number[]): Timing<L> {
  const timings = new Map<string, { labels: Record<string, string>; counts: number[]; sum: number }>()
  return {
    bounds,
    observe(labels, seconds) {
      const timing = seriesOf(timings, labels, () => ({
        counts: Array.from({ length: bounds.length + 1 }, () => 0),
        sum: 0,
      }))
      const index = bounds.findIndex((bound) => seconds <= bound)
      const at = index === -1 ? bounds.length : index
      timing.counts[at] = (timing.counts[at] ?? 0) + 1
      timing.sum += seconds
    },
    series: () => [...timings.values()],
  }
}

function seriesOf<T extends object>(
  known: Map<string, T & { labels: Record<string, string> }>,
  labels: Record<string, string>,
  empty: () => T,
): T {
  const key = JSON.stringify(Object.values(labels))
  const found = known.get(key)
  if (found !== undefined) return found
  // One is for the others.
  const full = known.size >= SERIES_MAX - 1
  const kept = full ? Object.fromEntries(Object.keys(labels).map((name) => [name, OTHER])) : { ...labels }
  const keptKey = full ? JSON.stringify(Object.values(kept)) : key
  const other = known.get(keptKey)
  if (other !== undefined) return other
  const made = { ...empty(), labels: kept }
  known.set(keptKey, made)
  return made
}
