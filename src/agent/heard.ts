import type { Logger } from 'pino'
import { isOver, type AgentState, type WaitKind } from '../core/agent/agent-state.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import { initialView, move, type Change, type Step, type View } from '../core/agent/view.ts'
import { onHook } from '../core/agent/watch.ts'

/** What is stored of an agent that is taken back after a restart. */
export type StoredPast = {
  /** Its hook events, oldest first. */
  past: Iterable<HookEvent>
  busyMs: number
  /** The state as it was stored last, and since when it was in it. */
  stored: { state: AgentState; waitKind: WaitKind | null; reason: string; stateAt: number }
}

/** One that brings out a fault of ours says nothing: kept, it would be the last one that this agent ever said. */
export function hear(view: View, { payload, at }: HookEvent, logger: Logger): Step {
  try {
    return onHook(view, payload, at)
  } catch (err) {
    logger.error({ err, event: payload.hook_event_name }, 'a hook event could not be understood')
    return { view, change: null }
  }
}

/**
 * Where an agent's past has led, how often it was asked the neutral `question` by then, and whether that is the newest
 * prompt of which an event tells. The events are the truth about it, so its states are computed again, and not stored
 * again. That it waits for a person may have been told by no event: a question in prose, a dialog on the screen. That is
 * put among them where it belongs by its time.
 */
export function hearPast(
  { past, stored }: Pick<StoredPast, 'past' | 'stored'>,
  { startedAt, now, question, logger }: { startedAt: number; now: number; question: string; logger: Logger },
): { view: View; nudges: number; isAsked: boolean } {
  const why = { reason: 'It was taken back.', source: 'supervisor', evidence: '' } as const
  let { view } = move(initialView(startedAt), startedAt, 'opened', why)
  let nudges = 0
  let isAsked = false
  // A time to come is of a clock that was set back since, and tells nothing.
  let waits = stored.state === 'waiting' && stored.stateAt <= now
  const putWait = () => {
    if (waits) view = { ...view, ...stored }
    waits = false
  }
  for (const event of past) {
    if (event.at > stored.stateAt) putWait()
    view = hear(view, event, logger).view
    if (event.payload.hook_event_name !== 'UserPromptSubmit') continue
    isAsked = event.payload.prompt === question
    if (isAsked) nudges++
  }
  putWait()
  return { view, nudges, isAsked }
}

/** What came while no daemon ran has moved the state: the change that the record lacks, or null. */
export function changeSince(stored: StoredPast['stored'], view: View): Change | null {
  const { state: to, stateAt, waitKind, reason } = view
  if (isOver(stored.state) || (to === stored.state && waitKind === stored.waitKind)) return null
  const cue = to === 'waiting' ? 'asked' : to === 'working' ? 'active' : 'opened'
  const evidence = 'Its hook events were read again after a restart.'
  return { from: stored.state, to, stateAt, waitKind, cue, reason, source: 'supervisor', evidence }
}
