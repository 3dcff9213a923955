import type { Pane } from '../../agent/pane.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { attendedWindows } from '../../tmux/attended.ts'
import type { ServerIdentity } from '../../tmux/command.ts'
import { capture, type Pane as TmuxPane } from '../../tmux/pane.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import { pasteText, pressKey } from '../../tmux/type.ts'
import { killWindow } from '../../tmux/window.ts'

/** Whether this is the server that the attempt's window was opened in; a pid alone may be used again. */
export function isServerOf(attempt: Attempt, server: ServerIdentity): boolean {
  return server.pid === attempt.serverPid && server.startedAt === attempt.serverStartedAt
}

/** Whether tmux was told that this pane is the attempt's. */
export function isPaneOf(
  { marks }: TmuxPane,
  { taskId, attempt }: Pick<Attempt, 'taskId' | 'attempt'>,
): boolean {
  return marks.task === taskId && marks.attempt === String(attempt)
}

/**
 * The pid of the program in a pane. Null once it has ended: tmux goes on telling the pid, which another program may
 * have got since, in the hours without a daemon for sure.
 */
export function rootOf({ dead, panePid }: TmuxPane): number | null {
  return dead ? null : panePid
}

/**
 * One attempt's pane as its watcher needs it. Ids start at 0 again in a new server: once the server is not
 * the one that the attempt was started in, every call does nothing, so that no other agent's window is touched.
 * `attendedMs`: how long after their last key somebody counts as being there.
 */
export function paneOf(tmux: TmuxServer, attempt: Attempt, clock: Clock, attendedMs: number): Pane {
  const { windowId, paneId } = attempt
  const ifOurs = async <T>(
    otherwise: T,
    work: (windowId: string, paneId: string) => Promise<T>,
  ): Promise<T> => {
    if (windowId === null || paneId === null || !isServerOf(attempt, tmux.identity())) return otherwise
    return work(windowId, paneId)
  }
  return {
    capture: () => ifOurs('', async (_, pane) => (await capture(tmux, [pane])).get(pane) ?? ''),
    paste: (text) => ifOurs(undefined, (_, pane) => pasteText(tmux, pane, text)),
    press: (key) => ifOurs(undefined, (_, pane) => pressKey(tmux, pane, key)),
    isAttended: () =>
      ifOurs(false, async (window) => (await attendedWindows(tmux, clock(), attendedMs)).has(window)),
    close: () => ifOurs(undefined, (window) => killWindow(tmux, window)),
  }
}
