import { z } from 'zod'
import { AGENT_STATES } from '../core/agent/agent-state.ts'
import type { StateChange } from '../core/agent/attempt.ts'
import { TaskJson } from './task.ts'
import { at, toIso } from './time.ts'

/** A change of state with what proved it; its fields are StateChange's (core/agent/attempt.ts). */
export const StateChangeJson = z
  .object({
    id: z.int(),
    task_id: z.string(),
    attempt: z.int(),
    at,
    from: z.enum(AGENT_STATES),
    to: z.enum(AGENT_STATES),
    cue: z.string(),
    reason: z.string(),
    source: z.enum(['hook', 'session-file', 'title', 'screen', 'transcript', 'process', 'supervisor']),
    evidence: z.string(),
  })
  .meta({ id: 'StateChange' })
export type StateChangeJson = z.output<typeof StateChangeJson>

/** `GET /api/tasks/:id/explain`: every change of state with its proof, oldest first. */
export const ExplainJson = z.object({ task: TaskJson, chain: z.array(StateChangeJson) })
export type ExplainJson = z.output<typeof ExplainJson>

export function toStateChangeJson({ taskId, ...change }: StateChange): StateChangeJson {
  return { ...change, task_id: taskId, at: toIso(change.at) }
}
