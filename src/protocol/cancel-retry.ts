import { z } from 'zod'
import { TaskJson } from './task.ts'

/** Body of `POST /api/tasks/:id/cancel`. */
export const CancelBody = z.strictObject({ reason: z.string().max(1000).optional() })

/** `POST /api/tasks/:id/cancel`: `requested`: its agent is being ended, or with 202 Supabase is told when it answers. */
export const CancelJson = z.object({
  reply: z.enum(['cancelled', 'requested', 'already_final']),
  task: TaskJson,
})
export type CancelJson = z.output<typeof CancelJson>

/** Body of `POST /api/tasks/:id/retry`. */
export const RetryBody = z.strictObject({})

/** `POST /api/tasks/:id/retry`: `queued_already` means that it waits anyway. */
export const RetryJson = z.object({ reply: z.enum(['queued', 'queued_already']), task: TaskJson })
export type RetryJson = z.output<typeof RetryJson>
