import { tmpdir } from 'node:os'
import { attemptFiles } from '../../agent/launch.ts'
import type { LiveUsage } from '../../agent/live-usage.ts'
import { lostFilesOf } from '../../agent/lost-files.ts'
import type { TranscriptPlace } from '../../agent/transcript-end.ts'
import type { Watcher } from '../../agent/watcher.ts'
import type { AgentEnd } from '../../agent/agent-end.ts'
import { isOver } from '../../core/agent/agent-state.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import type { Task } from '../../core/task/task.ts'
import type { Spool } from '../ingest/reading.ts'

/** One attempt that this daemon runs or took back. `watcher` is null until its window exists. */
export type RunningAgent = {
  task: Task
  attempt: Attempt
  watcher: Watcher | null
  /** Set when the attempt has to end before its window exists. */
  endEarly: AgentEnd | null
  /** How the attempt ended, once that is decided. */
  ended: AgentEnd | null
  /** Why processes of it are still there although it ended; null: none are, as far as is known. */
  left: string | null
  usage: LiveUsage | null
  /** Hook events that came before there was a watcher. */
  early: HookEvent[]
  startedAt: number
  /** Aborts what is done before the window exists. */
  stop: AbortController
}

/** An attempt of which nothing but its record exists. */
export function newAgent(task: Task, attempt: Attempt): RunningAgent {
  const { startedAt } = attempt
  return {
    task,
    attempt,
    watcher: null,
    endEarly: null,
    ended: null,
    left: null,
    usage: null,
    early: [],
    startedAt,
    stop: new AbortController(),
  }
}

/** What was its own is free. Where its lease ran out meanwhile, the next attempt of its task may be there already. */
export function forgetAgent(
  agents: Map<string, RunningAgent>,
  leave: (taskId: string) => void,
  agent: RunningAgent,
): void {
  const { id } = agent.task
  if (agents.get(id) !== agent) return
  agents.delete(id)
  leave(id)
}

/** Whether it has one of the slots for agents: one that waits for a person has not. */
export function occupiesSlot({ watcher }: RunningAgent): boolean {
  const state = watcher?.view().state ?? 'spawning'
  return state !== 'waiting' && !isOver(state)
}

/** An agent has most of its memory long before that. */
const MEMORY_SETTLES_MS = 30_000

/** Whether it may still take much more memory than it has. */
export function isGrowing({ startedAt }: RunningAgent, now: number): boolean {
  return now - startedAt < MEMORY_SETTLES_MS
}

/** Where the hook events of an attempt arrive. */
export function spoolOf({ taskId, attempt, folder, claudeSessionId }: Attempt): Spool {
  const lostFiles = lostFilesOf({ taskId, attempt, folder }, tmpdir())
  return { taskId, attempt, folder: attemptFiles(folder).spool, claudeSessionId, lostFiles }
}

/** Where Claude Code writes down what the agent does, as far as that is known by now. */
export function transcriptOf({ watcher, attempt }: RunningAgent): TranscriptPlace {
  const { configDir, claudeSessionId: sessionId } = attempt
  const transcripts = watcher?.view().transcripts ?? []
  return { path: transcripts.at(-1) ?? null, configDir, sessionId, earlier: transcripts.slice(0, -1) }
}
