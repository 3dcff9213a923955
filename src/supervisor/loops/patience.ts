import type { StartPulse } from './beats.ts'

/** How long one call to a far queue takes at most: four tries of 10 s each, and 30 s before each further one. */
const CALL_MS = 3 * 60_000

/** Lets a loop that asks somebody far be watched: its calls are signs of life as long as each of them may take. */
export type Patience = {
  /** The same functions; each call of them counts as the loop's. */
  through: <T extends object>(api: T) => T
  /** Counts as a call. */
  during: <T>(work: Promise<T>) => Promise<T>
  /** A pulse that also beats when a call begins or ends, and while one is younger than `callMs`. */
  pulse: StartPulse
}

/**
 * One for each loop: what another loop does says nothing about this one. A loop is silent when it neither comes to its
 * end nor calls, and when one of its calls never comes back.
 */
export function createPatience(
  start: StartPulse,
  options: { callMs?: number; now?: () => number } = {},
): Patience {
  const { callMs = CALL_MS, now = () => performance.now() } = options
  const since = new Set<{ at: number }>()
  let heard: (() => void) | null = null

  const during = async <T>(work: Promise<T>): Promise<T> => {
    const call = { at: now() }
    since.add(call)
    heard?.()
    try {
      return await work
    } finally {
      since.delete(call)
      heard?.()
    }
  }

  return {
    during,
    through<T extends object>(api: T): T {
      const watched = Object.entries(api).map(([name, value]: [string, unknown]) => {
        if (typeof value !== 'function') return [name, value]
        const call = (...given: unknown[]): unknown => {
          const answer: unknown = Reflect.apply(value, api, given)
          return answer instanceof Promise ? during(answer) : answer
        }
        return [name, call]
      })
      return Object.fromEntries(watched) as T
    },
    pulse: (loop, work) =>
      start(loop, () => {
        const isCalling = [...since].some(({ at }) => now() - at < callMs)
        if (isCalling) return Promise.resolve()
        return new Promise<void>((resolve) => {
          const alive = () => resolve()
          heard = alive
          work().then(alive, alive)
        })
      }),
  }
}

/** What a loop asks, and how it is watched. */
export type WatchedLoop<T> = {
  api: T
  during: Patience['during']
  /** Nobody watches: empty. */
  watched: { pulse?: StartPulse }
}

/** For a loop that asks `api` in its own steps; where that is far, with patience. */
export function watchLoop<T extends object>(
  api: T,
  pulse: StartPulse | undefined,
  isFar: boolean,
): WatchedLoop<T> {
  if (pulse === undefined) return { api, during: (work) => work, watched: {} }
  if (!isFar) return { api, during: (work) => work, watched: { pulse } }
  const patience = createPatience(pulse)
  return { api: patience.through(api), during: patience.during, watched: { pulse: patience.pulse } }
}
