import { mayWrap, type ScreenBox } from './screen-layout.ts'

/**
 * What the lowest block of the transcript says about the turn. `open`: a turn that nothing on the
 * screen has ended yet. `none`: no turn at all, or one the client's own command closed.
 */
export type TurnSign =
  | { kind: 'running'; because: string }
  | { kind: 'over'; because: string }
  | { kind: 'failed'; because: string }
  | { kind: 'limited'; because: string }
  | { kind: 'doubtful'; because: string }
  | { kind: 'open' | 'none'; because: string }

// The client's own lines start at column 0 with one of these; prose never does.
const SPINNER = /^[·✢✳✶✻✽*] (?:[^…]{1,200}…(?: \(.*\))?|.{1,200} · (?:retrying|next try) in .*)$/
const WAITS_FOR_TASKS = /^[·✢✳✶✻✽*] Waiting for \d+ /
const TURN_OVER = /^[·✢✳✶✻✽*] \S+ for (?:\d+[hms] ?)+(?: ·.*)?$/
const STILL_RUNNING = / · \d+ .{1,60} still running/
const API_ERROR = /^● (?:.{0,80} · )?API Error\b/
const LOGIN_ERROR = /^● Please run \/login\b/
const LIMIT_HIT = /\blimit\b.*(?:\bresets?\b|\breached\b)/i
const ERROR_RESULT =
  /^ {2}⎿ {2}(?:Invalid API key|Not logged in|Credit balance|.{0,80}Please run \/login|.{0,80}API Error\b)/
// A refused edit, write or plan and a declined question end the turn without the word "Interrupted".
const INTERRUPTED =
  /^ {2,}⎿ {2}(?:Interrupted\b|Rejected )|^● (?:Declined to answer |\w+ operation blocked by hook)/
// The logo moves while a session is fresh; its text stands right of it.
const LOGO = /^[^\p{L}\p{N}●❯·*]{0,3}[▀-▟]{3,}/u
const GREETING = /^[^\p{L}\p{N}●❯]{10,14}Claude Code v\d/u
// The hints the client gives after an error; a limit and some refusals leave the box empty.
const RESEND = /^(?:Resend your message|Once fixed,|Run \/rewind)/

/** Reads how the transcript above the input box ends. */
export function readTurn(box: ScreenBox): TurnSign {
  const lines = box.above
  const start = lines.findLastIndex((line) => /^\S/.test(line))
  const head = lines[start] ?? ''
  const block = lines.slice(start)
  if (start < 0) return readStartless(lines, box.hint)
  if (WAITS_FOR_TASKS.test(head)) return { kind: 'running', because: 'waits for background tasks' }
  if (STILL_RUNNING.test(head) && TURN_OVER.test(head)) return { kind: 'running', because: 'background task' }
  if (TURN_OVER.test(head)) return readEnd(lines.slice(0, start), box.width)
  if (SPINNER.test(head)) return { kind: 'running', because: 'spinner' }
  if (LOGO.test(head)) return { kind: 'none', because: 'fresh session' }
  if (block.some((line) => INTERRUPTED.test(line))) return { kind: 'over', because: 'interrupted' }
  return head.startsWith('❯') ? readPrompt(block, box.hint) : readOpenBlock(block, box.hint)
}

function readPrompt(block: string[], hint: string): TurnSign {
  const result = block.find((line) => line.startsWith('  ⎿  ')) ?? ''
  if (LIMIT_HIT.test(result)) return { kind: 'limited', because: result.trim() }
  if (ERROR_RESULT.test(result) || RESEND.test(hint))
    return { kind: 'failed', because: result.trim() || hint }
  if (block[0]?.startsWith('❯ /') === true) return { kind: 'none', because: 'after a command' }
  return { kind: 'open', because: 'a prompt without an answer' }
}

function readOpenBlock(block: string[], hint: string): TurnSign {
  const head = block[0] ?? ''
  if (API_ERROR.test(head) || LOGIN_ERROR.test(head)) return { kind: 'failed', because: head.slice(2) }
  if (/^● (?:Usage limit reached\b|Automatic continue cancelled\b)/.test(head))
    return { kind: 'limited', because: head.slice(2) }
  if (RESEND.test(hint)) return { kind: 'failed', because: hint }
  return { kind: 'open', because: 'no end of the turn' }
}

/**
 * A finished turn: did its message end with an `[ERROR]` line of its own? Where a wrapped
 * sentence may have put the marker at the start of a line, the answer is `doubtful`.
 */
function readEnd(transcript: string[], width: number): TurnSign {
  let at = transcript.findLastIndex((line) => line !== '')
  if (at < 0) return { kind: 'doubtful', because: 'the message is not on the screen' }
  while (at >= 0 && !/^(?:● | {2})\[ERROR\]/.test(transcript[at] ?? '')) {
    const line = transcript[at] ?? ''
    // Only the wrapped rest of the marker's line may follow it.
    if (!/^ {2}\S/.test(line) || !mayWrap(transcript[at - 1] ?? '', line, width))
      return { kind: 'over', because: 'turn over' }
    at--
  }
  if (at < 0) return { kind: 'over', because: 'turn over' }
  const marker = transcript[at] ?? ''
  const before = transcript[at - 1] ?? ''
  const head = transcript.slice(0, at + 1).findLast((line) => /^\S/.test(line)) ?? '●'
  if (!head.startsWith('●')) return { kind: 'over', because: 'turn over' }
  if (marker.startsWith('  ') && before !== '' && mayWrap(before, marker, width))
    return { kind: 'doubtful', because: '[ERROR] may stand in a sentence' }
  return { kind: 'failed', because: marker.slice(2, 200) }
}

/** No line starts at column 0: a fresh session, or a pane too low to show how the turn began. */
function readStartless(lines: string[], hint: string): TurnSign {
  if (lines.some((line) => GREETING.test(line))) return { kind: 'none', because: 'fresh session' }
  if (RESEND.test(hint)) return { kind: 'failed', because: hint }
  return { kind: 'doubtful', because: 'no start of a block' }
}
