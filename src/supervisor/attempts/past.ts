import type { StoredPast } from '../../agent/heard.ts'
import type { Attempt, StateChange } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { isOwn, type RecordedEvent } from '../../core/record/hook-kind.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { HookEvents } from '../../store/hook-events.ts'

/** What is stored of an attempt that is taken back; its spool was read before. */
export function pastOf(
  attempt: Attempt,
  of: { hookEvents: HookEvents; attempts: Attempts; clock: Clock },
): StoredPast {
  const { state, waitKind, stateReason: reason, stateAt, startedAt, pausedMs } = attempt
  const changes = of.attempts.chain(attempt.taskId).filter((change) => change.attempt === attempt.attempt)
  const now = of.clock()
  return {
    past: ownOf(of.hookEvents.ofAttempt(attempt)),
    busyMs: Math.max(0, now - startedAt - pausedMs - waitedFor(changes, now)),
    stored: { state, waitKind, reason, stateAt },
  }
}

/** What others put into its spool moves nothing, also when the past is read again. */
function* ownOf(events: Iterable<RecordedEvent>): Iterable<RecordedEvent> {
  for (const event of events) if (isOwn(event.suspect)) yield event
}

/** How long an attempt waited for people in all, by its stored changes. */
function waitedFor(changes: StateChange[], now: number): number {
  return changes.reduce((sum, change, index) => {
    const until = changes[index + 1]?.at ?? now
    return change.to === 'waiting' ? sum + (until - change.at) : sum
  }, 0)
}
