import { z } from 'zod'

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
/** Body of `POST /api/tasks/:id/send`. */
export const SendBody = z.strictObject({
  ask,
  text: z
    .string()
    .min(1)
    .max(100 * 1024),
})
