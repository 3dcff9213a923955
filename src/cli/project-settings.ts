import { CcmError } from '../core/errors.ts'
import { nearestName } from '../protocol/faults.ts'
import {
  PROJECT_SETTING_NAMES,
  type ProjectChangesBody,
  type ProjectSettingsJson,
} from '../protocol/project.ts'
import { readSeconds, showDuration } from './duration.ts'
import { oneLine } from './printable.ts'

type Name = keyof ProjectSettingsJson
type Kind = 'text' | 'count' | 'amount' | 'flag' | 'list' | 'seconds'

/** What each setting takes on the command line, and one line about it. */
const SETTINGS: Record<Name, { kind: Kind; about: string }> = {
  model: { kind: 'text', about: 'Claude model' },
  permission_mode: { kind: 'text', about: "Claude Code's own permission mode" },
  allowed_tools: { kind: 'list', about: 'rules of what needs no question, "Bash(npm test:*)" say' },
  disallowed_tools: { kind: 'list', about: 'rules of what is forbidden' },
  max_running: { kind: 'count', about: 'at most so many tasks at once' },
  paused: { kind: 'flag', about: 'yes: its tasks stay queued' },
  timeout_s: { kind: 'seconds', about: 'longest time for an attempt: 90s, 30m, 1h30m' },
  priority: { kind: 'count', about: 'of tasks that ask for none, -100 to 100' },
  in_place: { kind: 'flag', about: 'yes: no worktree, one task at a time in the directory itself' },
  setup: { kind: 'list', about: 'commands run in a new worktree' },
  setup_timeout_s: { kind: 'seconds', about: 'longest time for one of them' },
  copy: { kind: 'list', about: 'ignored files copied into a new worktree, ".env" say' },
  link: { kind: 'list', about: 'ignored files linked into it, "node_modules" say' },
  max_tokens: { kind: 'count', about: 'budget of a task' },
  max_cost_usd: { kind: 'amount', about: 'budget of a task in US dollars' },
  max_tokens_per_day: { kind: 'count', about: 'budget of a day' },
  max_cost_usd_per_day: { kind: 'amount', about: 'budget of a day in US dollars' },
}

/** The settings as lines for `--help`. */
export function settingsHelp(): string[] {
  return PROJECT_SETTING_NAMES.map((name) => `${name.padEnd(21)} ${SETTINGS[name].about}`)
}

/**
 * The changes that `KEY=VALUE`, `KEY+=VALUE`, `KEY-=VALUE` and `--unset KEY` ask for. A list is its values one
 * by one, or a JSON list. Throws BAD_INPUT with every fault at once; the daemon checks the values themselves.
 */
export function readChanges(
  assignments: string[],
  unset: string[],
  before: ProjectSettingsJson,
): ProjectChangesBody {
  const changes: Record<string, unknown> = {}
  const faults: string[] = []
  for (const text of assignments) {
    const [, name = '', sign = '', value = ''] = /^([^=+]*?)([+-]?)=(.*)$/s.exec(text) ?? []
    if (name === '') {
      faults.push(`${quoted(text)} is not KEY=VALUE.`)
      continue
    }
    const known = nameOf(name, faults)
    if (known === null) continue
    const { kind } = SETTINGS[known]
    if (sign !== '' && kind !== 'list') {
      faults.push(`${known} is no list: write ${known}=VALUE.`)
    } else if (kind === 'list') {
      const now = (changes[known] ?? (sign === '' ? [] : before[known])) as string[]
      const values = listOf(value)
      if (sign === '-') {
        for (const missing of values.filter((entry) => !now.includes(entry))) {
          faults.push(`${known} does not hold ${quoted(missing)}.`)
        }
        changes[known] = now.filter((entry) => !values.includes(entry))
      } else changes[known] = [...now, ...values.filter((entry) => !now.includes(entry))]
    } else if (Object.hasOwn(changes, known)) {
      faults.push(`${known} is given twice.`)
    } else {
      const read = valueOf(kind, value)
      if (read === undefined) faults.push(`${known} ${expected(kind)}, not ${quoted(value)}.`)
      else changes[known] = read
    }
  }
  for (const name of unset) {
    const known = nameOf(name, faults)
    if (known === null) continue
    if (Object.hasOwn(changes, known)) faults.push(`${known} is both given and unset.`)
    changes[known] =
      { list: [], flag: false }[SETTINGS[known].kind as string] ?? (known === 'priority' ? 0 : null)
  }
  if (faults.length > 0) {
    throw new CcmError('BAD_INPUT', faults.join('\n     '), { remedy: 'See: ccm projects set --help' })
  }
  return changes
}

/** A setting for a person, on one line; null when it is not set. */
export function showSetting(name: Name, settings: ProjectSettingsJson): string | null {
  const value = settings[name]
  if (value === null || (Array.isArray(value) && value.length === 0)) return null
  if (value === false || (name === 'priority' && value === 0)) return null
  const { kind } = SETTINGS[name]
  if (kind === 'flag') return 'yes'
  if (kind === 'seconds') return showDuration(Number(value) * 1000)
  if (name.includes('cost')) return `$${String(value)}`
  return (Array.isArray(value) ? value : [String(value)]).map((entry) => oneLine(entry)).join('  ')
}

function nameOf(given: string, faults: string[]): Name | null {
  const name = given.trim().replaceAll('-', '_')
  const exact = PROJECT_SETTING_NAMES.find((known) => known === name)
  if (exact !== undefined) return exact
  const near = nearestName(name, PROJECT_SETTING_NAMES)
  faults.push(`${quoted(given)} is no setting of a project${near === null ? '.' : `; did you mean ${near}?`}`)
  return null
}

function listOf(value: string): string[] {
  if (value === '') return []
  if (value.startsWith('[')) {
    try {
      const parsed: unknown = JSON.parse(value)
      if (Array.isArray(parsed) && parsed.every((entry) => typeof entry === 'string')) return parsed
    } catch {
      // A pattern such as [ab]* is one value.
    }
  }
  return [value]
}

function valueOf(kind: Kind, text: string): string | number | boolean | undefined {
  if (kind === 'text') return text === '' ? undefined : text
  if (kind === 'flag') {
    if (/^(yes|true|on|1)$/i.test(text)) return true
    return /^(no|false|off|0)$/i.test(text) ? false : undefined
  }
  if (kind === 'seconds') return (/^\d+$/.test(text) ? Number(text) : readSeconds(text)) ?? undefined
  if (kind === 'count') {
    const [, digits = '', unit = ''] = /^([+-]?\d+(?:\.\d+)?)([kM]?)$/.exec(text) ?? []
    const value = Number(digits) * ({ k: 1000, M: 1_000_000 }[unit] ?? 1)
    return digits !== '' && Number.isSafeInteger(value) ? value : undefined
  }
  const amount = /^\$?(\d+(\.\d+)?)$/.exec(text)?.[1]
  return amount === undefined ? undefined : Number(amount)
}

function expected(kind: Kind): string {
  if (kind === 'flag') return 'takes yes or no'
  if (kind === 'seconds') return 'takes a duration such as 90s, 30m or 1h30m'
  if (kind === 'count') return 'takes a whole number, 200k say'
  return kind === 'amount' ? 'takes an amount such as 2.50' : 'takes a value'
}

function quoted(text: string): string {
  return JSON.stringify(oneLine(text, 60))
}
