/** One line of a benchmark: what a peer needed, what we needed, in `unit`, measured in the same run. */
export type Row = {
  name: string
  /** null where there is nothing to compare with. */
  peer: number | null
  ours: number
  /** peer / ours; null without a peer. */
  ratio: number | null
  unit: string
  /** A number is the least `ratio`; anything else is said in words. */
  goal: number | string
}

/** What each file of this folder exports as `bench`. */
export type Bench = () => Promise<Row[]>

/** The middle value; machines are noisy, and a mean would follow the worst round. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle - 1)] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2
}

/** A row whose goal is a ratio. */
export function compare(name: string, unit: string, goal: number, peer: number[], ours: number[]): Row {
  const [peerMedian, oursMedian] = [median(peer), median(ours)]
  return { name, peer: peerMedian, ours: oursMedian, ratio: peerMedian / oursMedian, unit, goal }
}
