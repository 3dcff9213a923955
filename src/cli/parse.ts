import { Command, InvalidArgumentError } from 'commander'
import { PERMISSION_MODES, type PermissionMode } from '../core/task/task.ts'
import { nearestName } from '../protocol/faults.ts'
import { readSeconds } from './duration.ts'
import { readPastTime, readTime } from './time.ts'

/** A command with the options that all have, and an example at the end of its help. */
export function createCommand(name: string, summary: string, examples: string[]): Command {
  return new Command(name)
    .description(summary)
    .option('--json', 'print one JSON document on stdout and nothing else')
    .helpOption('-h, --help', 'show this help')
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      ['', examples.length > 1 ? 'Examples:' : 'Example:', ...examples].join('\n  ').replace(/^\n {2}/, '\n'),
    )
}

/** `--priority`: a whole number from -100 to 100. */
export function parsePriority(text: string): number {
  const value = Number(text)
  if (!/^[+-]?\d+$/.test(text) || value < -100 || value > 100) {
    throw new InvalidArgumentError('It must be a whole number from -100 to 100.')
  }
  return value
}

/** `--timeout` as seconds, at most 7 days; a plain number counts seconds. */
export function parseTimeout(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : readSeconds(text)
  if (seconds === null || seconds < 1 || seconds > 7 * 86_400) {
    throw new InvalidArgumentError('It must be a duration such as 90s, 30m or 1h30m, at most 7d.')
  }
  return seconds
}

/** `--at`: when to start, as milliseconds since 1970. */
export function parseAt(text: string): number {
  const at = readTime(text.trim(), Date.now())
  if (at !== null) return at
  throw new InvalidArgumentError(
    'It must be a time such as 07:30 or "2030-01-31 07:30", or a duration from now such as 2h.',
  )
}

/** `--since`, `--until`: a time, or how long ago as a duration; answered as ISO 8601. */
export function parseSince(text: string): string {
  return new Date(parsePast(text)).toISOString()
}

/** As `parseSince`, as milliseconds since 1970. */
export function parsePast(text: string): number {
  const at = readPastTime(text.trim(), Date.now())
  // Further off than a date can be is no time either.
  if (at !== null && Math.abs(at) < 8.64e15) return at
  throw new InvalidArgumentError(
    'It must be a duration such as 30m, 2h or 3d, or a time such as 07:30, 2026-11-20 or "2026-11-20 07:30".',
  )
}

/** `--max-tokens`: a whole number above 0; `k` and `M` stand for thousands and millions. */
export function parseTokens(text: string): number {
  const [, digits, unit] = /^(\d+)([kM]?)$/.exec(text) ?? []
  const value = Number(digits) * { '': 1, k: 1000, M: 1_000_000 }[(unit ?? '') as '' | 'k' | 'M']
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new InvalidArgumentError('It must be a whole number above 0, such as 200000, 200k or 2M.')
}

/** `--max-cost`: US dollars above 0. */
export function parseCost(text: string): number {
  const value = Number(text.replace(/^\$/, ''))
  if (/^\$?\d+(\.\d+)?$/.test(text) && value >= 0.01 && value <= 1_000_000) return value
  throw new InvalidArgumentError('It must be a number of US dollars from 0.01, such as 2.50.')
}

/** `--permission-mode`: one of Claude Code's own. */
export function parsePermissionMode(text: string): PermissionMode {
  const mode = PERMISSION_MODES.find((name) => name === text)
  if (mode !== undefined) return mode
  const near = nearestName(text, [...PERMISSION_MODES])
  throw new InvalidArgumentError(
    `${near === null ? '' : `Did you mean ${near}? `}It must be one of ${PERMISSION_MODES.join(', ')}.`,
  )
}

/** For an option that may be repeated. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

/** `--limit`: how many rows, 1 to 1000. */
export function parseLimit(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 1000) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 1000.')
  }
  return value
}
