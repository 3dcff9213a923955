import { z } from 'zod'
import { INCIDENT_KINDS, type Incident } from '../core/incident/incident.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

/** Query of `GET /api/incidents`: newest first; `open=1`: only what lasts. */
export const IncidentFilter = z.strictObject({
  open: z.enum(['0', '1']).default('0'),
  ...paged(['-id'], { limit: 50 }),
})

/** An incident with how its messages fare. */
export type IncidentView = Incident & {
  notices: { notifier: string; phase: string; state: string; tries: number; error: string | null }[]
}

/** An incident on the wire. Times are ISO 8601 in UTC; `duration_ms` is null while it lasts. */
export const IncidentJson = z
  .object({
    id: z.int(),
    kind: z.enum(INCIDENT_KINDS),
    what: z.string(),
    evidence: z.string(),
    action: z.string(),
    alert: z.boolean(),
    task_id: z.string().nullable(),
    attempt: z.int().nullable(),
    opened_at: at,
    closed_at: at.nullable(),
    duration_ms: z.number().nullable(),
    /** Who was told; `state` is `pending`, `delivered` or `given_up`. */
    notices: z.array(
      z.object({
        notifier: z.string(),
        phase: z.string(),
        state: z.string(),
        tries: z.int(),
        error: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Incident' })
export type IncidentJson = z.output<typeof IncidentJson>

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
