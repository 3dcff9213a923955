import type { WaitKind } from '../core/agent/agent-state.ts'
import { readScreen, type Sighting } from '../core/screen/screen.ts'
import type { Seen } from '../core/agent/view.ts'
import type { SessionStatus } from './session-file.ts'

/** What one sweep read of one pane. `screen` is null where the sweep knows that nothing changed. */
export type Look = {
  at: number
  /** False: the pane is gone. */
  exists: boolean
  /** The tmux server that held the pane is gone, and the pane with it: not the agent's fault. */
  serverGone: boolean
  dead: boolean
  title: string
  screen: string | null
  /** A person is at this window, with a terminal of their own. */
  attended: boolean
}

/** Looks come at most this far apart; a longer gap means that the machine slept or this process was stopped. */
const LOOK_GAP_MS = 15_000

/**
 * Divides the time from look to look into what everything ran, and what everything stood still, the agent too. Where the
 * clock was set back it stood still for less than nothing: what is measured from earlier times goes back with it.
 */
export function createLookClock(now: number): (at: number) => { ranMs: number; stoodStillMs: number } {
  let last = now
  return (at) => {
    const gapMs = at - last
    const ranMs = Math.max(0, Math.min(gapMs, LOOK_GAP_MS))
    last = at
    return { ranMs, stoodStillMs: gapMs - ranMs }
  }
}

/** What one window shows, from look to look. */
export type Shown = {
  /** The newest screen that was captured. */
  screen: () => string
  take: (look: Look) => void
  /** What session file, title and the newest screen say together; it has moved where it did since the last time. */
  read: (session: SessionStatus | null, title: string) => { seen: Seen; dialog: Sighting['dialog'] }
}

export function createShown(): Shown {
  let screen = ''
  let still = ''
  return {
    screen: () => screen,
    take(look) {
      if (look.screen !== null) screen = look.screen
    },
    read(session, title) {
      const before = still
      still = stillText(screen)
      const sighting = readScreen(screen)
      const seen = seenOf(session, title, sighting, still !== before)
      // What cannot be told is kept to be looked at.
      const evidence = seen.kind === 'unknown' ? `${seen.evidence}\n${screen.trimEnd()}` : seen.evidence
      return { seen: { ...seen, evidence }, dialog: sighting.dialog }
    },
  }
}

/**
 * Reduces session file, title and screen to one sighting, the stronger first. The session file cannot tell
 * an error or a limit from the end of a turn (it says `idle` for all three): there the screen adds it.
 */
function seenOf(session: SessionStatus | null, title: string, sighting: Sighting, moved: boolean): Seen {
  const waitKind = waitKindOnScreen(sighting)
  const fromScreen = { source: 'screen', evidence: sighting.because, waitKind, moved } as const
  if (session !== null) {
    const evidence = JSON.stringify(session)
    const fromFile = { source: 'session-file', evidence, waitKind, moved } as const
    if (session.status === 'busy' || session.status === 'shell') return { kind: 'working', ...fromFile }
    if (session.status === 'waiting') return { kind: 'waiting', ...fromFile }
    if (sighting.kind === 'error' || sighting.kind === 'limited')
      return { kind: sighting.kind, ...fromScreen }
    return { kind: 'idle', ...fromFile }
  }
  if (/^[◐◑◒◓] /.test(title)) return { kind: 'working', source: 'title', evidence: title, waitKind, moved }
  if (sighting.kind === 'ready') return { kind: 'idle', ...fromScreen }
  // The process settles an end: a look at the pane or its exit status, never its text.
  return { kind: sighting.kind === 'exited' ? 'unknown' : sighting.kind, ...fromScreen }
}

function waitKindOnScreen({ dialog }: Sighting): WaitKind | null {
  if (dialog === null) return null
  return dialog.kind === 'permission' || dialog.kind === 'question' || dialog.kind === 'plan'
    ? dialog.kind
    : 'dialog'
}

/**
 * A screen without what moves while an agent stands still: digits (counters, clocks), spinner lines and
 * their rotating tips. Two equal results mean that nothing was said or done between them.
 */
function stillText(screen: string): string {
  const lines = screen.split('\n')
  const text = lines
    .filter((line) => !/^\s*[·✢✳✶✻✽*] /u.test(line) && !line.includes('Tip:'))
    .join('\n')
    .replaceAll(/\d+/g, '')
  // The one counter that only grows when the model says something, also while it only thinks.
  const tokens = lines.flatMap((line) => /[\d.,]+k? tokens/.exec(line)?.[0] ?? [])
  return [text, ...tokens].join('\n')
}
