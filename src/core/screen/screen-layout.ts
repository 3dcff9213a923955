/**
 * The client's input box as it stands on a screen: two rules as wide as the pane with `❯` between
 * them, the transcript above, the footer below. Only the client draws at column 0 what is looked
 * for here: prose, tool output and the further lines of a prompt are always indented.
 */
export type ScreenBox = {
  /**
   * What was typed; '' for an empty box or one that only shows the client's own hint. Begins with `!` where it would run in
   * a shell: such a box is never empty.
   */
  text: string
  /** The client's own hint in the empty box, '' without one. */
  hint: string
  /** Lines above the box, without the client's ornaments next to it. */
  above: string[]
  /** Non-empty lines below the box. */
  below: string[]
  /** Width of the rules: the width of the pane. */
  width: number
}

// A pane has at most a few hundred rows; more text than this can only stand above what decides.
const MAX_CHARS = 64_000
const MAX_LINES = 400

const RULE = /^[─▔]{10,}$/
// `--name` stands inside the upper rule.
const NAMED_RULE = /^─{2,} \S.{0,120} ─+$/
const EFFORT = /^ +◐ [a-z]+ · \/effort$/
const HINTS = [
  /^Resend your message to try again$/,
  /^Once fixed, resend your message$/,
  /^Run \/rewind to go back$/,
  /^Press up to edit queued messages$/,
  /^Try ".*"$/,
]

/** The last lines of a capture, without spaces at their ends and without the empty lines below. */
export function toLines(text: string): string[] {
  // The client puts no-break spaces behind its glyphs.
  const tail = text.trimEnd().slice(-MAX_CHARS).replaceAll('\u00a0', ' ')
  return tail
    .split('\n')
    .slice(-MAX_LINES)
    .map((line) => line.trimEnd())
}

/** Whether a line is a rule over the whole width, drawn from the first column on. */
export function isRule(line: string): boolean {
  return RULE.test(line)
}

/** The input box of a screen, or null when no whole one is the lowest thing with rules. */
export function findBox(lines: string[]): ScreenBox | null {
  const bottom = lines.findLastIndex(isRule)
  const rule = lines[bottom] ?? ''
  const top = lines.slice(0, Math.max(bottom, 0)).findLastIndex(isTopRule)
  if (top < 0 || !/^[❯!](?:\s|$)/.test(lines[top + 1] ?? '')) return null
  // After a resize the rules of two frames, or the halves of one, stand on the screen.
  const above = lines[top] ?? ''
  return isRule(above) && above.length !== rule.length ? null : toBox(lines, top, bottom)
}

function isTopRule(line: string): boolean {
  return /^─{10,}$/.test(line) || NAMED_RULE.test(line)
}

function toBox(lines: string[], top: number, bottom: number): ScreenBox {
  const typed = lines
    .slice(top + 1, bottom)
    .map((line) => line.slice(2))
    .join('\n')
    .trim()
  const isShell = lines[top + 1]?.startsWith('!') === true
  const hint = !isShell && HINTS.some((pattern) => pattern.test(typed)) ? typed : ''
  let end = top
  while (end > 0 && (lines[end - 1] === '' || EFFORT.test(lines[end - 1] ?? ''))) end--
  return {
    text: hint === '' ? `${isShell ? '!' : ''}${typed}` : '',
    hint,
    above: lines.slice(0, end),
    below: lines.slice(bottom + 1).filter((line) => line !== '' && !EFFORT.test(line)),
    width: lines[bottom]?.length ?? 0,
  }
}

/**
 * Whether a line break between two lines may come from wrapping at `width`: the first word of the
 * second would not have fitted on the first. Two columns are granted to margins.
 */
export function mayWrap(line: string, next: string, width: number): boolean {
  const word = next.trim().split(' ', 1)[0] ?? ''
  return line.length + 1 + word.length > width - 2
}
