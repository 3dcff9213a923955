import type { NewTask } from '../task/task.ts'

/**
 * What became of a request from outside. `waiting`: for a person's approval. `pending`: for the queue. `inserted`:
 * it is a task. `refused`: it will never be one.
 */
export const INBOX_STATES = ['waiting', 'pending', 'inserted', 'refused'] as const
export type InboxState = (typeof INBOX_STATES)[number]

/** A task as it is asked for from outside; its key comes from the delivery. */
export type InboxTask = Omit<NewTask, 'project' | 'priority' | 'dedupeKey' | 'onlyWorker' | 'dependsOn'> & {
  /** null: the project's. */
  priority: number | null
}

/** Where the answer goes to. */
export type Origin =
  | { kind: 'github'; repository: string; number: number | null }
  | { kind: 'telegram'; chat: string }
  | { kind: 'alert'; fingerprint: string }

/** A request as it comes in. `key` is unique for ever: `gh:<delivery>`, `tg:<update>`, `am:<fingerprint>:<start>`. */
export type NewInboxEntry = {
  key: string
  source: string
  project: string
  state: 'waiting' | 'pending'
  /** One line for a person. */
  title: string
  /** Who asked, as the sender's own service calls them. */
  sender: string | null
  task: InboxTask
  origin: Origin
  /** Why it waits, as a sentence. */
  reason: string | null
}

/** A request with what became of it. Times are milliseconds since 1970. */
export type InboxEntry = Omit<NewInboxEntry, 'state'> & {
  id: number
  state: InboxState
  taskId: string | null
  /** Its task was seen to be over. */
  isOver: boolean
  decidedBy: string | null
  tries: number
  dueAt: number
  receivedAt: number
  settledAt: number | null
  /** The text the sender was told last, and the id of that message there. */
  told: string | null
  toldRef: string | null
  tellTries: number
}
