import { z } from 'zod'
import type { AuditEntry } from '../core/audit.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

/** Query of `GET /api/audit`: newest first; `who` is a caller's id or kind. */
export const AuditFilter = z.strictObject({
  since: z.iso.datetime({ offset: true }).optional(),
  who: z.string().min(1).max(200).optional(),
  ...paged(['-id'], { limit: 100 }),
})

/** One change on the wire; `at` is ISO 8601 in UTC. The fields are those of core/audit.ts. */
export const AuditJson = z
  .object({
    id: z.int(),
    at,
    kind: z.string(),
    who: z.string(),
    action: z.string(),
    target: z.string().nullable(),
    task_id: z.string().nullable(),
    project: z.string().nullable(),
    origin: z.string(),
    status: z.int(),
    code: z.string().nullable(),
    request_id: z.string().nullable(),
  })
  .meta({ id: 'AuditEntry' })
export type AuditJson = z.output<typeof AuditJson>

export function toAuditJson({ at, taskId, requestId, ...entry }: AuditEntry): AuditJson {
  return { ...entry, at: new Date(at).toISOString(), task_id: taskId, request_id: requestId }
}
