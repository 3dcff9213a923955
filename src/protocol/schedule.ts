import { z } from 'zod'
import { MISSED_POLICIES, type Schedule, type ScheduleRun } from '../core/task/schedule.ts'
import { NewTaskBody, Prompt } from './new-task.ts'
import { ProjectName } from './project.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

const { role, model, timeout_s, permission_mode, allowed_tools, disallowed_tools, dir } = NewTaskBody.shape

/** Query of `GET /api/schedules`. */
export const ScheduleFilter = z.strictObject({
  project: ProjectName.optional(),
  ...paged(['name', '-name', 'created_at', '-created_at']),
})

/** Body of `POST /api/schedules`. One of `dir` and `project` is needed; `dir` registers a project if it is new. */
export const NewScheduleBody = z
  .strictObject({
    cron: z.string().min(1).max(200),
    time_zone: z.string().min(1).max(100),
    name: ProjectName.optional(),
    missed: z.enum(MISSED_POLICIES).default('skip'),
    overlap: z.boolean().default(false),
    project: ProjectName.optional(),
    priority: z.int().min(-100).max(100).optional(),
    dir,
    prompt: Prompt,
    role,
    model,
    timeout_s,
    permission_mode,
    allowed_tools,
    disallowed_tools,
  })
  .refine((body) => body.dir !== undefined || body.project !== undefined, { message: 'needs dir or project' })
export type NewScheduleBody = z.input<typeof NewScheduleBody>

/** A schedule on the wire. Times are ISO 8601 in UTC. */
export const ScheduleJson = z
  .object({
    id: z.int(),
    name: z.string(),
    project: z.string(),
    cron: z.string(),
    time_zone: z.string(),
    missed: z.enum(MISSED_POLICIES),
    overlap: z.boolean(),
    paused: z.boolean(),
    prompt: z.string(),
    role: z.string().nullable(),
    model: z.string().nullable(),
    priority: z.int().nullable(),
    timeout_s: z.number().nullable(),
    permission_mode: z.string().nullable(),
    allowed_tools: z.array(z.string()),
    disallowed_tools: z.array(z.string()),
    created_at: at,
    /** The next five times; [] while it is paused. */
    next: z.array(at),
    /** What became of the newest 20 times, newest first. */
    runs: z.array(
      z.object({
        due_at: at,
        outcome: z.enum(['queued', 'skipped', 'missed', 'failed']),
        task_id: z.string().nullable(),
        reason: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Schedule' })
export type ScheduleJson = z.output<typeof ScheduleJson>

export function toScheduleJson(view: {
  schedule: Schedule
  next: number[]
  runs: ScheduleRun[]
}): ScheduleJson {
  const { schedule } = view
  const { task } = schedule
  const iso = (at: number) => new Date(at).toISOString()
  return {
    id: schedule.id,
    name: schedule.name,
    project: schedule.project,
    cron: schedule.cron,
    time_zone: schedule.timeZone,
    missed: schedule.missed,
    overlap: schedule.overlap,
    paused: schedule.paused,
    prompt: task.prompt,
    role: task.role,
    model: task.model,
    priority: task.priority,
    timeout_s: task.timeoutS,
    permission_mode: task.permissionMode,
    allowed_tools: task.allowedTools,
    disallowed_tools: task.disallowedTools,
    created_at: iso(schedule.createdAt),
    next: view.next.map(iso),
    runs: view.runs.map(({ dueAt, outcome, taskId, reason }) => ({
      due_at: iso(dueAt),
      outcome,
      task_id: taskId,
      reason,
    })),
  }
}
