import type { AgentState, WaitKind } from '../core/agent/agent-state.ts'
import type { Attempt, AttemptPhase, EvidenceSource, StateChange } from '../core/agent/attempt.ts'

/** An attempt as its table has it. */
export type AttemptRow = {
  task_id: string
  attempt: number
  phase: string
  dir: string
  folder: string
  claude_session_id: string
  config_dir: string | null
  permission_mode: string
  server_pid: number | null
  server_started_at: number | null
  window_id: string | null
  pane_id: string | null
  window_name: string | null
  state: string
  wait_kind: string | null
  state_reason: string
  state_at: number
  started_at: number
  settled_at: number | null
  paused_ms: number
  resumed: number
  end_kind: string | null
}

/** A change of state as its table has it. */
export type ChangeRow = {
  id: number
  task_id: string
  attempt: number
  at: number
  from_state: string
  to_state: string
  cue: string
  reason: string
  source: string
  evidence: string
}

/** Every column of it. */
export function toRow(attempt: Attempt): AttemptRow {
  return {
    task_id: attempt.taskId,
    attempt: attempt.attempt,
    phase: attempt.phase,
    dir: attempt.dir,
    folder: attempt.folder,
    claude_session_id: attempt.claudeSessionId,
    config_dir: attempt.configDir,
    permission_mode: attempt.permissionMode,
    server_pid: attempt.serverPid,
    server_started_at: attempt.serverStartedAt,
    window_id: attempt.windowId,
    pane_id: attempt.paneId,
    window_name: attempt.windowName,
    state: attempt.state,
    wait_kind: attempt.waitKind,
    state_reason: attempt.stateReason,
    state_at: attempt.stateAt,
    started_at: attempt.startedAt,
    settled_at: attempt.settledAt,
    paused_ms: attempt.pausedMs,
    resumed: attempt.resumed ? 1 : 0,
    end_kind: attempt.endKind,
  }
}

/** Null for no row. */
export function toAttempt(row: AttemptRow | undefined): Attempt | null {
  return row === undefined ? null : fromRow(row)
}

/** What `toRow` was given. */
export function fromRow(row: AttemptRow): Attempt {
  return {
    taskId: row.task_id,
    attempt: row.attempt,
    phase: row.phase as AttemptPhase,
    dir: row.dir,
    folder: row.folder,
    claudeSessionId: row.claude_session_id,
    configDir: row.config_dir,
    permissionMode: row.permission_mode,
    serverPid: row.server_pid,
    serverStartedAt: row.server_started_at,
    windowId: row.window_id,
    paneId: row.pane_id,
    windowName: row.window_name,
    state: row.state as AgentState,
    waitKind: row.wait_kind as WaitKind | null,
    stateReason: row.state_reason,
    stateAt: row.state_at,
    startedAt: row.started_at,
    settledAt: row.settled_at,
    pausedMs: row.paused_ms,
    resumed: row.resumed === 1,
    endKind: row.end_kind,
  }
}

/** The change with the id that it was given. */
export function toChange(row: ChangeRow): StateChange {
  return {
    id: row.id,
    taskId: row.task_id,
    attempt: row.attempt,
    at: row.at,
    from: row.from_state as AgentState,
    to: row.to_state as AgentState,
    cue: row.cue,
    reason: row.reason,
    source: row.source as EvidenceSource,
    evidence: row.evidence,
  }
}
