import { z } from 'zod'
import { APPLY_HOW, type ApplyHow } from '../core/workspace.ts'

/** Query of `GET /api/tasks/:id/diff`. */
export const DiffFilter = z.strictObject({ stat: z.enum(['0', '1']).default('0') })
/** Body of `POST /api/tasks/:id/apply`. */
export const ApplyBody = z.strictObject({ how: z.enum(APPLY_HOW).default('merge') })
/** Body of `POST /api/tasks/:id/discard`. */
export const EmptyBody = z.strictObject({})

/** A patch that `git apply` takes, or its `--stat`; may hold any character a file can hold. */
export type DiffJson = { diff: string }

/** `branch` is null when it was removed, because the branch of `top` has all of it. */
export type AppliedJson = { how: ApplyHow; commit: string; files: number; top: string; branch: string | null }

/** `commit` stays on `refs/ccm/discarded/<task>` for 30 days. */
export type DiscardedJson = { commit: string; top: string; branch: string }
