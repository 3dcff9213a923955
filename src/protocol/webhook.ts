import { z } from 'zod'

/** What a webhook answers: what was accepted, or why nothing was. For a person who reads the sender's own log. */
export const HookReply = z
  .object({
    ignored: z.string().optional(),
    id: z.int().optional(),
    state: z.string().optional(),
    known: z.union([z.boolean(), z.int()]).optional(),
    accepted: z.int().optional(),
    resolved: z.int().optional(),
    cancelled: z.int().optional(),
    unmatched: z.int().optional(),
    late: z.int().optional(),
    over: z.int().optional(),
    odd: z.int().optional(),
    ok: z.boolean().optional(),
  })
  .meta({ id: 'HookReply' })
