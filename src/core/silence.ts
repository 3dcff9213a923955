/** What a watcher knows of counters that should go up: their last values, and for how many ticks each stood still. */
export type Silence = { values: number[]; ticks: number[] }

/**
 * The silence after one more tick of the watcher's own clock. Ticks are counted, not time: a process that was
 * stopped, or a machine that slept, gave its watcher no ticks either. A counter at 0 is not watched.
 */
export function hear(before: Silence | null, values: number[]): Silence {
  return {
    values,
    ticks: values.map((value, index) =>
      value === 0 || before?.values[index] !== value ? 0 : (before.ticks[index] ?? 0) + 1,
    ),
  }
}
