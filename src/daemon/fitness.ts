import type { Logger } from 'pino'
import { CcmError, messageOf } from '../core/errors.ts'
import type { Database } from '../store/database.ts'
import type { Incidents } from '../store/incidents.ts'
import type { Beats } from '../supervisor/beats.ts'
import { forgetHang, hangSentence, type Hang } from '../supervisor/watchdog.ts'
import { listPanes } from '../tmux/pane.ts'
import type { TmuxServer } from '../tmux/server.ts'

const TMUX_ANSWERS_MS = 500

/** A tmux that hangs must not hold up whoever asks how the daemon is. */
export async function tmuxState(tmux: TmuxServer): Promise<'ok' | 'down'> {
  const asked = tmux.run([['display-message', '-p', '']], { readOnly: true })
  const answered = asked.then(
    ([reply]) => reply?.ok === true,
    () => false,
  )
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, TMUX_ANSWERS_MS, false))
  return (await Promise.race([answered, late])) ? 'ok' : 'down'
}

/** After a start that failed: a server without agents ends, one with agents waits for the next start. */
export async function leaveTmux(tmux: TmuxServer): Promise<void> {
  const panes = await listPanes(tmux)
  await (panes.some(({ marks }) => marks.task !== undefined) ? tmux.close() : tmux.kill())
}

/** Why systemd should end this process; null while loops, tmux and the database are fresh. */
export async function whySick(of: {
  beats: Beats
  loopMs: number
  tmux: TmuxServer
  db: Database
}): Promise<string | null> {
  const [silent] = of.beats.silent(of.loopMs)
  if (silent !== undefined) return `the ${silent} stands still`
  // While no agent works nobody else looks; one that is gone is started again.
  if ((await tmuxState(of.tmux)) === 'down')
    await of.tmux.start().catch((error: unknown) => {
      throw new CcmError('TMUX_FAILED', `tmux does not answer: ${messageOf(error)}`)
    })
  // A real write with its fsync that changes nothing.
  of.db.prepare('PRAGMA application_id = 6513517').run({})
  return null
}

/** Closed at once: the daemon that hung is gone, and this one serves. Its report goes when it is in the database. */
export function recordHang(
  incidents: Incidents,
  hang: Hang,
  now: number,
  reportFile: string,
  logger: Logger,
): void {
  const key = `daemon_hung:${hang.at}`
  const about = { what: hangSentence(hang), evidence: hang.stack.join('\n'), alert: false }
  const openedAt = hang.at - hang.limitMs
  const action = 'The watchdog ended it, and it was started again.'
  try {
    const who = { taskId: null, attempt: null }
    incidents.open({ kind: 'daemon_hung', key, ...about, action, ...who, openedAt }, [])
    incidents.close(key, now, null)
    forgetHang(reportFile)
  } catch (err) {
    logger.error({ err }, 'an incident could not be recorded')
  }
}
