import { advance, isOver, type AgentState, type Cue, type WaitKind } from './agent-state.ts'
import { type Ask, askOf, describeAsk, isSameAsk, waitKindOf, withoutAsk } from './ask.ts'
import type { EvidenceSource } from './attempt.ts'
import { clip } from './clip.ts'
import { PERMISSION_DECIDED, type HookPayload } from './hook-event.ts'

/** What the supervisor believes of one agent. A value: every function here returns a new one. */
export type View = {
  state: AgentState
  waitKind: WaitKind | null
  reason: string
  stateAt: number
  /** The last sign that the agent gets somewhere: a hook event, or new text on its screen. */
  activeAt: number
  /** Prompts that Claude Code said it accepted. */
  prompts: number
  /** How the last turn ended; null while a turn runs. */
  turnEnd: TurnEnd | null
  /** What the permission dialogs on screen are about, oldest first. */
  asks: Ask[]
  /** Requests that a rule has decided and whose own record has not come yet: the two travel apart. */
  decided: Ask[]
  /** Ids of tool calls that run now. */
  openTools: string[]
  transcriptPath: string | null
  /** What session file, title and screen say against the state, and since when. */
  doubt: { seen: Seen['kind']; since: number } | null
}

/** A turn ended: with a last message, or with an API error. */
export type TurnEnd =
  | { kind: 'stop'; message: string; background: string[] }
  | { kind: 'failure'; error: string; message: string }

/** A change of state with its proof; the watcher stores it before it acts on it. */
export type Change = {
  from: AgentState
  to: AgentState
  waitKind: WaitKind | null
  cue: Cue
  reason: string
  source: EvidenceSource
  evidence: string
}

export type Step = { view: View; change: Change | null }

/** What was read of an agent between two hook events, by the strongest source that said anything. */
export type Seen = {
  kind: 'initializing' | 'idle' | 'working' | 'waiting' | 'error' | 'limited' | 'unknown'
  source: EvidenceSource
  evidence: string
  /** Of the dialog on the screen, where `kind` is waiting. */
  waitKind: WaitKind | null
  /** The screen has other text than at the last look, counters and spinner aside. */
  moved: boolean
}

/** Evidence weaker than a hook must stand this long before it overrules what the hooks said. */
export const DOUBT_MS = 2500

export function initialView(at: number): View {
  return {
    state: 'spawning',
    waitKind: null,
    reason: 'The window is being opened.',
    stateAt: at,
    activeAt: at,
    prompts: 0,
    turnEnd: null,
    asks: [],
    decided: [],
    openTools: [],
    transcriptPath: null,
    doubt: null,
  }
}

/** Moves the state if the table allows it; a move to the same state only refreshes its reason. */
export function move(
  view: View,
  at: number,
  cue: Cue,
  why: { reason: string; source: EvidenceSource; evidence: string; waitKind?: WaitKind },
): Step {
  const to = advance(view.state, cue)
  if (to === null) return { view, change: null }
  const waitKind = to === 'waiting' ? (why.waitKind ?? 'dialog') : null
  const same = to === view.state && waitKind === view.waitKind
  const next = {
    ...view,
    state: to,
    waitKind,
    reason: why.reason,
    doubt: null,
    stateAt: same ? view.stateAt : at,
  }
  if (same && to !== 'waiting') return { view: next, change: null }
  if (same && why.reason === view.reason) return { view: next, change: null }
  const { reason, source, evidence } = why
  return { view: next, change: { from: view.state, to, waitKind, cue, reason, source, evidence } }
}

