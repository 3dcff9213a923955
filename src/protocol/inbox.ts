import { z } from 'zod'
import { INBOX_STATES, type InboxEntry } from '../core/inbox.ts'

/** Query of `GET /api/inbox`. */
export const InboxFilter = z.strictObject({
  state: z.enum(INBOX_STATES).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(50),
})
export const ApproveEntryBody = z.strictObject({})
export const RefuseEntryBody = z.strictObject({ reason: z.string().min(1).max(1000).optional() })

/** A request from outside on the wire. Times are ISO 8601 in UTC. */
export type InboxEntryJson = {
  id: number
  key: string
  source: string
  project: string
  /** `waiting`: for approval; `pending`: for the queue; `inserted`: it is `task_id`; `refused`: never. */
  state: InboxEntry['state']
  title: string
  sender: string | null
  prompt: string
  /** Why it waits, or why it was refused. */
  reason: string | null
  task_id: string | null
  decided_by: string | null
  received_at: string
  settled_at: string | null
}

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
