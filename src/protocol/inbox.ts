import { z } from 'zod'
import { INBOX_STATES, type InboxEntry } from '../core/outside/inbox.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

/** Query of `GET /api/inbox`: newest first. */
export const InboxFilter = z.strictObject({
  state: z.enum(INBOX_STATES).optional(),
  ...paged(['-id'], { limit: 50 }),
})
export const ApproveEntryBody = z.strictObject({})
export const RefuseEntryBody = z.strictObject({ reason: z.string().min(1).max(1000).optional() })

/** A request from outside on the wire. Times are ISO 8601 in UTC. */
export const InboxEntryJson = z
  .object({
    id: z.int(),
    key: z.string(),
    source: z.string(),
    project: z.string(),
    /** `waiting`: for approval; `pending`: for the queue; `inserted`: it is `task_id`; `refused`: never. */
    state: z.enum(INBOX_STATES),
    title: z.string(),
    sender: z.string().nullable(),
    prompt: z.string(),
    /** Why it waits, or why it was refused. */
    reason: z.string().nullable(),
    task_id: z.string().nullable(),
    decided_by: z.string().nullable(),
    received_at: at,
    settled_at: at.nullable(),
  })
  .meta({ id: 'InboxEntry' })
export type InboxEntryJson = z.output<typeof InboxEntryJson>

export function toInboxEntryJson(entry: InboxEntry): InboxEntryJson {
  return {
    id: entry.id,
    key: entry.key,
    source: entry.source,
    project: entry.project,
    state: entry.state,
    title: entry.title,
    sender: entry.sender,
    prompt: entry.task.prompt,
    reason: entry.reason,
    task_id: entry.taskId,
    decided_by: entry.decidedBy,
    received_at: new Date(entry.receivedAt).toISOString(),
    settled_at: entry.settledAt === null ? null : new Date(entry.settledAt).toISOString(),
  }
}
