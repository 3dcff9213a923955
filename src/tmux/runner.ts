import { CcmError, messageOf } from '../core/errors.ts'
import { runChain } from './chain.ts'
import type { Run, ServerIdentity } from './command.ts'
import { connectControl, ControlLost, type ControlClient, type Line, type TmuxCall } from './control.ts'
import { replyCount, toLine } from './quote.ts'

/** Waits before the 2nd, 3rd, … attempt to attach; meanwhile each call is a process of its own. */
const BACKOFF_MS = [0, 100, 500, 2000, 5000] as const

/** The one way to talk to a tmux server: through the control client, or one process a call while it is down. */
export type Runner = {
  run: Run
  /** Commands go to this server from now on and to no other. */
  pin: (identity: ServerIdentity) => void
  /** The control client's process id; null while there is none. */
  controlPid: () => number | null
  /** Ends the control client; the server and its panes live on. A later call connects again. */
  close: () => Promise<void>
}

/** `stallMs`: how long a reply may stay out before the control client is replaced. */
export function createRunner(
  tmux: TmuxCall,
  target: string,
  options: { stallMs: number; onTrouble: (message: string) => void; onLost: () => void },
): Runner {
  let identity: ServerIdentity | null = null
  let client: ControlClient | null = null
  let connecting: Promise<ControlClient | null> | null = null
  let failures = 0
  let retryAt = 0

  const connect = async (): Promise<ControlClient | null> => {
    let fresh: ControlClient | null = null
    try {
      fresh = await connectControl(tmux, target, options.stallMs)
      const [reply] = await fresh.send([{ text: `display-message -p '#{pid} #{start_time}'`, replies: 1 }])
      if (!reply?.ok || reply.text !== `${identity?.pid} ${(identity?.startedAt ?? 0) / 1000}`) {
        throw new CcmError('TMUX_FAILED', 'Another tmux server answers on the socket.')
      }
    } catch (error) {
      await fresh?.close()
      retryAt = performance.now() + (BACKOFF_MS[Math.min(++failures, BACKOFF_MS.length - 1)] ?? 0)
      options.onTrouble(messageOf(error))
      return null
    }
    failures = 0
    client = fresh
    const attached = fresh
    void attached.ended.then(() => {
      if (client !== attached) return
      client = null
      options.onLost()
    })
    return fresh
  }

  const current = async (): Promise<ControlClient | null> => {
    if (client !== null) return client
    if (connecting === null && performance.now() < retryAt) return null
    connecting ??= connect().finally(() => {
      connecting = null
    })
    return connecting
  }

  const run: Run = async (commands, { readOnly = false } = {}) => {
    const lines: Line[] = commands.map((command) => ({ text: toLine(command), replies: replyCount(command) }))
    if (lines.length === 0) return []
    if (identity === null) throw new CcmError('TMUX_FAILED', 'The tmux server was not started yet.')
    const pinned = identity
    const control = await current()
    if (control === null) return runChain(tmux, pinned, lines)
    try {
      return await control.send(lines)
    } catch (error) {
      if (!(error instanceof ControlLost)) throw error
      if (client === control) client = null
      options.onTrouble(error.message)
      // A launch must never run twice, and nobody can tell what a lost client's server still did.
      if (error.written && !readOnly) {
        throw new CcmError(
          'TMUX_FAILED',
          `The tmux control client was lost (${error.message}); what its last commands did is not known.`,
          { cause: error },
        )
      }
      return runChain(tmux, pinned, lines)
    }
  }

  const close = async (): Promise<void> => {
    await connecting
    const closing = client
    client = null
    await closing?.close()
  }

  return {
    run,
    pin: (fresh) => {
      if (identity?.pid === fresh.pid && identity.startedAt === fresh.startedAt) return
      identity = fresh
      failures = 0
      retryAt = 0
      const old = client
      client = null
      void old?.close()
    },
    controlPid: () => client?.pid ?? null,
    close,
  }
}
