import type { Outcome, Report } from './queue.ts'
import type { Task } from './task.ts'

/** What an attempt with a session leaves to the next one. */
export type LeftSession = {
  outcome: Outcome
  /** `AgentEnd.kind`. */
  kind: string
  /** It went on with the session of an earlier attempt. */
  resumed: boolean
  /** The model answered in this attempt. */
  progressed: boolean
  /** Its transcript is there and holds a prompt. */
  hasTranscript: boolean
}

/** Ends that came from outside: what the session holds has nothing to do with them. */
const FROM_OUTSIDE = ['network', 'overloaded', 'rate_limit', 'usage_limit', 'auth', 'lost', 'drain']
/** Ends that the session itself may have caused. */
const MAYBE_ITS_OWN = ['crash', 'server', 'internal']

/**
 * Whether the next attempt goes on with the session. An end that the session may have caused, and that came right
 * after a resume, counts as its fault: its history is poisoned, and the next attempt starts without it.
 */
export function isWorthResuming({ outcome, kind, resumed, progressed, hasTranscript }: LeftSession): boolean {
  if (outcome !== 'failed' && outcome !== 'released') return false
  if (!hasTranscript) return false
  if (FROM_OUTSIDE.includes(kind)) return true
  return MAYBE_ITS_OWN.includes(kind) && !(resumed && !progressed)
}

/** A request that is refused right after a resume is the history's fault, not the task's: without it, it may work. */
export function isPoisoned({
  kind,
  resumed,
  progressed,
}: Omit<LeftSession, 'outcome' | 'hasTranscript'>): boolean {
  return kind === 'invalid' && resumed && !progressed
}

/** How long a task stays reserved for its worker beyond the time it may start again. */
const RESERVED_MS = 15 * 60_000
/** The longest backoff of the queue: a failed task is reserved for that long too. */
const BACKOFF_MAX_MS = 3_600_000

/** Keeps a session for the next attempt. */
export function reserve(claudeSessionId: string, retryAfterMs: number | null): Report['resume'] {
  return { claudeSessionId, forMs: (retryAfterMs ?? BACKOFF_MAX_MS) + RESERVED_MS }
}

/** Keeps a task's session for the next attempt when this one never touched it. */
export function resumeAgain({ claudeSessionId }: Task, retryAfterMs: number | null): Report['resume'] {
  return claudeSessionId === null ? null : reserve(claudeSessionId, retryAfterMs)
}

/** A usage limit ends for all tasks at once; they begin again up to a tenth of the wait, at most 30 s, apart. */
export function limitJitterMs(waitMs: number, random: () => number): number {
  return Math.round(random() * Math.min(30_000, 1000 + waitMs / 10))
}
