import { isRule, mayWrap } from './screen-layout.ts'
import type { ScreenDialog } from './screen.ts'

// One part of a dialog's last line, which the client indents by at most three columns.
const KEY_HINT = /^(?:Press )?(?:Esc|Enter|ctrl\+g) to [a-z]/i
const CURSOR = /^( {0,4})❯ (\S.*)$/
const NUMBERED = /^( {0,4})(?:❯ | {2})(\d{1,2})\. (.*)$/
// Frames a command or a diff; it still shows when the dialog's top has scrolled away.
const FRAME = /^ ?╌{10,}$/

/** A dialog at the bottom of a screen that has no input box, or null when none is recognised. */
export function readDialog(lines: string[]): ScreenDialog | null {
  const end = readEnd(lines)
  if (end === null) return null
  const top = findTop(lines)
  // Prose has an indent of two columns at least, so a hint left of that is the client's own.
  const isClients = end.indent < 2 || end.clipped || lines.some((line) => FRAME.test(line))
  if (top === null && (!isClients || end.hint === '')) return null
  const region = lines.slice(top ?? 0)
  const width = Math.max(...lines.filter(isRule).map((line) => line.length), 0)
  const { options, selected } = readOptions(region, width)
  const titles = region.filter((line) => /\p{L}/u.test(line)).map((line) => line.trim())
  const kind = kindOf(titles, options, top !== null)
  if (kind === null || (end.hint === '' && (selected === null || kind === 'other'))) return null
  return { kind, title: titleOf(kind, titles, top !== null), options, selected }
}

/** How the screen ends, if like a dialog: with a hint at keys, or with its last option. */
function readEnd(lines: string[]): { hint: string; indent: number; clipped: boolean } | null {
  const last = lines.slice(-4).filter((line) => line !== '')
  const clipped = last.some((line) => /^ {0,3}↑ \d+ more lines?$/.test(line))
  const hint = last.find((line) => hintsKeys(line) || /^ {1,2}Syntax theme: /.test(line))
  if (hint !== undefined) return { hint, indent: hint.search(/\S/), clipped }
  const option = lines.slice(-6).findLast((line) => NUMBERED.test(line))
  return option === undefined ? null : { hint: '', indent: 4, clipped }
}

function hintsKeys(line: string): boolean {
  return /^ {0,3}[^\s●❯]/.test(line) && line.split(' · ').some((part) => KEY_HINT.test(part.trim()))
}

/** Index of the dialog's first line; null when its upper rule is not on the screen. */
function findTop(lines: string[]): number | null {
  for (let at = lines.length - 1; at >= 0; at--) {
    const line = lines[at] ?? ''
    if (/^Welcome to Claude Code\b/.test(line)) return at + 1
    if (!isRule(line)) continue
    const first = lines.slice(at + 1).find((next) => next !== '') ?? ''
    // Rules inside a dialog: above a question's last option, between a plan and its options.
    if (Number(NUMBERED.exec(first)?.[2] ?? 0) > 1 || / Claude has written up a plan/.test(first)) continue
    return first.startsWith('❯') ? null : at + 1
  }
  return null
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

function kindOf(titles: string[], options: string[], whole: boolean): ScreenDialog['kind'] | null {
  // Without the dialog's top its first line is the middle of a plan or a command: the agent's own words.
  const title = whole ? (titles[0] ?? '') : ''
  const text = titles.join(' ')
  const keys = titles.slice(-3).join(' ')
  // Before the titles: with a header of no letters a question's first words are the agent's own, too.
  if (/^(?:[☐☒] |← .*→)/.test(title) || /Enter to select · .*navigate/.test(keys)) return 'question'
  if (title.startsWith('Accessing workspace:')) return 'trust'
  if (title.startsWith('Adding a new directory:')) return 'add-dir'
  if (title.startsWith('Detected a custom API key')) return 'api-key'
  if (/Bypass Permissions\b/.test(title)) return 'bypass'
  if (title.startsWith("Auto mode can't")) return 'auto-mode'
  if (/^(?:Security notes:|Let's get started|Choose the text style)/.test(title)) return 'onboarding'
  if (
    title.startsWith('What do you want to do?') &&
    options.some((label) => /\blimit\b|automatically|^Stop and wait/.test(label))
  )
    return 'limit'
  if (options.length === 0) return null
  if (
    /^(?:Ready to code|Exit plan mode)\?/.test(title) ||
    /\bWould you like to proceed\?/.test(text.slice(-600))
  )
    return 'plan'
  if (/\bDo you want to [^?]{1,300}\?/.test(text) && /^Yes\b/.test(options[0] ?? '')) return 'permission'
  return 'other'
}

function titleOf(kind: ScreenDialog['kind'], titles: string[], whole: boolean): string {
  const question = titles.findLast((line) => line.endsWith('?') && !NUMBERED.test(line))
  const asked = kind === 'question' ? titles.find((line) => !/^(?:[☐☒] |← .*→)/.test(line)) : question
  return ((whole && kind !== 'question' ? titles[0] : (asked ?? titles[0])) ?? '').slice(0, 200)
}
