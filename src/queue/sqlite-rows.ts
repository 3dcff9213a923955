import type { ListedTask, NewTask, PermissionMode, Task, TaskResult, TaskStatus } from '../core/task/task.ts'

/** A row of the table `tasks`. */
export type TaskRow = {
  id: string
  system: string
  project: string
  prompt: string
  role: string | null
  model: string | null
  priority: number
  timeout_s: number | null
  permission_mode: string | null
  allowed_tools: string
  disallowed_tools: string
  dedupe_key: string | null
  depends_on: string
  labels: string
  max_tokens: number | null
  max_cost_usd: number | null
  in_place: number | null
  source: string
  only_worker: string | null
  status: string
  attempt: number
  worker: string | null
  failures: number
  lost_leases: number
  releases: number
  scheduled_at: number
  resume_worker: string | null
  resume_until: number | null
  claude_session_id: string | null
  cancel_requested: number
  cancel_reason: string | null
  lease_expires_at: number | null
  result: string | null
  error: string | null
  created_at: number
  started_at: number | null
  finished_at: number | null
}

/** Of a row, what its next step is decided by. */
export type Standing = Pick<
  TaskRow,
  | 'id'
  | 'status'
  | 'attempt'
  | 'worker'
  | 'failures'
  | 'lost_leases'
  | 'releases'
  | 'cancel_requested'
  | 'cancel_reason'
>

/** The row of a task that nobody has claimed yet. */
export function newRow(id: string, system: string, task: NewTask, now: number): TaskRow {
  return {
    id,
    system,
    project: task.project,
    prompt: task.prompt,
    role: task.role,
    model: task.model,
    priority: task.priority,
    timeout_s: task.timeoutS,
    permission_mode: task.permissionMode,
    allowed_tools: JSON.stringify(task.allowedTools),
    disallowed_tools: JSON.stringify(task.disallowedTools),
    dedupe_key: task.dedupeKey,
    depends_on: JSON.stringify([...new Set(task.dependsOn)]),
    labels: JSON.stringify([...new Set(task.labels)]),
    max_tokens: task.maxTokens,
    max_cost_usd: task.maxCostUsd,
    in_place: task.inPlace === null ? null : Number(task.inPlace),
    source: task.source,
    only_worker: task.onlyWorker,
    status: 'queued',
    attempt: 0,
    worker: null,
    failures: 0,
    lost_leases: 0,
    releases: 0,
    scheduled_at: Math.max(now, task.scheduledAt ?? now),
    resume_worker: null,
    resume_until: null,
    claude_session_id: null,
    cancel_requested: 0,
    cancel_reason: null,
    lease_expires_at: null,
    result: null,
    error: null,
    created_at: now,
    started_at: null,
    finished_at: null,
  }
}

/** A stored row as the task it stands for. */
export function toTask(row: TaskRow): Task {
  return {
    ...toListedTask(row),
    result: row.result === null ? null : (JSON.parse(row.result) as TaskResult),
  }
}

/** Of a row, what lists have. */
export type ListedRow = Omit<TaskRow, 'system' | 'releases' | 'cancel_reason' | 'result'>

/** Such a row as the task it stands for. */
export function toListedTask(row: ListedRow): ListedTask {
  return {
    id: row.id,
    project: row.project,
    prompt: row.prompt,
    role: row.role,
    model: row.model,
    priority: row.priority,
    timeoutS: row.timeout_s,
    permissionMode: row.permission_mode as PermissionMode | null,
    allowedTools: listOf(row.allowed_tools),
    disallowedTools: listOf(row.disallowed_tools),
    dedupeKey: row.dedupe_key,
    dependsOn: listOf(row.depends_on),
    labels: listOf(row.labels),
    maxTokens: row.max_tokens,
    maxCostUsd: row.max_cost_usd,
    inPlace: row.in_place === null ? null : row.in_place === 1,
    source: row.source,
    onlyWorker: row.only_worker,
    status: row.status as TaskStatus,
    attempt: row.attempt,
    worker: row.worker,
    failures: row.failures,
    lostLeases: row.lost_leases,
    scheduledAt: row.scheduled_at,
    resumeWorker: row.resume_worker,
    resumeUntil: row.resume_until,
    claudeSessionId: row.claude_session_id,
    cancelRequested: row.cancel_requested === 1,
    leaseExpiresAt: row.lease_expires_at,
    error: row.error,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }
}

function listOf(json: string): string[] {
  return json === '[]' ? [] : (JSON.parse(json) as string[])
}
