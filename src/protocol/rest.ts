import { z } from 'zod'
import { AGENT_STATES, type AgentState } from '../core/agent-state.ts'
import type { StateChange } from '../core/attempt.ts'
import { OWN, PHASES, PLAIN, type RecordedEvent } from '../core/hook-kind.ts'
import { PERMISSION_MODES, TASK_STATUSES, promptFault, type ListedTask, type Task } from '../core/task.ts'
import { TASK_SORTS } from '../core/task-list.ts'
import { paged } from './list.ts'
import { EVENT_FILTER } from './records.ts'
import { TaskResult, WorkspaceJson, at } from './result.ts'

/** What a project, role or schedule may be called. */
export const ProjectName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
const toolRule = z.string().min(1).max(1000)

/** What a task may say. */
export const Prompt = z.string().superRefine((prompt, context) => {
  const fault = promptFault(prompt)
  if (fault !== null) context.addIssue({ code: 'custom', message: fault })
})

/** Body of `POST /api/tasks`. Either `prompt` or `template` is needed; what else is set goes over the template's. One of `dir` and `project` is needed; `dir` registers a project if it is new. */
export const NewTaskBody = z
  .strictObject({
    prompt: Prompt.optional(),
    template: ProjectName.optional(),
    variables: z.record(z.string().max(40), z.union([z.string().max(50_000), z.number()])).optional(),
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
  .superRefine(({ prompt, template }, context) => {
    if ((prompt === undefined) !== (template === undefined)) return
    const message = prompt === undefined ? 'is missing' : 'must not stand beside a template'
    context.addIssue({ code: 'custom', path: ['prompt'], message })
  })
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

/** Query of `GET /api/tasks/:id/events`: those with an id above `after`. */
export const EventFilter = z.strictObject({
  ...EVENT_FILTER,
  after: z.coerce.number().int().min(0).default(0),
  ...paged(['id'], { limit: 1000, max: 5000 }),
})
/** Query of `GET /api/events`; `replay=1` needs `task` and starts at that task's first event. */
export const LiveFilter = z.strictObject({
  task: z.string().min(1).max(64).optional(),
  project: ProjectName.optional(),
  replay: z.enum(['0', '1']).default('0'),
  /** Only hook events of this kind or phase; changes of state and of tasks come all the same. */
  kind: EVENT_FILTER.kind,
})
/** `keep`: agents go on in their windows and the next start takes them over. `end`: their tasks are released. */
export const ShutdownBody = z.strictObject({ agents: z.enum(['keep', 'end']).default('keep') })

/** What a waiting agent wants to know, for `ccm show` and for whoever answers. */
export const PendingQuestion = z
  .object({
    /** The same for the same request only: an answer that names it is refused once something else is asked. */
    id: z.string(),
    kind: z.enum(['permission', 'question', 'plan', 'dialog']),
    /** The tool that asks, `Bash` say; null for a dialog that no hook announced. */
    tool: z.string().nullable(),
    /** The exact command, diff, plan or question as text; for a dialog its screen. */
    detail: z.string(),
    /** Choices of a question, in order; [] when any text will do. */
    options: z.array(z.string()),
  })
  .meta({ id: 'PendingQuestion' })
export type PendingQuestion = z.output<typeof PendingQuestion>

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

/** `GET /api/status`. */
export const StatusJson = z
  .object({
    pid: z.int(),
    port: z.int(),
    home: z.string(),
    version: z.string(),
    /** What the queue calls this daemon. */
    worker: z.string(),
    uptime_s: z.number(),
    /** Living agents. */
    agents: z.int(),
    max_concurrent: z.int(),
    queued: z.int(),
    running: z.int(),
    /** Why nothing is claimed right now, if so. */
    holds: z.array(z.string()),
    tmux: z.enum(['ok', 'down']),
    /** Socket of the tmux server that holds the agents' windows, for `tmux -S`. */
    tmux_socket: z.string(),
    claude: z.union([z.object({ path: z.string(), version: z.string() }), z.object({ problem: z.string() })]),
    /** Hook events of names nobody knows (by name), that could not be read, and that could not be written. */
    events: z.object({ unknown: z.record(z.string(), z.int()), unreadable: z.int(), lost: z.int() }),
    /** Who starts the daemon again when it dies: `shell` is what `ccm start` left; null: nobody. */
    kept_by: z.enum(['systemd', 'launchd', 'shell']).nullable(),
    /** How the queue in Supabase is; null where the queue is this machine's own. */
    shared: z
      .object({
        system: z.string(),
        supabase: z.enum(['ok', 'down']),
        realtime: z.enum(['connecting', 'ready', 'broken']),
        /** Changes of tasks that Realtime told of, since the start of the daemon as all of these. */
        events: z.int(),
        /** How often it became ready, and how many channels and clients that took. */
        readies: z.int(),
        channels: z.int(),
        clients: z.int(),
        /** Looks without a nudge, and new tasks claimed that no event had told of. */
        sweeps: z.int(),
        unannounced: z.int(),
      })
      .nullable(),
    /** What the last start found and did about it, one sentence each. */
    found_at_start: z.array(z.string()),
  })
  .meta({ id: 'Status' })
export type StatusJson = z.output<typeof StatusJson>

const EVENT_KINDS = [
  ...Object.values(PHASES),
  ...Object.values(PLAIN),
  ...Object.values(OWN),
  'bash_command',
  'bash_output',
  'file_read',
  'file_edit',
  'file_write',
  'permission_granted',
  'unreadable',
  'unknown',
] as const
const number = z.number().nullable()
const text = z.string().nullable()

/** A hook event on the wire: Claude Code's own payload, redacted and bounded, with what ccm knows around it (docs/events.md). */
export const HookEventJson = z
  .looseObject({
    id: z.int(),
    task_id: z.string(),
    attempt: z.int(),
    at,
    hook_event_name: z.string(),
    kind: z.enum(EVENT_KINDS),
    phase: z.enum(Object.values(PHASES)).nullable(),
    tool: text,
    path: text,
    started: at,
    exit_code: number,
    detail: z
      .union([
        z.object({
          old_sha256: text,
          new_sha256: text,
          lines_added: number,
          lines_removed: number,
          size: number,
        }),
        z.object({ command: text, cwd: text, stdout: text, stderr: text }),
      ])
      .nullable(),
    /** Bytes of the payload as it came. */
    size: z.int(),
    truncated: z.boolean(),
    suspect: z.enum(['foreign-session', 'future-time', 'forged']).nullable(),
  })
  .meta({ id: 'HookEvent' })
export type HookEventJson = RecordedEvent['payload'] & z.output<typeof HookEventJson>

/** A change of state with what proved it; its fields are StateChange's (core/attempt.ts). */
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

/** `GET /health` and its parts, for anyone and so in words and ages only; 503 when it is `failing`. */
export const HealthJson = z
  .object({ status: z.enum(['ok', 'degraded', 'failing', 'disabled']) })
  .catchall(z.union([z.string(), z.number()]))
  .meta({ id: 'Health' })
export type HealthJson = z.output<typeof HealthJson>

/** `POST /api/tasks/:id/retry`: `queued_already` means that it waits anyway. */
export const RetryJson = z.object({ reply: z.enum(['queued', 'queued_already']), task: TaskJson })
export type RetryJson = z.output<typeof RetryJson>

/** `POST /api/tasks/:id/cancel`: `requested` means that its agent is being ended now. */
export const CancelJson = z.object({
  reply: z.enum(['cancelled', 'requested', 'already_final']),
  task: TaskJson,
})
export type CancelJson = z.output<typeof CancelJson>

/** `GET /api/tasks/:id/explain`: every change of state with its proof, oldest first. */
export const ExplainJson = z.object({ task: TaskJson, chain: z.array(StateChangeJson) })
export type ExplainJson = z.output<typeof ExplainJson>

/** `GET /api/tasks/:id/screen`: the window's text; null when the task has no window and none was kept. */
export const ScreenJson = z.object({ screen: z.string().nullable() })
export type ScreenJson = z.output<typeof ScreenJson>

/** `GET /api/tasks/:id/result`: what a task gave back; `result` and `error` are null while it has not ended. */
export const ResultJson = z.object({
  task: z.string(),
  status: z.enum(TASK_STATUSES),
  result: TaskResult.nullable(),
  error: z.string().nullable(),
})
export type ResultJson = z.output<typeof ResultJson>

/** `POST /api/shutdown`. */
export const ShutdownJson = z.object({ stopping: z.literal(true), agents: z.enum(['keep', 'end']) })
export type ShutdownJson = z.output<typeof ShutdownJson>

/** Every error answer (RFC 9457). `code` is stable; `detail` is a sentence for a person. */
export const ProblemJson = z
  .object({
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    remedy: z.string().exactOptional(),
    /** The first field that is wrong, as a path. */
    field: z.string().exactOptional(),
    /** When the same may succeed; also in the header Retry-After. */
    retry_after_s: z.number().exactOptional(),
    /** Under this id the daemon's log tells more. */
    request_id: z.string(),
  })
  .meta({ id: 'Problem' })
export type ProblemJson = z.output<typeof ProblemJson>

/**
 * `GET /api/events[?task=ID]` (SSE): `event: hook` (HookEventJson), `event: state` (StateChangeJson),
 * `event: task` (TaskJson, after each change of its status or state). Ids are cursors for Last-Event-ID.
 */
export type LiveEvent =
  | { event: 'hook'; data: HookEventJson }
  | { event: 'state'; data: StateChangeJson }
  | { event: 'task'; data: TaskJson }

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
