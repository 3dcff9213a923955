import type { Report } from '../core/queue.ts'
import type { Task } from '../core/task.ts'

/** How long a task stays reserved for its worker beyond the time it may start again. */
export const RESERVED_MS = 15 * 60_000

/** Keeps a task's session for the next attempt when this one never touched it. */
export function resumeAgain(task: Task, retryAfterMs: number): Report['resume'] {
  const { claudeSessionId } = task
  return claudeSessionId === null ? null : { claudeSessionId, forMs: retryAfterMs + RESERVED_MS }
}
