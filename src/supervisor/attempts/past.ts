import type { StoredPast } from '../../agent/heard.ts'
import type { Attempt, StateChange } from '../../core/agent/attempt.ts'
import { isOwn, type RecordedEvent } from '../../core/record/hook-kind.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { HookEvents } from '../../store/hook-events.ts'

/** What is stored of an attempt that is taken back; its spool was read before. */
export function pastOf(
  attempt: Attempt,
  of: { hookEvents: HookEvents; attempts: Attempts },
): StoredPast & { changes: StateChange[] } {
  const { state, waitKind, stateReason: reason, stateAt, pausedMs } = attempt
  return {
    past: ownOf(of.hookEvents.ofAttempt(attempt)),
    changes: of.attempts.chain(attempt.taskId).filter((change) => change.attempt === attempt.attempt),
    pausedMs,
    stored: { state, waitKind, reason, stateAt },
  }
}

/** What others put into its spool moves nothing, also when the past is read again. */
function* ownOf(events: Iterable<RecordedEvent>): Iterable<RecordedEvent> {
  for (const event of events) if (isOwn(event.suspect)) yield event
}
