import { z } from 'zod'
import { APPLY_HOW } from '../core/task/workspace.ts'

/** Query of `GET /api/tasks/:id/diff`. */
export const DiffFilter = z.strictObject({ stat: z.enum(['0', '1']).default('0') })
/** Body of `POST /api/tasks/:id/apply`. */
export const ApplyBody = z.strictObject({ how: z.enum(APPLY_HOW).default('merge') })
/** Body of `POST /api/tasks/:id/discard`. */
export const EmptyBody = z.strictObject({})

/** A patch that `git apply` takes, or its `--stat`; may hold any character a file can hold. */
export const DiffJson = z.object({ diff: z.string() })
export type DiffJson = z.output<typeof DiffJson>

/** `branch` is null when it was removed, because the branch of `top` has all of it. */
export const AppliedJson = z.object({
  how: z.enum(APPLY_HOW),
  commit: z.string(),
  files: z.int(),
  top: z.string(),
  branch: z.string().nullable(),
})
export type AppliedJson = z.output<typeof AppliedJson>

/** `commit` stays on `refs/ccm/discarded/<task>` for 30 days. */
export const DiscardedJson = z.object({ commit: z.string(), top: z.string(), branch: z.string() })
export type DiscardedJson = z.output<typeof DiscardedJson>
