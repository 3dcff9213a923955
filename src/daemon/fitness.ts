import { setTimeout as sleep } from 'node:timers/promises'
import type { Claude } from '../agent/claude.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { Database } from '../store/database.ts'
import type { Beats } from '../supervisor/loops/beats.ts'
import { listPanes } from '../tmux/pane.ts'
import type { TmuxServer } from '../tmux/server.ts'

const TMUX_ANSWERS_MS = 500
/** Less than the 2 s after which a command takes the daemon for dead; `--version` takes some 11 ms. */
const CLAUDE_ANSWERS_MS = 1000

/** A tmux that hangs must not hold up whoever asks how the daemon is. */
export async function tmuxState(tmux: TmuxServer): Promise<'ok' | 'down'> {
  const asked = tmux.run([['display-message', '-p', '']], { readOnly: true })
  const answered = asked.then(
    ([reply]) => reply?.ok === true,
    () => false,
  )
  const late = sleep(TMUX_ANSWERS_MS, false, { ref: false })
  return (await Promise.race([answered, late])) ? 'ok' : 'down'
}

/** Nor must a Claude Code that hangs, on a network folder that is away say. */
export async function claudeState(find: () => Promise<Claude>): Promise<Claude | { problem: string }> {
  const asked = find().catch((error: unknown) => ({ problem: messageOf(error) }))
  const slow = { problem: `Claude Code has not told its version within ${CLAUDE_ANSWERS_MS / 1000} s.` }
  return Promise.race([asked, sleep(CLAUDE_ANSWERS_MS, slow, { ref: false })])
}

/** Leaves the server to its agents or ends both; after a start that failed (null) it ends where it has no agents. */
export async function leaveTmux(tmux: TmuxServer, agents: 'keep' | 'end' | null): Promise<void> {
  const hasAgents = async () => (await listPanes(tmux)).some(({ marks }) => marks.task !== undefined)
  const stays = agents === null ? await hasAgents() : agents === 'keep'
  await (stays ? tmux.close() : tmux.kill())
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
