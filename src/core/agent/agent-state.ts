/**
 * What an agent is doing. `complete`, `error` and `timeout` are decided, `exited` and `lost` happened;
 * none of these five is ever left. `unknown`: nothing tells, and nothing is guessed.
 */
export const AGENT_STATES = [
  'spawning',
  'initializing',
  'working',
  'waiting',
  'limited',
  'complete',
  'error',
  'timeout',
  'exited',
  'lost',
  'unknown',
] as const
export type AgentState = (typeof AGENT_STATES)[number]

/** What a waiting agent waits for. */
export type WaitKind = 'permission' | 'question' | 'plan' | 'dialog'

/** What moves the state machine. */
export type Cue =
  /** The window exists. */
  | 'opened'
  /** The agent does something: a prompt accepted, a tool called, text streaming. */
  | 'active'
  /** Someone has to answer. */
  | 'asked'
  /** The account's usage limit ends the turn. */
  | 'limit'
  | 'done'
  | 'failed'
  | 'deadline'
  /** The process ended by itself. */
  | 'exited'
  /** It is to end for a reason from outside: a drain, a cancel, a budget. */
  | 'ended'
  /** The window is gone and nothing says how the process ended. */
  | 'lost'
  /** Hooks, session file, title and screen say nothing, for too long. */
  | 'unclear'

const ENDINGS = {
  done: 'complete',
  failed: 'error',
  deadline: 'timeout',
  exited: 'exited',
  ended: 'exited',
  lost: 'lost',
} as const

const MOVES: Record<AgentState, Partial<Record<Cue, AgentState>>> = {
  spawning: { opened: 'initializing', active: 'working', asked: 'waiting', ...ENDINGS },
  initializing: { active: 'working', asked: 'waiting', limit: 'limited', unclear: 'unknown', ...ENDINGS },
  working: { active: 'working', asked: 'waiting', limit: 'limited', unclear: 'unknown', ...ENDINGS },
  waiting: { active: 'working', asked: 'waiting', limit: 'limited', ...ENDINGS },
  limited: { active: 'working', limit: 'limited', ...ENDINGS },
  unknown: { active: 'working', asked: 'waiting', limit: 'limited', ...ENDINGS },
  complete: {},
  error: {},
  timeout: {},
  exited: {},
  lost: {},
}

/** The state after `cue`, or null where the cue means nothing in this state. */
export function advance(state: AgentState, cue: Cue): AgentState | null {
  return MOVES[state][cue] ?? null
}

/** True when the attempt is over and its agent has to go. */
export function isOver(state: AgentState): boolean {
  return Object.keys(MOVES[state]).length === 0
}
