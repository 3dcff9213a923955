/** A stream to print on. Node's stdout and stderr are such streams. */
export type Output = { write: (text: string) => unknown; isTTY?: boolean; columns?: number; rows?: number }

/** Paints a word; without colour it returns the word as it is. */
export type Paint = Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', (text: string) => string>

const CODES: Record<keyof Paint, [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
}

/** Colours only for a terminal, and not when NO_COLOR is set (no-color.org) or TERM is `dumb`; FORCE_COLOR paints everywhere. */
export function createPaint(output: Output, env: Record<string, string | undefined>): Paint {
  const forced = (env.FORCE_COLOR ?? '') !== '' && env.FORCE_COLOR !== '0'
  const on = !env.NO_COLOR && (forced || (output.isTTY === true && env.TERM !== 'dumb'))
  const paint = Object.entries(CODES).map(([name, [open, close]]) => [
    name,
    (text: string) => (on ? `\x1b[${open}m${text}\x1b[${close}m` : text),
  ])
  return Object.fromEntries(paint) as Paint
}

/** Plain lines, with one line below them that is repainted in place. Off a terminal there is no such line. */
export type Live = {
  /** False: `status` does nothing, so what matters must be printed. */
  terminal: boolean
  /** Prints lines for good. */
  print: (text: string) => void
  /** Sets the line below; `''` removes it. Text must be printable and without colour. */
  status: (text: string) => void
}

/** A `Live` on this stream. The status line is cut to the terminal's width, so it never wraps. */
export function createLive(output: Output, paint: Paint): Live {
  const terminal = output.isTTY === true
  let current = ''
  const clear = () => (current === '' ? '' : '\r\x1b[2K')
  const painted = () => (current === '' ? '' : paint.dim(cut(current, (output.columns ?? 80) - 1)))
  return {
    terminal,
    print: (text) => void output.write(`${clear()}${text}\n${painted()}`),
    status: (text) => {
      if (!terminal || text === current) return
      const cleared = clear()
      current = text
      output.write(`${cleared}${painted()}`)
    },
  }
}

/** The longest beginning of `text` that fits into `columns` cells of a terminal, with `…` where it was cut. */
export function cut(text: string, columns: number): string {
  let used = 0
  let kept = ''
  for (const character of text) {
    used += widthOf(character)
    if (used > columns) return `${Array.from(kept).slice(0, -1).join('')}…`
    kept += character
  }
  return kept
}

/** How many cells of a terminal a text takes, at most. */
export function cellsOf(text: string): number {
  return Array.from(text).reduce((cells, character) => cells + widthOf(character), 0)
}

// Errs on the wide side: a line cut early is better than a line that wraps and cannot be cleared.
function widthOf(character: string): number {
  const point = character.codePointAt(0) ?? 0
  return point >= 0x1100 && !(point >= 0x2000 && point <= 0x2bff) ? 2 : 1
}
