import type { AgentState, WaitKind } from './agent-state.ts'

/**
 * How far an attempt got; each phase is written before the act it announces.
 * claimed: the queue gave it to us. starting: a window may exist. started: its window's ids are known.
 * settled: the outcome is decided and in the outbox. reported: the queue answered.
 */
export type AttemptPhase = 'claimed' | 'starting' | 'started' | 'settled' | 'reported'

/** One run of one task by one agent, as the local database knows it. Times are milliseconds since 1970. */
export type Attempt = {
  taskId: string
  attempt: number
  phase: AttemptPhase
  dir: string
  /** Folder of the attempt: prompt, settings, start script, exit status. */
  folder: string
  claudeSessionId: string
  /** It goes on with the session of an earlier attempt. */
  resumed: boolean
  /** CLAUDE_CONFIG_DIR of the agent; null: the user's own. */
  configDir: string | null
  permissionMode: string
  /** tmux identity: ids restart at %0 with a new server, so they count only together with it. */
  serverPid: number | null
  serverStartedAt: number | null
  windowId: string | null
  paneId: string | null
  windowName: string | null
  state: AgentState
  waitKind: WaitKind | null
  /** One sentence about `state`. */
  stateReason: string
  stateAt: number
  startedAt: number
  settledAt: number | null
  /**
   * Time that counts for no deadline, besides what it waited: it had no window yet, a person was at it, or the machine
   * slept.
   */
  pausedMs: number
  /** How it ended (`AgentEnd.kind`); null before. */
  endKind: string | null
}

/** One step of the chain that `ccm explain` prints: a change of state with what proved it. */
export type StateChange = {
  id: number
  taskId: string
  attempt: number
  at: number
  from: AgentState
  to: AgentState
  cue: string
  reason: string
  source: EvidenceSource
  /** The proof itself: a hook payload's digest, the session file's status, the last lines of the screen. */
  evidence: string
}

/** A change to be recorded, and what its attempt shows from then on: since when it is in that state, what it waits for. */
export type NewStateChange = Omit<StateChange, 'id'> & { stateAt: number; waitKind: WaitKind | null }

/** Where evidence came from, strongest first; `supervisor` is what we did or decided ourselves. */
export type EvidenceSource =
  'hook' | 'session-file' | 'title' | 'screen' | 'transcript' | 'process' | 'supervisor'
