import { z } from 'zod'
import type { AgentState } from '../core/agent-state.ts'

/** An agent that works now, or waits for a person. `started_at` is ISO 8601 in UTC. */
export type AgentJson = {
  task_id: string
  attempt: number
  project: string
  state: AgentState | null
  reason: string | null
  window: string | null
  dir: string | null
  claude_session_id: string | null
  waiting: boolean
  tokens: { input: number; output: number } | null
  started_at: string | null
}

/** Query of `GET /api/usage`; without `from` since the last midnight of the daemon's time zone. */
export const UsageFilter = z.strictObject({
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  project: z.string().min(1).max(40).optional(),
})

/** `GET /api/usage`: what was spent, most expensive model first; `cost_usd` null where a price is not known. */
export type UsageJson = {
  from: string
  to: string
  models: { model: string; tokens: number; cost_usd: number | null; messages: number }[]
}

/** A fleet with its own queue. */
export type SystemJson = { id: string; queued: number; running: number }

/** Body of `POST /internal/kill-agent`. */
export const KillAgentBody = z.strictObject({
  task: z.string().min(1).max(64),
  reason: z.string().max(1000).optional(),
})

/** Query of `GET /internal/agent-status`. */
export const AgentStatusFilter = z.strictObject({ task: z.string().min(1).max(64) })

/** Reply of `POST /internal/spawn-agent`; `window` is null when the agent has not begun within ten seconds. */
export type SpawnedJson = { task: string; attempt: number; window: string | null; status: string }
