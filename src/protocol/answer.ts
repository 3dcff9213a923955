import { z } from 'zod'
import { ProjectName } from './project.ts'

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

/** The `id` of what an answer is for (`waiting_for.id`); without it, it is for whatever is asked. */
const ask = z.string().max(64).optional()

/** Body of `POST /api/tasks/:id/approve`. */
export const ApproveBody = z.strictObject({ ask })
/** Body of `POST /api/tasks/:id/deny`. */
export const DenyBody = z.strictObject({ ask, reason: z.string().max(10_000).optional() })
const BROADCAST_MAX_BYTES = 10 * 1024

/** Body of `POST /api/agents/send`: to every agent that works or waits, or to those of one project. */
export const BroadcastBody = z.strictObject({
  text: z
    .string()
    .min(1)
    .refine((text) => new TextEncoder().encode(text).length <= BROADCAST_MAX_BYTES, {
      message: `must have at most ${BROADCAST_MAX_BYTES} bytes`,
    }),
  project: ProjectName.optional(),
})
export type BroadcastBody = z.input<typeof BroadcastBody>

/** What became of it for each agent; `reason` where it was not delivered. */
export const BroadcastJson = z.object({
  results: z.array(
    z.object({
      task_id: z.string(),
      project: z.string(),
      delivered: z.boolean(),
      reason: z.string().nullable(),
    }),
  ),
})
export type BroadcastJson = z.output<typeof BroadcastJson>

/** Body of `POST /api/tasks/:id/send`. */
export const SendBody = z.strictObject({
  ask,
  text: z
    .string()
    .min(1)
    .max(100 * 1024),
})
