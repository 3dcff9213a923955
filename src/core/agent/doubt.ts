import { isOver } from './agent-state.ts'
import { describeAsk } from './ask.ts'
import { move, type Seen, type Step, type View } from './view.ts'

/** Evidence weaker than a hook must stand this long before it overrules what the hooks said. */
export const DOUBT_MS = 2500

/**
 * Takes in what session file, title and screen say. Hooks outrank it: it only moves the state where no
 * hook has spoken, or after it has contradicted the hooks for DOUBT_MS without a break.
 */
export function onSeen(before: View, seen: Seen, at: number): Step {
  if (isOver(before.state)) return { view: before, change: null }
  const view = seen.moved ? { ...before, activeAt: at } : before
  if (agrees(view, seen)) return { view: { ...view, doubt: null }, change: null }
  const since = view.doubt?.seen === seen.kind ? view.doubt.since : at
  const doubting = { ...view, doubt: { seen: seen.kind, since } }
  const patience = seen.kind === 'unknown' ? 4 * DOUBT_MS : DOUBT_MS
  if (at - since < patience) return { view: doubting, change: null }
  const { source, evidence } = seen
  switch (seen.kind) {
    case 'working': {
      const [ask] = view.asks
      const reason = ask === undefined ? 'It works again.' : `Answered in the window: ${describeAsk(ask)}`
      return move({ ...doubting, asks: [] }, at, 'active', { reason, source, evidence })
    }
    case 'waiting': {
      const waitKind = seen.waitKind ?? 'dialog'
      return move(doubting, at, 'asked', {
        reason: `A dialog is open (${waitKind}).`,
        source,
        evidence,
        waitKind,
      })
    }
    case 'limited':
      return move(doubting, at, 'limit', { reason: 'The usage limit is reached.', source, evidence })
    case 'unknown':
      return move(doubting, at, 'unclear', {
        reason: 'Nothing on the screen says what it does.',
        source,
        evidence,
      })
    case 'idle':
    case 'error':
    case 'initializing':
      // The transcript has to say how the turn ended: the watcher reads it when this doubt is old enough.
      break
  }
  return { view: doubting, change: null }
}

/** True when the agent stands idle although no hook said that its turn ended: the transcript decides. */
export function isQuietlyIdle(view: View, at: number): boolean {
  const { doubt } = view
  if (doubt === null || view.turnEnd !== null) return false
  return (doubt.seen === 'idle' || doubt.seen === 'error') && at - doubt.since >= DOUBT_MS
}

/**
 * True when an agent that was started so long ago has its prompt for all that hooks say: where their events are lost,
 * only the transcript tells whether it has.
 */
export function isUnheardStart(view: View, at: number): boolean {
  return view.state === 'initializing' && view.prompts === 0 && at - view.stateAt >= 4 * DOUBT_MS
}

function agrees(view: View, seen: Seen): boolean {
  switch (view.state) {
    case 'spawning':
      return true
    case 'initializing':
      // No screen says that a prompt was accepted; idle is where a start passes through.
      return seen.kind !== 'waiting' && seen.kind !== 'unknown'
    case 'working':
      return seen.kind === 'working' || (seen.kind === 'idle' && view.turnEnd !== null)
    case 'waiting':
      // A question asked in prose waits on an idle screen.
      return (
        seen.kind === 'waiting' || seen.kind === 'unknown' || (seen.kind === 'idle' && view.asks.length === 0)
      )
    case 'limited':
      return seen.kind !== 'working'
    case 'unknown':
      return seen.kind === 'unknown'
    case 'complete':
    case 'error':
    case 'timeout':
    case 'exited':
    case 'lost':
      return true
  }
}
