/** Everything that must never stand still: Node's event loop itself, and the daemon's loops in it. */
export const LOOPS = [
  'event loop',
  'sweep',
  'dispatcher',
  'ingest',
  'delivery',
  'leases',
  'schedules',
  'inbox',
  'hand-over',
  'teller',
  'subscription',
] as const
export type Loop = (typeof LOOPS)[number]

/** Signs of life, in memory that another thread can read while this one hangs. */
export type Beats = {
  /** One counter a loop, 32 bits each, in the order of LOOPS; 0: not watched. */
  buffer: SharedArrayBuffer
  beat: (loop: Loop) => void
  /** From here the loop's silence means nothing: it has ended. */
  rest: (loop: Loop) => void
  /** Watched loops without a beat for longer than that, in milliseconds of the monotonic clock. */
  silent: (forMs: number) => Loop[]
}

/** A loop that is closed with its owner; see `createPulse`. */
export type Pulse = { close: () => void }

/** How a loop is given its pulse: `work` resolves once everything that is queued in the loop now is over. */
export type StartPulse = (loop: Loop, work: () => Promise<unknown>) => Pulse

export function createBeats(now: () => number = () => performance.now()): Beats {
  const buffer = new SharedArrayBuffer(4 * LOOPS.length)
  const counters = new Int32Array(buffer)
  const last = new Map<Loop, number>()
  return {
    buffer,
    beat(loop) {
      Atomics.add(counters, LOOPS.indexOf(loop), 1)
      last.set(loop, now())
    },
    rest(loop) {
      Atomics.store(counters, LOOPS.indexOf(loop), 0)
      last.delete(loop)
    },
    silent: (forMs) => [...last].filter(([, at]) => now() - at > forMs).map(([loop]) => loop),
  }
}

/**
 * Lets a loop beat every `everyMs`, also while it has nothing to do: each beat passes through the loop's own
 * queue, so a promise in it that never settles silences it. The first comes at once. Closing ends the watch.
 */
export function createPulse(beats: Beats, loop: Loop, work: () => Promise<unknown>, everyMs: number): Pulse {
  let closed = false
  let out = false
  const look = () => {
    if (out) return
    out = true
    const heard = () => {
      out = false
      if (!closed) beats.beat(loop)
    }
    work().then(heard, heard)
  }
  // Watched from here, also when the very first pass never comes back.
  beats.beat(loop)
  look()
  const timer = setInterval(look, everyMs)
  return {
    close() {
      closed = true
      clearInterval(timer)
      beats.rest(loop)
    },
  }
}
