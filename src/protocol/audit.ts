import { z } from 'zod'
import type { AuditEntry } from '../core/audit.ts'

/** Query of `GET /api/audit`: newest first; `who` is a caller's id or kind, `before` an entry's id to page on. */
export const AuditFilter = z.strictObject({
  since: z.iso.datetime({ offset: true }).optional(),
  who: z.string().min(1).max(200).optional(),
  before: z.coerce.number().int().min(1).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

/** One change on the wire; `at` is ISO 8601 in UTC. The fields are those of core/audit.ts. */
export type AuditJson = {
  id: number
  at: string
  kind: string
  who: string
  action: string
  target: string | null
  task_id: string | null
  project: string | null
  origin: string
  status: number
  code: string | null
  request_id: string | null
}

export function toAuditJson({ at, taskId, requestId, ...entry }: AuditEntry): AuditJson {
  return { ...entry, at: new Date(at).toISOString(), task_id: taskId, request_id: requestId }
}
