import { z } from 'zod'
import type { Incident } from '../core/incident.ts'

/** Query of `GET /api/incidents`: newest first; `open=1`: only what lasts. */
export const IncidentFilter = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(50),
  open: z.enum(['0', '1']).default('0'),
})

/** An incident with how its messages fare. */
export type IncidentView = Incident & {
  notices: { notifier: string; phase: string; state: string; tries: number; error: string | null }[]
}

/** An incident on the wire. Times are ISO 8601 in UTC; `duration_ms` is null while it lasts. */
export type IncidentJson = {
  id: number
  kind: Incident['kind']
  what: string
  evidence: string
  action: string
  alert: boolean
  task_id: string | null
  attempt: number | null
  opened_at: string
  closed_at: string | null
  duration_ms: number | null
  /** Who was told; `state` is `pending`, `delivered` or `given_up`. */
  notices: IncidentView['notices']
}

export function toIncidentJson(view: IncidentView): IncidentJson {
  const { id, kind, what, evidence, action, alert, taskId, attempt, openedAt, closedAt, notices } = view
  return {
    id,
    kind,
    what,
    evidence,
    action,
    alert,
    task_id: taskId,
    attempt,
    opened_at: new Date(openedAt).toISOString(),
    closed_at: closedAt === null ? null : new Date(closedAt).toISOString(),
    duration_ms: closedAt === null ? null : closedAt - openedAt,
    notices,
  }
}
