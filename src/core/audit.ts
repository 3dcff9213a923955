/** One change that somebody asked for, and what became of it. Holds nothing of the request's body. */
export type AuditEntry = {
  id: number
  /** Milliseconds since 1970. */
  at: number
  /**
   * What kind of caller, and its id: `key` and the key's id, `user` and the `sub`, `local`, `telegram` and the chat,
   * `github` and who is named there, `alertmanager`.
   */
  kind: string
  who: string
  /** The route, `POST /api/tasks/:id/cancel` say, or the command in a chat. */
  action: string
  /** What the route's parameter named, a task's id, a key, a schedule; null where it has none. */
  target: string | null
  taskId: string | null
  project: string | null
  /** The caller's address, or `socket` for the one in the home; in a chat the person. */
  origin: string
  /** Of the answer: below 400 the change was made. */
  status: number
  /** The error's code, null when there was none. */
  code: string | null
  requestId: string | null
}

/** Writes an entry down; once it returns, the entry is in the database or in the log. Never throws. */
export type Audit = (entry: Omit<AuditEntry, 'id'>) => void
