import { z } from 'zod'
import { AGENT_STATES } from '../core/agent/agent-state.ts'
import { TASK_STATUSES } from '../core/task/task.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

/** Queries of `GET /api/agents`, `/api/systems` and `/api/workers`. */
export const AgentFilter = z.strictObject({
  project: z.string().min(1).max(40).optional(),
  ...paged(['started_at', '-started_at', 'project', '-project']),
})
export const SystemFilter = z.strictObject(paged(['id', '-id']))
export const WorkerFilter = z.strictObject(paged(['worker', '-worker', 'seen_at', '-seen_at']))

/** An agent that works now, or waits for a person. `started_at` is ISO 8601 in UTC. */
export const AgentJson = z
  .object({
    task_id: z.string(),
    attempt: z.int(),
    project: z.string(),
    state: z.enum(AGENT_STATES).nullable(),
    reason: z.string().nullable(),
    window: z.string().nullable(),
    dir: z.string().nullable(),
    claude_session_id: z.string().nullable(),
    waiting: z.boolean(),
    tokens: z.object({ input: z.number(), output: z.number() }).nullable(),
    started_at: at.nullable(),
  })
  .meta({ id: 'Agent' })
export type AgentJson = z.output<typeof AgentJson>

/** Query of `GET /api/usage`; without `from` since the last midnight of the daemon's time zone. */
export const UsageFilter = z.strictObject({
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  project: z.string().min(1).max(40).optional(),
})

/** `GET /api/usage`: what was spent, most expensive model first; `cost_usd` null where a price is not known. */
export const UsageJson = z.object({
  from: at,
  to: at,
  models: z.array(
    z.object({
      model: z.string(),
      tokens: z.number(),
      cost_usd: z.number().nullable(),
      messages: z.int(),
    }),
  ),
})
export type UsageJson = z.output<typeof UsageJson>

/** A fleet with its own queue. */
export const SystemJson = z
  .object({ id: z.string(), queued: z.int(), running: z.int() })
  .meta({ id: 'System' })
export type SystemJson = z.output<typeof SystemJson>

/** A daemon as the queue knows it. */
export const WorkerJson = z
  .object({
    worker: z.string(),
    host: z.string(),
    version: z.string(),
    /** How many agents it runs at once, and ran at its last heartbeat; for a caller of some projects, runs of theirs. */
    capacity: z.int(),
    running: z.int(),
    /** Roles it takes; null: any. */
    roles: z.array(z.string()).nullable(),
    labels: z.array(z.string()),
    /** Its directories by project. */
    projects: z.record(z.string(), z.string()),
    /** It gets nothing new. */
    draining: z.boolean(),
    /** Its last heartbeat, by the clock of the queue, and how long ago that was by the same clock. */
    seen_at: at,
    silent_ms: z.int().min(0),
    this_daemon: z.boolean(),
  })
  .meta({ id: 'Worker' })
export type WorkerJson = z.output<typeof WorkerJson>

/** Body of `POST /internal/kill-agent`. */
export const KillAgentBody = z.strictObject({
  task: z.string().min(1).max(64),
  reason: z.string().max(1000).optional(),
})

/** Query of `GET /internal/agent-status`. */
export const AgentStatusFilter = z.strictObject({ task: z.string().min(1).max(64) })

/** Reply of `POST /internal/spawn-agent`; `window` is null when the agent has not begun within ten seconds. */
export const SpawnedJson = z.object({
  task: z.string(),
  attempt: z.int(),
  window: z.string().nullable(),
  status: z.enum(TASK_STATUSES),
})
export type SpawnedJson = z.output<typeof SpawnedJson>

/** Reply of `POST /internal/kill-agent`. */
export const KilledJson = z.object({
  task: z.string(),
  reply: z.enum(['cancelled', 'requested', 'already_final']),
})
export type KilledJson = z.output<typeof KilledJson>
