import type { Logger } from 'pino'
import { isOver, type AgentState, type WaitKind } from '../core/agent/agent-state.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import { initialView, isIdle, move, type Change, type Step, type View } from '../core/agent/view.ts'
import { onHook } from '../core/agent/watch.ts'

/** What is stored of an agent that is taken back after a restart. */
export type StoredPast = {
  /** Its hook events, oldest first. */
  past: Iterable<HookEvent>
  /** Its stored changes, oldest first: what no event told of it, an answer by key say, they tell. */
  changes: { at: number; to: AgentState }[]
  /** Time that counts for no deadline, besides what it waited. */
  pausedMs: number
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
 * Where an agent's past has led, how long it was busy, how often it was asked the neutral `question` by then, and whether
 * that is the newest prompt of which an event tells. The events are the truth about it, so its states are computed again,
 * and not stored again. That it waits for a person, or is at its usage limit, may have been told by no event: a question in
 * prose, a dialog on the screen. That is put among them where it belongs by its time.
 */
export function hearPast(
  { past, changes, pausedMs, stored }: StoredPast,
  { startedAt, now, question, logger }: { startedAt: number; now: number; question: string; logger: Logger },
): { view: View; busyMs: number; nudges: number; isAsked: boolean } {
  const why = { reason: 'It was taken back.', source: 'supervisor', evidence: '' } as const
  let { view } = move(initialView(startedAt), startedAt, 'opened', why)
  let nudges = 0
  let isAsked = false
  const idleTime = createIdleTime(changes)
  // A time to come is of a clock that was set back since, and tells nothing.
  let waits = ['waiting', 'limited'].includes(stored.state) && stored.stateAt <= now
  const putWait = () => {
    if (waits) view = { ...view, ...stored }
    waits = false
  }
  for (const event of past) {
    if (event.at > stored.stateAt) putWait()
    const wasIdle = isIdle(view)
    view = hear(view, event, logger).view
    // Only news: it may work since an answer of which no event told.
    if (isIdle(view) !== wasIdle) idleTime.told(event.at, isIdle(view))
    if (event.payload.hook_event_name !== 'UserPromptSubmit') continue
    isAsked = event.payload.prompt === question
    if (isAsked) nudges++
  }
  putWait()
  const busyMs = Math.max(0, now - startedAt - pausedMs - idleTime.until(now))
  return { view, busyMs, nudges, isAsked }
}

/**
 * How long it was idle, by what events and stored changes tell in turn: changes know what no event tells, and events what
 * happened while no daemon ran. A clock that was set back may give an agent as much more time, and never less.
 */
function createIdleTime(changes: StoredPast['changes']): {
  told: (at: number, idle: boolean) => void
  until: (now: number) => number
} {
  let idleMs = 0
  let last = { at: 0, idle: false }
  let next = 0
  function turn(at: number, idle: boolean): void {
    if (last.idle) idleMs += Math.max(0, at - last.at)
    last = { at, idle }
  }
  function takeChanges(until: number): void {
    for (let change = changes[next]; change !== undefined && change.at <= until; change = changes[++next])
      turn(change.at, change.to === 'waiting')
  }
  return {
    told(at, idle) {
      takeChanges(at)
      turn(at, idle)
    },
    until(now) {
      takeChanges(Infinity)
      turn(now, false)
      return idleMs
    },
  }
}

/** What came while no daemon ran has moved the state: the change that the record lacks, or null. */
export function changeSince(stored: StoredPast['stored'], view: View): Change | null {
  const { state: to, stateAt, waitKind, reason } = view
  if (isOver(stored.state) || (to === stored.state && waitKind === stored.waitKind)) return null
  const cue = to === 'waiting' ? 'asked' : to === 'working' ? 'active' : 'opened'
  const evidence = 'Its hook events were read again after a restart.'
  return { from: stored.state, to, stateAt, waitKind, cue, reason, source: 'supervisor', evidence }
}
