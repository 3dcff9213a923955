import { z } from 'zod'
import type { AgentState, WaitKind } from '../core/agent-state.ts'
import type { StateChange } from '../core/attempt.ts'
import type { RecordedEvent } from '../core/hook-kind.ts'
import { PERMISSION_MODES, TASK_STATUSES, promptFault, type Task, type TaskResult } from '../core/task.ts'
import type { WorkspaceJson } from '../core/workspace.ts'
import { EVENT_FILTER } from './records.ts'

/** What a project, role or schedule may be called. */
export const ProjectName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
const toolRule = z.string().min(1).max(1000)

/** Body of `POST /api/tasks`. One of `dir` and `project` is needed; `dir` registers a project if it is new. */
export const NewTaskBody = z
  .strictObject({
    prompt: z.string().superRefine((prompt, context) => {
      const fault = promptFault(prompt)
      if (fault !== null) context.addIssue({ code: 'custom', message: fault })
    }),
    dir: z.string().min(1).max(4096).optional(),
    project: ProjectName.optional(),
    role: ProjectName.optional(),
    model: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[\w.:@/[\]-]+$/, 'is not a model id')
      .optional(),
    /** Left out: the project's. */
    priority: z.int().min(-100).max(100).optional(),
    timeout_s: z
      .int()
      .min(1)
      .max(7 * 86_400)
      .optional(),
    permission_mode: z.enum(PERMISSION_MODES).optional(),
    allowed_tools: z.array(toolRule).max(200).default([]),
    disallowed_tools: z.array(toolRule).max(200).default([]),
    dedupe_key: z.string().min(1).max(200).optional(),
    /** Ids, or their beginnings, of tasks that have to succeed first. */
    depends_on: z
      .array(z.string().regex(/^[\w-]{1,64}$/, 'is not the id of a task'))
      .max(50)
      .default([]),
    /** ISO 8601 with a zone; a time that has passed means now, as `scheduled_at` of the answer shows. */
    scheduled_at: z.iso
      .datetime({ offset: true, error: 'must be a time such as 2030-01-31T07:00:00Z' })
      .optional(),
    /** A worker must have all of them. */
    labels: z
      .array(
        z.string().regex(/^[a-z0-9][a-z0-9._:-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, ".", "_", ":", "-"'),
      )
      .max(20)
      .default([]),
    /** The task's budget over all its attempts. */
    max_tokens: z.int().min(1).optional(),
    max_cost_usd: z.number().min(0.01).max(1_000_000).optional(),
    /** Works in the directory itself, one agent at a time; left out: as the project's setting says. */
    in_place: z.boolean().optional(),
    source: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
      .default('api'),
    /** Trusts the directory: its own hooks, servers and settings may run. */
    trust: z.boolean().default(false),
  })
  .refine((body) => body.dir !== undefined || body.project !== undefined, { message: 'needs dir or project' })
export type NewTaskBody = z.input<typeof NewTaskBody>

/** The `id` of what an answer is for (`waiting_for.id`); without it, it is for whatever is asked. */
const ask = z.string().max(64).optional()

export const ApproveBody = z.strictObject({ ask })
export const DenyBody = z.strictObject({ ask, reason: z.string().max(10_000).optional() })
export const SendBody = z.strictObject({
  ask,
  text: z
    .string()
    .min(1)
    .max(100 * 1024),
})
export const RetryBody = z.strictObject({})
export const CancelBody = z.strictObject({ reason: z.string().max(1000).optional() })
export const NewProjectBody = z.strictObject({
  dir: z.string().min(1).max(4096),
  name: ProjectName.optional(),
  trust: z.boolean().default(false),
})
export const TaskFilter = z.strictObject({
  status: z.enum(TASK_STATUSES).optional(),
  project: ProjectName.optional(),
  /** The id of a task: only older ones, to page on. */
  before: z.string().min(1).max(64).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(50),
})

/** Query of `GET /api/tasks/:id/events`: oldest first, those with an id above `after`. */
export const EventFilter = z.strictObject({
  ...EVENT_FILTER,
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(5000).default(1000),
})
/** Query of `GET /api/events`; `replay=1` needs `task` and starts at that task's first event. */
export const LiveFilter = z.strictObject({
  task: z.string().min(1).max(64).optional(),
  replay: z.enum(['0', '1']).default('0'),
  /** Only hook events of this kind or phase; changes of state and of tasks come all the same. */
  kind: EVENT_FILTER.kind,
})
/** `keep`: agents go on in their windows and the next start takes them over. `end`: their tasks are released. */
export const ShutdownBody = z.strictObject({ agents: z.enum(['keep', 'end']).default('keep') })

/** What a waiting agent wants to know, for `ccm show` and for whoever answers. */
export type PendingQuestion = {
  /** The same for the same request only: an answer that names it is refused once something else is asked. */
  id: string
  kind: WaitKind
  /** The tool that asks, `Bash` say; null for a dialog that no hook announced. */
  tool: string | null
  /** The exact command, diff, plan or question as text; for a dialog its screen. */
  detail: string
  /** Choices of a question, in order; [] when any text will do. */
  options: string[]
}

/** A task on the wire: a row of the queue plus its agent. Times are ISO 8601 in UTC. */
export type TaskJson = {
  id: string
  status: Task['status']
  project: string
  prompt: string
  role: string | null
  model: string | null
  priority: number
  attempt: number
  worker: string | null
  agent_state: AgentState | null
  /** One sentence; for a queued task why it waits (`trust: …`, `slots: …`, `memory: …`), or null. */
  state_reason: string | null
  dedupe_key: string | null
  timeout_s: number | null
  permission_mode: string | null
  depends_on: string[]
  labels: string[]
  max_tokens: number | null
  max_cost_usd: number | null
  in_place: boolean | null
  source: string
  /** Not started before this time. */
  scheduled_at: string
  result: TaskResult | null
  error: string | null
  created_at: string
  started_at: string | null
  finished_at: string | null
  dir: string | null
  window: string | null
  claude_session_id: string | null
  waiting_for: PendingQuestion | null
  /** Tokens of the agent that works now, so far; null when none does. The result has them per model. */
  tokens: { input: number; output: number } | null
  /** Where the agent works or worked, as it is now; null before it has a place. */
  workspace: WorkspaceJson | null
}

/** `POST /api/tasks`: the task, and what a person should know before it starts, one sentence each. */
export type NewTaskJson = TaskJson & { notices: string[] }

/** `GET /api/status`. */
export type StatusJson = {
  pid: number
  port: number
  home: string
  version: string
  /** What the queue calls this daemon. */
  worker: string
  uptime_s: number
  /** Living agents. */
  agents: number
  max_concurrent: number
  queued: number
  running: number
  /** Why nothing is claimed right now, if so. */
  holds: string[]
  tmux: 'ok' | 'down'
  /** Socket of the tmux server that holds the agents' windows, for `tmux -S`. */
  tmux_socket: string
  claude: { path: string; version: string } | { problem: string }
  /** Hook events of names nobody knows (by name), that could not be read, and that could not be written. */
  events: { unknown: Record<string, number>; unreadable: number; lost: number }
  /** What the last start found and did about it, one sentence each. */
  /** Who starts the daemon again when it dies: `shell` is what `ccm start` left; null: nobody. */
  kept_by: 'systemd' | 'launchd' | 'shell' | null
  found_at_start: string[]
}

/** A hook event on the wire: Claude Code's own payload, redacted and bounded, with what ccm knows around it (docs/events.md). */
export type HookEventJson = RecordedEvent['payload'] & {
  id: number
  task_id: string
  attempt: number
  at: string
  hook_event_name: string
  kind: RecordedEvent['kind']
  phase: RecordedEvent['phase']
  tool: string | null
  path: string | null
  started: string
  exit_code: number | null
  detail: RecordedEvent['detail']
  /** Bytes of the payload as it came. */
  size: number
  truncated: boolean
  suspect: RecordedEvent['suspect']
}

export type StateChangeJson = Omit<StateChange, 'at' | 'taskId'> & { at: string; task_id: string }

/** `GET /health`, without a token and so in words only. `degraded`: it serves, but a part is not `ok`. */
export type HealthJson = { status: 'ok' | 'degraded'; [part: string]: string }

/** `POST /api/tasks/:id/retry`: `queued_already` means that it waits anyway. */
export type RetryJson = { reply: 'queued' | 'queued_already'; task: TaskJson }

/** `POST /api/tasks/:id/cancel`: `requested` means that its agent is being ended now. */
export type CancelJson = { reply: 'cancelled' | 'requested' | 'already_final'; task: TaskJson }

/** `GET /api/tasks/:id/explain`: every change of state with its proof, oldest first. */
export type ExplainJson = { task: TaskJson; chain: StateChangeJson[] }

/** `GET /api/tasks/:id/screen`: the window's text; null when the task has no window and none was kept. */
export type ScreenJson = { screen: string | null }

/** `POST /api/shutdown`. */
export type ShutdownJson = { stopping: true; agents: 'keep' | 'end' }

/** Every error answer (RFC 9457). `code` is stable; `detail` is a sentence for a person. */
export type ProblemJson = {
  title: string
  status: number
  detail: string
  code: string
  remedy?: string
  /** The first field that is wrong, as a path. */
  field?: string
  /** When the same may succeed; also in the header Retry-After. */
  retry_after_s?: number
  /** Under this id the daemon's log tells more. */
  request_id: string
}

/**
 * `GET /api/events[?task=ID]` (SSE): `event: hook` (HookEventJson), `event: state` (StateChangeJson),
 * `event: task` (TaskJson, after each change of its status or state). Ids are cursors for Last-Event-ID.
 */
export type LiveEvent =
  | { event: 'hook'; data: HookEventJson }
  | { event: 'state'; data: StateChangeJson }
  | { event: 'task'; data: TaskJson }

export function toTaskJson(
  task: Task,
  agent: {
    state: AgentState | null
    reason: string | null
    dir: string | null
    window: string | null
    claudeSessionId: string | null
    waitingFor: PendingQuestion | null
    tokens: { input: number; output: number } | null
    workspace: WorkspaceJson | null
  },
): TaskJson {
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
    result: task.result,
    error: task.error,
    created_at: toIso(task.createdAt),
    started_at: task.startedAt === null ? null : toIso(task.startedAt),
    finished_at: task.finishedAt === null ? null : toIso(task.finishedAt),
    dir: agent.dir,
    window: agent.window,
    claude_session_id: agent.claudeSessionId,
    waiting_for: agent.waitingFor,
    tokens: agent.tokens,
    workspace: agent.workspace,
  }
}

export function toHookEventJson(event: RecordedEvent): HookEventJson {
  const { id, attempt, kind, phase, tool, path, detail, size, truncated, suspect } = event
  return {
    ...event.payload,
    id,
    task_id: event.taskId,
    attempt,
    at: toIso(event.at),
    hook_event_name: event.hookEventName,
    kind,
    phase,
    tool,
    path,
    started: toIso(event.started),
    exit_code: event.exitCode,
    detail,
    size,
    truncated,
    suspect,
  }
}

export function toStateChangeJson({ taskId, ...change }: StateChange): StateChangeJson {
  return { ...change, task_id: taskId, at: toIso(change.at) }
}

function toIso(at: number): string {
  return new Date(at).toISOString()
}
