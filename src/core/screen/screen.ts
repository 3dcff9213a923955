import { readDialog } from './screen-dialog.ts'
import { findBox, isRule, toLines, type ScreenBox } from './screen-layout.ts'
import { readTurn } from './screen-turn.ts'

/** A dialog as it stands on the screen. */
export type ScreenDialog = {
  kind:
    | 'permission'
    | 'question'
    | 'plan'
    | 'trust'
    | 'add-dir'
    | 'api-key'
    | 'bypass'
    | 'onboarding'
    | 'limit'
    | 'auto-mode'
    | 'other'
  /** First words, for a person. */
  title: string
  /** Option labels in order, without number and cursor. */
  options: string[]
  /** Index of the option under the cursor; null when there is none. */
  selected: number | null
}

/** What one capture shows. `unknown` is an honest answer; a wrong one is a defect. */
export type Sighting = {
  kind: 'initializing' | 'ready' | 'working' | 'waiting' | 'error' | 'limited' | 'exited' | 'unknown'
  /** What on the screen says so, in a few words. */
  because: string
  /** Present when `kind` is waiting, and when it is limited by a dialog. */
  dialog: ScreenDialog | null
  /** Text in the input box; '' when it is empty; null when no box is on the screen. */
  composer: string | null
}

/**
 * Reads one capture of a pane (plain text, as `capture-pane -p` prints it). Total and fast: any
 * text gets an answer, and only its last lines are looked at. `dead` is tmux's own word that the
 * pane's process is gone. A finished turn is `ready`: a screen cannot tell it from a fresh session.
 */
export function readScreen(text: string, dead = false): Sighting {
  const lines = toLines(text)
  if (dead || hasExited(lines)) return sighting('exited', dead ? 'the pane is dead' : 'exit text')
  if (lines.every((line) => line === ''))
    return text === '' ? sighting('unknown', 'no text') : sighting('initializing', 'blank screen')
  const box = findBox(lines)
  if (box !== null) return readBox(box)
  const dialog = readDialog(lines)
  if (dialog !== null) {
    const kind = dialog.kind === 'limit' ? 'limited' : 'waiting'
    return { kind, because: `dialog: ${dialog.title}`, dialog, composer: null }
  }
  const view = readTranscriptView(lines)
  if (view !== null) return view
  if (lines.every(isStartText)) return sighting('initializing', 'no input box yet')
  return sighting('unknown', 'neither an input box nor a dialog')
}

function sighting(kind: Sighting['kind'], because: string, composer: string | null = null): Sighting {
  return { kind, because, dialog: null, composer }
}

// The first segment of the footer; it is whole only when the mode is followed by its key or the next segment.
const MODE = /^ {2}(?:⏵⏵|⏸) [a-z ]{1,40} on(?: \(shift\+tab to cycle\))?(?= ·|$)/
const NOTICE = /^ {2}(?:paste again to expand|Press (?:Ctrl-[CD]|Esc) again to .*|! for .*|Esc again to .*)$/i
const BACKGROUND =
  / · \d+ (?:[a-z]+ ){0,3}(?:shells?|monitors?|agents?|tasks?|teams?|teammates?|workflows?|sessions?)(?:, \d+ monitors?)?(?= ·|$)/

function readBox(box: ScreenBox): Sighting {
  const footer = box.below.map(withoutNotices)
  const mode = footer.find((line) => /^ {2}(?:⏵⏵|⏸)/.test(line)) ?? ''
  const answer = (kind: Sighting['kind'], because: string) => sighting(kind, because, box.text)
  if (/ · (?:esc to interrupt|e[a-z ]*…$)/.test(mode)) return answer('working', 'esc to interrupt')
  if (BACKGROUND.test(mode)) return answer('working', 'background task in the footer')
  if (footer.some((line) => /^ {2}⚠ .*\blimit\b/i.test(line))) return answer('limited', 'limit in the footer')
  const turn = readTurn(box)
  if (turn.kind === 'running') return answer('working', turn.because)
  if (footer.some((line) => /^ {2}◯ \S/.test(line))) return answer('working', 'subagents under the footer')
  if (!isWholeFooter(footer, mode, box.text)) return answer('unknown', 'no whole footer')
  if (turn.kind === 'limited' || turn.kind === 'doubtful') {
    return answer(turn.kind === 'limited' ? 'limited' : 'unknown', turn.because)
  }
  if (turn.kind === 'failed') return answer('error', turn.because)
  return turn.kind === 'open' ? answer('unknown', turn.because) : answer('ready', turn.because)
}

function isWholeFooter(footer: string[], mode: string, typed: string): boolean {
  if (mode !== '') return MODE.test(mode)
  if (footer.some((line) => NOTICE.test(line))) return true
  return /(?:^|\s)[/@]\S*$/.test(typed) && footer.some((line) => /^ {2}(?:❯ | {2})\S/.test(line))
}

/** The client's notices stand on the right side of the footer. */
function withoutNotices(line: string): string {
  const gap = line.indexOf('   ', 2)
  return gap < 0 || line.startsWith('   ') ? line : line.slice(0, gap)
}

const EXIT_TEXT = [
  /^Pane is dead(?: \(.*\))?$/,
  /^error: unknown option\b/,
  /^No conversation found\b/,
  /^Error: Session ID \S+ is already in use/,
  /^--dangerously-skip-permissions cannot be used with root/,
]

function hasExited(lines: string[]): boolean {
  const last = lines.filter((line) => line !== '').slice(-8)
  if (EXIT_TEXT.some((pattern) => pattern.test(last.at(-1) ?? ''))) return true
  // Its command repeats the options of the launch, wrapped over as many lines as they need.
  const hint = last.indexOf('Resume this session with:')
  return hint >= 0 && (last[hint + 1] ?? 'claude ').startsWith('claude ') && !last.slice(hint).some(isRule)
}

function readTranscriptView(lines: string[]): Sighting | null {
  if (!isRule(lines.at(-2) ?? '')) return null
  const match = /^ {2}(?:([a-z ]+) · )?Showing detailed transcript\b/.exec(lines.at(-1) ?? '')
  if (match === null) return null
  const state = match[1]
  if (state === undefined) return sighting('ready', 'transcript view')
  if (state === 'working') return sighting('working', 'transcript view of a running turn')
  if (state !== 'dialog waiting') return sighting('unknown', 'transcript view')
  const dialog: ScreenDialog = { kind: 'other', title: state, options: [], selected: null }
  return { kind: 'waiting', because: 'dialog behind the transcript view', dialog, composer: null }
}

function isStartText(line: string): boolean {
  return line === '' || /^[^\p{L}\p{N}●❯]{0,6}[▀-▟ ]{4,}(?:Claude Code v\d|\S.* · |[/~]|$)/u.test(line)
}
