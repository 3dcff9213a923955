import { z } from 'zod'
import {
  TASK_STATUSES,
  type FileChange,
  type ModelUsage,
  type TaskResult as Result,
  type ToolBlock,
} from '../core/task/task.ts'
import type { WorkspaceJson as Workspace } from '../core/task/workspace.ts'

const count = z.int().nullable()

/** Where a task's agent worked; its fields are core/task/workspace.ts'. */
export const WorkspaceJson = z
  .object({
    kind: z.enum(['worktree', 'in_place']),
    dir: z.string().nullable(),
    branch: z.string().nullable(),
    base: z.string().nullable(),
    commit: z.string().nullable(),
    left_out: z.array(z.string()),
    ignored: z.array(z.string()),
    notes: z.array(z.string()),
  })
  .meta({ id: 'Workspace' }) satisfies z.ZodType<Workspace>

const ToolBlockJson = z
  .object({
    tool: z.string(),
    kind: z.enum(['read', 'write', 'edit', 'command', 'other']),
    path: z.string().nullable(),
    lines_added: count,
    lines_removed: count,
    command: z.string().nullable(),
    exit_code: count,
    summary: z.string().nullable(),
    ok: z.boolean(),
    error: z.string().nullable(),
    duration_ms: z.number().nullable(),
  })
  .meta({ id: 'ToolBlock' }) satisfies z.ZodType<ToolBlock>

const FileChangeJson = z.object({
  path: z.string(),
  change: z.enum(['added', 'modified', 'deleted']),
  added: count,
  removed: count,
}) satisfies z.ZodType<FileChange>

const ModelUsageJson = z.object({
  input_tokens: z.number(),
  output_tokens: z.number(),
  cache_read_input_tokens: z.number(),
  cache_creation_input_tokens: z.number(),
}) satisfies z.ZodType<ModelUsage>

/** What a task gives back; its fields are core/task/task.ts'. */
export const TaskResult = z
  .object({
    text: z.string(),
    tools: z.array(ToolBlockJson),
    files: z.array(FileChangeJson),
    usage: z.record(z.string(), ModelUsageJson),
    cost_usd: z.number().nullable(),
    duration_ms: z.number(),
    attempts: z.int(),
    claude_session_id: z.string().nullable(),
    resume_command: z.string().nullable(),
    errors: z.array(z.object({ kind: z.string(), message: z.string(), at: z.number() })),
    workspace: WorkspaceJson.exactOptional(),
    truncated: z.literal(true).exactOptional(),
  })
  .meta({ id: 'TaskResult' }) satisfies z.ZodType<Result>

/** `GET /api/tasks/:id/result`: what a task gave back; `result` and `error` are null while it has not ended. */
export const ResultJson = z.object({
  task: z.string(),
  status: z.enum(TASK_STATUSES),
  result: TaskResult.nullable(),
  error: z.string().nullable(),
})
export type ResultJson = z.output<typeof ResultJson>
