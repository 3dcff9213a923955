import type { Logger } from 'pino'
import type { HookPayload } from '../core/hook-event.ts'
import type { Suspicion } from '../core/hook-kind.ts'

/**
 * Tells what speaks against an event's being the attempt's own; `sessions` are those of the attempt, null: any. A
 * subagent's events carry its parent's session. A person may clear the session or resume another in the window:
 * Claude Code then announces it first, and from there on it is the attempt's own.
 */
export function createOriginCheck(options: {
  taskId: string
  sessions: Set<string> | null
  logger: Logger
}): (payload: HookPayload) => Suspicion | null {
  const { taskId, sessions, logger } = options
  return ({ session_id: session, hook_event_name: name, source }) => {
    // Only ccm itself writes those, and not into a spool.
    if (typeof name === 'string' && name.startsWith('Ccm')) {
      logger.warn({ taskId, code: 'FORGED_EVENT' }, 'an event in the name of ccm was in a spool')
      return 'forged'
    }
    if (sessions === null || typeof name !== 'string') return null
    if (typeof session === 'string') {
      if (sessions.has(session)) return null
      if (name === 'SessionStart' && (source === 'clear' || source === 'resume' || source === 'compact')) {
        sessions.add(session)
        return null
      }
    }
    logger.warn({ taskId, code: 'FOREIGN_EVENT' }, 'an event of another session was in a spool')
    return 'foreign-session'
  }
}
