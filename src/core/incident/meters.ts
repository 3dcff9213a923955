import { createCounter, createTiming } from './meter.ts'

/** From a loop's few milliseconds to an agent's minute. */
const BOUNDS_S = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
/** How long tasks wait goes up to a day. */
const WAIT_BOUNDS_S = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400]

/** What is counted as it happens, since the daemon began. Each part of it goes to whoever sees that happen. */
export type Meters = ReturnType<typeof createMeters>

export function createMeters() {
  return {
    claims: createCounter<'project'>(),
    /** From when a task could be claimed until it was. */
    wait: createTiming<never>(WAIT_BOUNDS_S),
    /** From the claim until the agent works. */
    start: createTiming<never>(BOUNDS_S),
    /** `outcome` in the queue's words. */
    attemptsEnded: createCounter<'project' | 'outcome'>(),
    leasesLost: createCounter<never>(),
    sweep: createTiming<never>(BOUNDS_S),
    ingest: createTiming<never>(BOUNDS_S),
    hookEvents: createCounter<never>(),
    /** `route` is a pattern, `status` a class such as `2xx`. */
    requests: createCounter<'route' | 'method' | 'status'>(),
    requestTime: createTiming<'route'>(BOUNDS_S),
  }
}
