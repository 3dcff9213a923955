import { isRule, mayWrap } from './screen-layout.ts'
import type { ScreenDialog } from './screen.ts'

// What a dialog's last lines say. The client writes them with an indent of at most three columns.
const KEY_HINT =
  /^ {0,3}(?:Esc to cancel|Enter to |Press Enter to |ctrl\+g to edit in |Esc to (?:close|go back|exit))/i
const CURSOR = /^( {0,4})❯ (\S.*)$/
const NUMBERED = /^( {0,4})(?:❯ | {2})(\d{1,2})\. (.*)$/
// `╌` frames the command or diff of a permission; it still shows when the top has scrolled away.
const FRAME = /^ {0,2}╌{10,}$/

/** A dialog at the bottom of a screen that has no input box, or null when none is recognised. */
export function readDialog(lines: string[]): ScreenDialog | null {
  if (!endsLikeDialog(lines)) return null
  const start = findStart(lines)
  if (start === null) return null
  const region = lines.slice(start)
  const width = Math.max(...lines.filter(isRule).map((line) => line.length), 0)
  const { options, selected } = readOptions(region, width)
  const titles = region.filter((line) => /\p{L}/u.test(line)).map((line) => line.trim())
  const kind = kindOf(titles, options)
  if (kind === null) return null
  return { kind, title: titleOf(kind, titles), options, selected }
}

function endsLikeDialog(lines: string[]): boolean {
  const last = lines.slice(-3).filter((line) => line !== '')
  if (last.some((line) => KEY_HINT.test(line))) return true
  const end = lines.at(-1) ?? ''
  if (/^ {2}Syntax theme: /.test(end)) return true
  return NUMBERED.test(end) && end.endsWith('(esc)')
}

/** Index of the dialog's first line; null when nothing that only the client draws frames it. */
function findStart(lines: string[]): number | null {
  for (let at = lines.length - 1; at >= 0; at--) {
    const line = lines[at] ?? ''
    if (/^Welcome to Claude Code\b/.test(line)) return at + 1
    if (!isRule(line)) continue
    const first = lines.slice(at + 1).find((next) => next !== '') ?? ''
    const number = Number(NUMBERED.exec(first)?.[2] ?? 0)
    // The rule above a question's last option ("Chat about this") is not its top.
    if (number < 2) return at + 1
  }
  return lines.some((line) => FRAME.test(line)) ? 0 : null
}

function readOptions(region: string[], width: number): Pick<ScreenDialog, 'options' | 'selected'> {
  const cursorAt = region.findLastIndex((line) => CURSOR.test(line))
  const [, indent = '', first = ''] = CURSOR.exec(region[cursorAt] ?? '') ?? []
  const numbered = readNumbered(region, width)
  if (numbered.options.length > 0) return numbered
  if (cursorAt < 0) return { options: [], selected: null }
  const sibling = new RegExp(`^ {${indent.length + 2}}(\\S.*)$`)
  const isOption = (line: string | undefined) => sibling.test(line ?? '') || line?.trim() === '✔'
  let top = cursorAt
  while (top > 0 && isOption(region[top - 1])) top--
  let end = cursorAt + 1
  while (end < region.length && isDeeper(region[end], indent.length + 2)) end++
  const options = region.slice(top, end).map((line) => line.replace('❯', ' ').trim())
  return first === ''
    ? { options: [], selected: null }
    : { options: options.map(bare), selected: cursorAt - top }
}

function isDeeper(line: string | undefined, columns: number): boolean {
  return line !== undefined && line !== '' && line.startsWith(' '.repeat(columns))
}

/** Options `1.` to `n.` in a row; the last such row counts, as a plan or a diff may hold lists too. */
function readNumbered(region: string[], width: number): Pick<ScreenDialog, 'options' | 'selected'> {
  let options: string[] = []
  let selected: number | null = null
  let row = 0
  for (const [at, line] of region.entries()) {
    const match = NUMBERED.exec(line)
    const label = match?.[3] ?? ''
    const number = Number(match?.[2] ?? 0)
    if (number === 1) {
      options = []
      selected = null
    }
    if (match && number === options.length + 1) {
      options.push(bare(label))
      if (line.trimStart().startsWith('❯')) selected = options.length - 1
      row = at
    } else if (!match && line !== '' && at === row + 1 && options.length > 0) {
      const before = region[at - 1] ?? ''
      if (!mayWrap(before, line, width) || !/^ {5}/.test(line)) continue
      options[options.length - 1] += ` ${line.trim()}`
      row = at
    }
  }
  return selected === null && !region.some((line) => CURSOR.test(line))
    ? { options: [], selected: null }
    : { options, selected }
}

function bare(label: string): string {
  return label.replace(/^(?:✔|\[.\])\s+/, '').trim()
}

function kindOf(titles: string[], options: string[]): ScreenDialog['kind'] | null {
  const title = titles[0] ?? ''
  const text = titles.join(' ')
  const keys = titles.slice(-3).join(' ')
  if (title.startsWith('Accessing workspace:')) return 'trust'
  if (title.startsWith('Adding a new directory:')) return 'add-dir'
  if (title.startsWith('Detected a custom API key')) return 'api-key'
  if (/Bypass Permissions mode/.test(title)) return 'bypass'
  if (title.startsWith("Auto mode can't")) return 'auto-mode'
  if (/^(?:Security notes:|Let's get started)/.test(title)) return 'onboarding'
  if (
    title.startsWith('What do you want to do?') &&
    options.some((label) => /\blimit\b|automatically/.test(label))
  )
    return 'limit'
  if (/^(?:[☐☒] |← .*→)/.test(title) || /Enter to select · .*navigate/.test(keys)) return 'question'
  if (options.length === 0) return null
  if (title.startsWith('Ready to code?') || /\bWould you like to proceed\?/.test(text.slice(-600)))
    return 'plan'
  if (/\bDo you want to [^?]{1,300}\?/.test(text) && /^Yes\b/.test(options[0] ?? '')) return 'permission'
  return 'other'
}

function titleOf(kind: ScreenDialog['kind'], titles: string[]): string {
  const asked = titles.find((line) => !/^(?:[☐☒] |← .*→)/.test(line)) ?? ''
  return (kind === 'question' ? asked : (titles[0] ?? '')).slice(0, 200)
}
