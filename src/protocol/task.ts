import { z } from 'zod'
import { AGENT_STATES, type AgentState } from '../core/agent/agent-state.ts'
import { TASK_SORTS } from '../core/task/task-list.ts'
import { TASK_STATUSES, type ListedTask, type Task } from '../core/task/task.ts'
import { PendingQuestion } from './answer.ts'
import { paged } from './list.ts'
import { ProjectName } from './project.ts'
import { TaskResult, WorkspaceJson } from './result.ts'
import { at, toIso } from './time.ts'

/**
 * Query of `GET /api/tasks`. In the order of their priority there are only tasks that are queued, in the order of
 * their end only those that are over.
 */
export const TaskFilter = z.strictObject({
  status: z.enum(TASK_STATUSES).optional(),
  project: ProjectName.optional(),
  /** The id of a task: only older ones; not beside an order of their priority or end. */
  before: z.string().min(1).max(64).optional(),
  ...paged(TASK_SORTS, { limit: 50 }),
})

/** A task on the wire: a row of the queue plus its agent. Times are ISO 8601 in UTC. */
export const TaskJson = z
  .object({
    id: z.string(),
    status: z.enum(TASK_STATUSES),
    project: z.string(),
    prompt: z.string(),
    role: z.string().nullable(),
    model: z.string().nullable(),
    priority: z.int(),
    attempt: z.int(),
    worker: z.string().nullable(),
    agent_state: z.enum(AGENT_STATES).nullable(),
    /** One sentence; for a queued task why it waits (`trust: …`, `slots: …`, `memory: …`), or null. */
    state_reason: z.string().nullable(),
    dedupe_key: z.string().nullable(),
    timeout_s: z.number().nullable(),
    permission_mode: z.string().nullable(),
    depends_on: z.array(z.string()),
    labels: z.array(z.string()),
    max_tokens: z.number().nullable(),
    max_cost_usd: z.number().nullable(),
    in_place: z.boolean().nullable(),
    source: z.string(),
    /** Not started before this time. */
    scheduled_at: at,
    result: TaskResult.nullable(),
    error: z.string().nullable(),
    created_at: at,
    started_at: at.nullable(),
    finished_at: at.nullable(),
    dir: z.string().nullable(),
    window: z.string().nullable(),
    claude_session_id: z.string().nullable(),
    waiting_for: PendingQuestion.nullable(),
    /** Tokens of the agent that works now, so far; null when none does. The result has them per model. */
    tokens: z.object({ input: z.number(), output: z.number() }).nullable(),
    /** Where the agent works or worked, as it is now; null before it has a place. */
    workspace: WorkspaceJson.nullable(),
  })
  .meta({ id: 'Task' })
export type TaskJson = z.output<typeof TaskJson>

const { result: _result, workspace: _workspace, ...LISTED } = TaskJson.shape

/**
 * A task of a list: without its result and its place, and of its prompt only the first 200 characters. One task,
 * `GET /api/tasks/:id`, has all.
 */
export const TaskSummaryJson = z.object(LISTED).meta({ id: 'TaskSummary' })
export type TaskSummaryJson = z.output<typeof TaskSummaryJson>

/** `POST /api/tasks`: the task, and what a person should know before it starts, one sentence each. */
export const NewTaskJson = z
  .object({ ...TaskJson.shape, notices: z.array(z.string()) })
  .meta({ id: 'NewTask' })
export type NewTaskJson = z.output<typeof NewTaskJson>

/** `GET /api/tasks/:id/screen`: the window's text; null when the task has no window and none was kept. */
export const ScreenJson = z.object({ screen: z.string().nullable() })
export type ScreenJson = z.output<typeof ScreenJson>

/** What is known of a task's agent, as lists tell it. */
type ListedAgent = {
  state: AgentState | null
  reason: string | null
  dir: string | null
  window: string | null
  claudeSessionId: string | null
  waitingFor: PendingQuestion | null
  tokens: { input: number; output: number } | null
}

export function toTaskJson(
  task: Task,
  agent: ListedAgent & { workspace: z.output<typeof WorkspaceJson> | null },
): TaskJson {
  return { ...toTaskSummaryJson(task, agent), result: task.result, workspace: agent.workspace }
}

export function toTaskSummaryJson(task: ListedTask, agent: ListedAgent): TaskSummaryJson {
  return {
    id: task.id,
    status: task.status,
    project: task.project,
    prompt: task.prompt,
    role: task.role,
    model: task.model,
    priority: task.priority,
    attempt: task.attempt,
    worker: task.worker,
    agent_state: agent.state,
    state_reason: agent.reason,
    dedupe_key: task.dedupeKey,
    timeout_s: task.timeoutS,
    permission_mode: task.permissionMode,
    depends_on: task.dependsOn,
    labels: task.labels,
    max_tokens: task.maxTokens,
    max_cost_usd: task.maxCostUsd,
    in_place: task.inPlace,
    source: task.source,
    scheduled_at: toIso(task.scheduledAt),
    error: task.error,
    created_at: toIso(task.createdAt),
    started_at: task.startedAt === null ? null : toIso(task.startedAt),
    finished_at: task.finishedAt === null ? null : toIso(task.finishedAt),
    dir: agent.dir,
    window: agent.window,
    claude_session_id: agent.claudeSessionId,
    waiting_for: agent.waitingFor,
    tokens: agent.tokens,
  }
}
