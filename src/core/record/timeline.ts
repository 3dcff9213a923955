/** What an agent spent its time on. Times are ms since 1970, durations ms. */
export type Timeline = {
  /** By time, longest first; subagents' calls count. */
  tools: { tool: string; calls: number; failed: number; totalMs: number }[]
  /** By path, most touched first; at most FILES_MAX. */
  files: { path: string; reads: number; edits: number; writes: number }[]
  /** How many files there are in all. */
  fileCount: number
  /** At most CALLS_MAX, longest first. */
  longest: {
    id: number
    tool: string
    what: string | null
    startedAt: number
    durationMs: number
    failed: boolean
  }[]
  /** Waits for people, oldest first; `endedAt` null: it still waits. At most WAITS_MAX, the newest. */
  waits: { startedAt: number; endedAt: number | null; reason: string }[]
  /** How long it waited in all, until now where it still waits. */
  waitedMs: number
  /** Hook events that could not be written, as far as is known: what is above lacks them. */
  lostEvents: number
}

export const FILES_MAX = 50
export const CALLS_MAX = 10
export const WAITS_MAX = 50

/** The waits in the changes of one task, which come oldest first and may be of several attempts. */
export function waitsOf(
  changes: Iterable<{ at: number; to: string; attempt: number; reason: string }>,
  now: number,
): Pick<Timeline, 'waits' | 'waitedMs'> {
  const waits: Timeline['waits'] = []
  let waitingIn: number | null = null
  for (const change of changes) {
    const isWait = change.to === 'waiting'
    // Several changes of one wait: a second request, or its dialog left to the window.
    if (isWait && waitingIn === change.attempt) continue
    const last = waits.at(-1)
    if (waitingIn !== null && last !== undefined) last.endedAt = change.at
    if (isWait) waits.push({ startedAt: change.at, endedAt: null, reason: change.reason })
    waitingIn = isWait ? change.attempt : null
  }
  const waitedMs = waits.reduce((sum, wait) => sum + Math.max(0, (wait.endedAt ?? now) - wait.startedAt), 0)
  return { waits: waits.slice(-WAITS_MAX), waitedMs }
}
