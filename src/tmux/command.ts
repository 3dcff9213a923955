/** Joins two commands into one group: they run back to back, and after a failure the rest is not run. */
export const THEN: unique symbol = Symbol('then')

/**
 * One tmux command as separate arguments, without the word `tmux`; `THEN` starts the next command of the
 * group. A `;` inside an argument is text, so data can never become a command.
 */
export type Command = readonly (string | typeof THEN)[]

/**
 * What one command (or group) answered: its output without the final newline, or tmux's own error text.
 * A group's output is that of all its commands, a line break between them.
 */
export type Reply = { ok: true; text: string } | { ok: false; error: string }

type RunOptions = {
  /** The commands only look: they may be repeated by another way when the first one broke. Default false. */
  readOnly?: boolean
}

/**
 * Runs commands on our tmux server, in order, and answers one reply for each. Throws CcmError BAD_INPUT
 * before anything ran when an argument cannot be quoted, TMUX_FAILED when the server is gone, was replaced,
 * or did not answer in time; a command that changes something is never sent twice.
 */
export type Run = (commands: readonly Command[], options?: RunOptions) => Promise<Reply[]>

/** Which server process answers. Pane and window ids start at 0 again in a new one, so they count only with this. */
export type ServerIdentity = { pid: number; startedAt: number }
