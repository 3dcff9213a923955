import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { attendedWindows } from '../../tmux/attended.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import { createSweep, type SweepResult } from '../../tmux/sweep.ts'
import type { StartPulse } from '../loops/beats.ts'
import { isServerOf } from './pane-of.ts'
import type { RunningAgent } from './running-agent.ts'

/** Reads the screens of all agents, one `list-panes` a tick, and tells each agent's watcher what it saw. */
export type ScreenSweep = {
  /** A tick soon, and the fast rhythm from here: an agent has begun or changed. */
  hurry: () => void
  close: () => Promise<void>
}

export function createScreenSweep(options: {
  tmux: TmuxServer
  agents: Map<string, RunningAgent>
  look: { busyMs: number; quietMs: number }
  /** How long after their last key somebody counts as being at a window. */
  attendedMs: () => number
  clock: Clock
  logger: Logger
  /** Agents whose server was replaced: how many, and 0 once all of them are settled. */
  onOrphans: (count: number) => void
  /** Whether the agents of an earlier daemon are among these. */
  hasTakenOver: () => boolean
  /** Between two ticks; for what else needs a regular look. */
  onTick: () => void
  /** Hears how long a look at all screens took. */
  took?: (ms: number) => void
  pulse?: StartPulse
}): ScreenSweep {
  const { tmux, agents, clock, logger } = options
  let sweep = createSweep(tmux, clock)
  let timer: NodeJS.Timeout | undefined
  /** Of the next look, by the monotonic clock; in the past while one runs. */
  let dueAt = Infinity
  let running: Promise<void> = Promise.resolve()
  let closed = false
  /** Null: not told yet. Of those that an earlier daemon told of nobody else says that they are settled. */
  let orphans: number | null = null

  async function tick(): Promise<void> {
    const watched = [...agents.values()].filter(({ watcher }) => watcher !== null)
    if (watched.length === 0) return tell(0)
    const from = performance.now()
    let result: SweepResult
    try {
      result = await sweep({ only: (pane) => pane.marks.task !== undefined })
    } catch (err) {
      logger.warn({ err, code: 'TMUX_FAILED' }, 'tmux does not answer; it is started again')
      await tmux.start()
      sweep = createSweep(tmux, clock)
      result = await sweep({ all: true, only: (pane) => pane.marks.task !== undefined })
    }
    const attended = await attendedWindows(tmux, clock(), options.attendedMs())
    const panes = new Map(result.panes.map((pane) => [pane.paneId, pane]))
    for (const { attempt, watcher } of watched) {
      const serverGone = !isServerOf(attempt, tmux.identity())
      const pane = serverGone ? undefined : panes.get(attempt.paneId ?? '')
      watcher?.onLook({
        at: clock(),
        exists: pane !== undefined,
        serverGone,
        dead: pane?.dead ?? true,
        title: pane?.title ?? '',
        screen: pane === undefined ? null : (result.screens.get(pane.paneId) ?? null),
        attended: attended.has(attempt.windowId ?? ''),
      })
    }
    options.took?.(performance.now() - from)
    tell(watched.filter(({ attempt }) => !isServerOf(attempt, tmux.identity())).length)
    options.onTick()
  }

  function tell(count: number): void {
    if (count === orphans || (count === 0 && !options.hasTakenOver())) return
    options.onOrphans(count)
    orphans = count
  }

  /** Sooner, never later: changes that come without a pause would keep every look away, and with it every deadline. */
  function schedule(ms: number): void {
    const at = performance.now() + ms
    if (closed || at >= dueAt) return
    dueAt = at
    clearTimeout(timer)
    timer = setTimeout(look, ms)
  }

  function look(): void {
    running = tick()
      .catch((err: unknown) => logger.error({ err }, 'a look at the screens failed'))
      .then(() => {
        dueAt = Infinity
        schedule(rhythm())
      })
  }

  function rhythm(): number {
    const busy = [...agents.values()].some(
      ({ watcher }) => watcher !== null && watcher.view().state !== 'waiting',
    )
    return busy ? options.look.busyMs : options.look.quietMs
  }

  schedule(options.look.quietMs)
  const pulse = options.pulse?.('sweep', () => running)
  return {
    hurry: () => schedule(Math.min(200, options.look.busyMs)),
    async close() {
      closed = true
      pulse?.close()
      clearTimeout(timer)
      await running
    },
  }
}
