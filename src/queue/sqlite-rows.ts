import { promptFault, type NewTask, type PermissionMode, type Task, type TaskResult } from '../core/task.ts'
import type { TaskStatus } from '../core/task.ts'

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
  status: string
  attempt: number
  worker: string | null
  failures: number
  lost_leases: number
  scheduled_at: number
  cancel_requested: number
  cancel_reason: string | null
  lease_expires_at: number | null
  result: string | null
  error: string | null
  created_at: number
  started_at: number | null
  finished_at: number | null
}

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
    status: 'queued',
    attempt: 0,
    worker: null,
    failures: 0,
    lost_leases: 0,
    scheduled_at: now,
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
    id: row.id,
    project: row.project,
    prompt: row.prompt,
    role: row.role,
    model: row.model,
    priority: row.priority,
    timeoutS: row.timeout_s,
    permissionMode: row.permission_mode as PermissionMode | null,
    allowedTools: JSON.parse(row.allowed_tools) as string[],
    disallowedTools: JSON.parse(row.disallowed_tools) as string[],
    dedupeKey: row.dedupe_key,
    status: row.status as TaskStatus,
    attempt: row.attempt,
    worker: row.worker,
    failures: row.failures,
    lostLeases: row.lost_leases,
    scheduledAt: row.scheduled_at,
    cancelRequested: row.cancel_requested === 1,
    leaseExpiresAt: row.lease_expires_at,
    result: row.result === null ? null : (JSON.parse(row.result) as TaskResult),
    error: row.error,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }
}

/** Why the queue cannot take a task, as a sentence for a person; null when it can. */
export function newTaskFault(task: NewTask): string | null {
  if (!Number.isInteger(task.priority) || Math.abs(task.priority) > 100) {
    return `The priority ${task.priority} is not a whole number from -100 to 100.`
  }
  if (task.role !== null && !/^[a-z0-9-]+$/.test(task.role)) {
    return `The role ${JSON.stringify(task.role)} holds something else than a-z, 0-9 and -.`
  }
  return promptFault(task.prompt)
}
