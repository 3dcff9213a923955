import { advance, type AgentState, type Cue, type WaitKind } from './agent-state.ts'
import type { Ask } from './ask.ts'
import type { EvidenceSource } from './attempt.ts'

/** What the supervisor believes of one agent. A value: every function here returns a new one. */
export type View = {
  state: AgentState
  waitKind: WaitKind | null
  reason: string
  stateAt: number
  /** The last sign that the agent gets somewhere: a hook event, or new text on its screen. */
  activeAt: number
  /** Prompts that Claude Code said it accepted, or that what followed proves. */
  prompts: number
  /** How the last turn ended; null while a turn runs. */
  turnEnd: TurnEnd | null
  /** What the permission dialogs on screen are about, oldest first. */
  asks: Ask[]
  /** Requests that a rule has decided and whose own record has not come yet: the two travel apart. */
  decided: Ask[]
  /** Ids of tool calls that run now. */
  openTools: string[]
  /** Of every session it worked in, oldest first: a person may clear one or resume another in the window. */
  transcripts: string[]
  /** The session it works in now, as its hooks name it. */
  claudeSessionId: string | null
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
  /** Since when it is in that state; a new reason alone begins none. */
  stateAt: number
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
    transcripts: [],
    claudeSessionId: null,
    doubt: null,
  }
}

/** Nothing is its to do: it waits for a person, or its turn is over and no work of its own will wake it. */
export function isIdle({ state, turnEnd }: Pick<View, 'state' | 'turnEnd'>): boolean {
  if (state === 'waiting') return true
  return turnEnd !== null && !(turnEnd.kind === 'stop' && turnEnd.background.length > 0)
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
  const { stateAt } = next
  return { view: next, change: { from: view.state, to, stateAt, waitKind, cue, reason, source, evidence } }
}
