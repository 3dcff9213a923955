import type { Clock } from '../core/clock.ts'
import type { Run } from './command.ts'
import { capture, listPanes, type Pane } from './pane.ts'

/** `screens` holds the panes read this time: those that may have changed. Missing in it means unchanged. */
export type SweepResult = { panes: Pane[]; screens: Map<string, string> }

/** `all`: read every pane, changed or not. `only`: panes that matter; the others are listed but never read. */
export type SweepOptions = { all?: boolean; only?: (pane: Pane) => boolean }

/** tmux dates output in whole seconds, so a pane may change again within the second that was already read. */
const SETTLED_MS = 2000

/**
 * One reading of all panes: a `list-panes`, then the screens of those that printed since they were last read.
 * The function it returns keeps what it has read; make a new one for a new server.
 */
export function createSweep(
  tmux: { run: Run },
  now: Clock,
): (options?: SweepOptions) => Promise<SweepResult> {
  let known = new Map<string, Pane>()
  let readAt = new Map<string, { at: number; print: string }>()

  return async ({ all = false, only = () => true } = {}) => {
    const at = now()
    const panes = await listPanes(tmux, known)
    known = new Map(panes.map((pane) => [pane.paneId, pane]))
    const wanted = panes.filter((pane) => {
      if (!only(pane)) return false
      const last = readAt.get(pane.paneId)
      // The reading must be younger than the output by more than the clock's step; size, death and the
      // alternate screen change a screen without any output.
      return (
        all || last === undefined || last.at < pane.activityAt + SETTLED_MS || last.print !== printOf(pane)
      )
    })
    const screens = await capture(
      tmux,
      wanted.map((pane) => pane.paneId),
    )
    const next = new Map<string, { at: number; print: string }>()
    for (const pane of panes) {
      const last = screens.has(pane.paneId) ? { at, print: printOf(pane) } : readAt.get(pane.paneId)
      if (last !== undefined) next.set(pane.paneId, last)
    }
    readAt = next
    return { panes, screens }
  }
}

function printOf(pane: Pane): string {
  return `${pane.dead} ${pane.alternateOn} ${pane.width}x${pane.height}`
}