/** Takes one hook event in. Total: an unknown or incomplete event only counts as activity. */
export function onHook(before: View, payload: HookPayload, at: number): Step {
  if (isOver(before.state)) return { view: before, change: null }
  const name = payload.hook_event_name ?? ''
  const view = {
    ...before,
    activeAt: at,
    doubt: null,
    transcriptPath: before.transcriptPath ?? payload.transcript_path ?? null,
  }
  const evidence = digestOf(payload)
  const active = (next: View, reason: string) =>
    move(next, at, 'active', { reason, source: 'hook', evidence })
  switch (name) {
    case 'UserPromptSubmit':
      return active(
        { ...view, prompts: view.prompts + 1, turnEnd: null, asks: [], decided: [] },
        'It works on the prompt.',
      )
    case 'PreToolUse': {
      const next = { ...view, turnEnd: null, openTools: [...view.openTools, payload.tool_use_id ?? ''] }
      // A second tool may start while the first waits for permission: only an answer ends the wait.
      return view.state === 'waiting'
        ? { view: next, change: null }
        : active(next, `It calls ${toolOf(payload)}.`)
    }
    case 'PostToolUse':
    case 'PostToolUseFailure':
    case 'PermissionDenied': {
      const openTools = view.openTools.filter((id) => id !== payload.tool_use_id)
      const asks = withoutAsk(view.asks, askOf(payload))
      const decided = withoutAsk(view.decided, askOf(payload))
      const next = { ...view, openTools, asks, decided, turnEnd: null }
      if (view.state === 'waiting' && asks.length > 0) return asking(next, at, evidence)
      // Nobody answered through us, or the wait would be over by now.
      const byKey = view.state === 'waiting' && asks.length < view.asks.length
      return active(
        next,
        byKey
          ? `Answered in the window: ${describeAsk(askOf(payload))}`
          : `${payload.tool_name ?? 'A tool'} ended.`,
      )
    }
    case 'PermissionRequest': {
      const decided = withoutAsk(view.decided, askOf(payload))
      if (decided.length < view.decided.length) return { view: { ...view, decided }, change: null }
      return asking({ ...view, asks: [...view.asks, askOf(payload)] }, at, evidence)
    }
    case PERMISSION_DECIDED:
      return onDecision(view, payload, at, evidence)
    case 'Stop': {
      if (payload.agent_id !== undefined) return { view, change: null }
      const background = (payload.background_tasks ?? []).map(
        (task) => task.description ?? task.type ?? 'task',
      )
      const message = payload.last_assistant_message ?? ''
      const turnEnd: TurnEnd = { kind: 'stop', message, background }
      // A subagent in the background may still ask.
      if (background.length > 0 && view.asks.length > 0) return { view: { ...view, turnEnd }, change: null }
      const next = { ...view, asks: [], openTools: [], turnEnd }
      if (background.length === 0) return endOfTurn(next, active)
      return active(next, `It waits for its background work: ${clip(background.join(', '), 120)}.`)
    }
    case 'StopFailure': {
      const message = payload.last_assistant_message ?? ''
      const turnEnd: TurnEnd = { kind: 'failure', error: payload.error ?? 'unknown', message }
      return endOfTurn({ ...view, asks: [], openTools: [], turnEnd }, active)
    }
    case 'SessionStart':
    case 'SessionEnd':
    case 'Notification':
      return { view, change: null }
    default:
      return { view, change: null }
  }
}

/** A rule of the project answered, or left it to a person. */
function onDecision(view: View, payload: HookPayload, at: number, evidence: string): Step {
  const ask = askOf(payload)
  const rule = String(payload['rule'])
  const asks = withoutAsk(view.asks, ask)
  const why = { source: 'hook', evidence } as const
  if (payload['decision'] === 'ask') {
    const [first] = view.asks
    if (first === undefined || !isSameAsk(first, ask)) return { view, change: null }
    const reason = `The rule ${rule} leaves it to a person: ${describeAsk(ask)}`
    return move(view, at, 'asked', { reason, waitKind: waitKindOf(ask.tool), ...why })
  }
  // What a person decided has moved the state already, except where the past is read again.
  const isOld = asks.length === view.asks.length && payload['by'] !== 'rule'
  if (isOld) return { view, change: null }
  if (asks.length === view.asks.length)
    return { view: { ...view, decided: [...view.decided, ask] }, change: null }
  const next = { ...view, asks, turnEnd: null }
  if (asks.length > 0) return asking(next, at, evidence)
  const by = payload['by'] === 'rule' ? `the rule ${rule}` : 'a person'
  const reason = `${payload['decision'] === 'granted' ? 'Allowed' : 'Denied'} by ${by}: ${describeAsk(ask)}`
  return move(next, at, 'active', { reason, ...why })
}

/** A turn that is over waits for no dialog, even where the answer to it was never heard of. */
function endOfTurn(view: View, active: (view: View, reason: string) => Step): Step {
  return view.state === 'waiting' ? active(view, 'Its turn ended.') : { view, change: null }
}

function asking(view: View, at: number, evidence: string): Step {
  const ask = view.asks[0] as Ask
  const waitKind = waitKindOf(ask.tool)
  const reason = {
    permission: 'asks for permission',
    question: 'asks a question',
    plan: 'shows a plan',
    dialog: '',
  }[waitKind]
  return move(view, at, 'asked', {
    reason: `It ${reason}: ${describeAsk(ask)}`,
    source: 'hook',
    evidence,
    waitKind,
  })
}

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

function agrees(view: View, seen: Seen): boolean {
  switch (view.state) {
    case 'spawning':
      return true
    case 'initializing':
      // A prompt that was accepted is confirmed by its hook only; idle is where a start passes through.
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

function toolOf(payload: HookPayload): string {
  return describeAsk(askOf(payload))
}

/** The part of a payload that proves something, as one line of JSON of at most 600 characters. */
function digestOf(payload: HookPayload): string {
  const {
    hook_event_name,
    tool_name,
    tool_input,
    error,
    last_assistant_message,
    background_tasks,
    prompt_id,
  } = payload
  return clip(
    JSON.stringify({
      hook_event_name,
      tool_name,
      tool_input,
      error,
      last_assistant_message,
      background_tasks,
      prompt_id,
    }),
    600,
  )
}
