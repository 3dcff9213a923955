/**
 * How long to wait before the next try, in whole milliseconds: 5 s, doubled for each of the `tries` that were
 * made before, +-25 % so that what failed together does not return together, and at most one hour.
 * `random` gives numbers from 0 up to 1.
 */
export function backoffMs(tries: number, random: () => number): number {
  const jitter = 0.75 + random() * 0.5
  return Math.round(Math.min(5_000 * 2 ** tries * jitter, 3_600_000))
}
