import type { Logger } from 'pino'
import type { HookPayload } from '../../core/agent/hook-event.ts'
import type { Suspicion } from '../../core/record/hook-kind.ts'

/** What speaks against an event's being the attempt's own; null: nothing. To be asked in the order of events. */
export type OriginCheck = (payload: HookPayload) => Suspicion | null

/**
 * Tells what speaks against an event's being the attempt's own; `sessions` are those of the attempt, null: any. A
 * subagent's events carry its parent's session. A person may clear the session or resume another in the window:
 * Claude Code then tells the end of the one and the start of the other, and from there on that is the attempt's own.
 * Either will do: on a busy machine one of the two may be lost, and with it all that the new session tells.
 */
export function createOriginCheck(options: {
  taskId: string
  sessions: Set<string> | null
  logger: Logger
}): OriginCheck {
  const { taskId, sessions, logger } = options
  let hasLeft = false
  return ({ session_id: session, hook_event_name: name, source, reason }) => {
    // Only ccm itself writes those, and not into a spool.
    if (typeof name === 'string' && name.startsWith('Ccm')) {
      logger.warn({ taskId, code: 'FORGED_EVENT' }, 'an event in the name of ccm was in a spool')
      return 'forged'
    }
    if (sessions === null || typeof name !== 'string') return null
    if (typeof session === 'string') {
      if (sessions.has(session)) {
        if (name === 'SessionEnd') hasLeft = reason === 'clear' || reason === 'resume'
        return null
      }
      const isNext = source === 'clear' || source === 'resume' || source === 'compact'
      if (hasLeft || (name === 'SessionStart' && isNext)) {
        hasLeft = false
        sessions.add(session)
        return null
      }
    }
    logger.warn({ taskId, code: 'FOREIGN_EVENT' }, 'an event of another session was in a spool')
    return 'foreign-session'
  }
}
