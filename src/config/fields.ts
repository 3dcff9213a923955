import { z } from 'zod'
import { GITHUB_EVENTS } from '../core/outside/github-event.ts'
import { SCOPES } from '../core/principal.ts'

/** What `log.level` may be, most talkative first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

/** Node's timers take at most 2^31-1 ms (24.8 days), a longer one fires at once: so 24 unless it is no timer. */
const DAY_MS = 86_400_000

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A time as text or seconds, in milliseconds; more than 0 and at most `mostDays`. */
export const duration = (fallback: string, mostDays = 24) =>
  z
    .unknown()
    .transform((value, context) => {
      const ms = readDurationMs(value)
      if (ms !== null && ms > 0 && ms <= mostDays * DAY_MS) return ms
      context.addIssue(
        ms === null
          ? 'must be a duration such as "30s", "5m" or "24h", or a number of seconds'
          : `must be more than 0 and at most ${mostDays} days`,
      )
      return z.NEVER
    })
    .prefault(fallback)

/** Of the watchdog: shorter ones would take a slow disk for a hang. */
export const limit = (fallback: string) =>
  duration(fallback).refine((ms) => ms >= 2000, 'must be at least 2 s: a slow disk is no hang')

/** As systemd writes sizes: bytes, or a number with K, M, G or T; "infinity" is no limit. */
export const size = (fallback: string) =>
  z
    .string()
    .regex(/^([1-9]\d{0,15}[KMGT]?|infinity)$/, 'must be a size such as "512M" or "4G", or "infinity"')
    .default(fallback)

/** A whole number within these bounds. */
export const count = (least: number, most: number) => z.int().min(least).max(most)

/** Text that a program can be given as one argument. */
// oxlint-disable-next-line no-control-regex -- no program argument can carry a NUL
export const argument = z.string().regex(/^[^\0]*$/, 'must not hold a NUL character')

/** Text without control characters. */
// oxlint-disable-next-line no-control-regex -- control characters are what is refused
export const line = argument.regex(/^[^\x00-\x1f\x7f]*$/, 'must be one line without control characters')

/** At least one scope of the API. */
export const scopes = z.array(z.enum(SCOPES)).min(1)

/** What an agent ends its last message with. */
export const marker = line.regex(/^\S(.{0,98}\S)?$/, 'must be 1 to 100 characters without blanks around it')

/** An http or https URL, or nothing. */
export const httpUrl = line.refine(
  (text) => text === '' || /^https?:$/.test(URL.parse(text)?.protocol ?? ''),
  'must be an http or https URL',
)

/** Where a secret comes from, instead of standing here: see secrets.ts. */
const elsewhere = [
  z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable') }),
  z.strictObject({ file: line.regex(/^\//, 'must be an absolute path') }),
  z.strictObject({ credential: line.min(1) }),
  z.strictObject({ command: z.array(argument).min(1) }),
] as const

const ELSEWHERE =
  'one of { env = "NAME" }, { file = "/absolute/path" }, { credential = "name" } and { command = ["program", "argument"] }'

/** A secret itself, or where it comes from. */
export const secretOr = (text: z.ZodType<string>) =>
  z.union([text, ...elsewhere], `must be text, or ${ELSEWHERE}`).default('')

/** A secret, or where it comes from; nothing unless given. */
export const secret = secretOr(line)

/** Variables of the agents; a value may come from elsewhere. */
export const environment = z.record(
  z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_]*$/,
      'must be named with letters, digits and _ only, as an environment variable',
    ),
  z.union(
    [z.union([argument, z.number(), z.boolean()]).transform(String), ...elsewhere],
    `must be text without a NUL character, or ${ELSEWHERE}`,
  ),
)

/** An https URL, http on this machine; nothing unless given. */
export const projectUrl = z
  .string()
  .regex(
    /^(https:\/\/[^\s?#]+|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?[^\s?#]*)?$/,
    'must be an https URL',
  )
  .default('')

/** A host name with or without a port. */
export const hostName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?(:\d{1,5})?$/, 'must be a host name such as "ccm.example.org"')

const words = z.array(line.min(1).max(200)).max(100).default([])

/** Where updates come in: https but on this machine. */
export const apiUrl = (fallback: string) =>
  line
    .regex(
      /^(|https:\/\/[^\s?#@]+|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?[^\s?#@]*)$/,
      'must be an https URL',
    )
    .default(fallback)

/** The name of a template, a label or the like. */
export const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')

/** Which event of GitHub becomes which task. */
export const githubRule = z.strictObject({
  repository: z
    .string()
    .regex(/^(\*|[\w.-]{1,100}\/(\*|[\w.-]{1,100}))$/, 'must be "owner/name", "owner/*" or "*"'),
  event: z.array(z.enum(GITHUB_EVENTS)).default([]),
  action: words,
  labels: words,
  author_association: words,
  branch: words,
  project: name,
  template: name.optional(),
  approve: z.enum(['never', 'strangers', 'always']).default('strangers'),
})

/** Which alert becomes which task. */
export const alertRule = z.strictObject({
  match: z.record(z.string(), z.string()).default({}),
  project: name,
  template: name.optional(),
  approve: z.enum(['never', 'always']).default('never'),
})

/** A chat of Telegram by its number. */
export const chat = z.union(
  [z.int().transform(String), z.string().regex(/^-?\d{1,20}$/, 'must be the id of a chat')],
  'must be the id of a chat',
)

/** How many tokens a template lets its tasks use. */
export const budgetTokens = count(1, Number.MAX_SAFE_INTEGER)

/** One variable of a template. */
export const variable = z.strictObject({
  type: z.enum(['text', 'number', 'choice']).default('text'),
  required: z.boolean().default(true),
  default: z.union([z.string(), z.number()], 'must be text or a number').transform(String).optional(),
  choices: z.array(z.string().min(1)).max(100).default([]),
})

/** `500ms`, `30s`, `5m`, `1h30m`, `2d`, or seconds as a number; null for anything else. */
function readDurationMs(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? Math.round(value * 1000) : null
  if (typeof value !== 'string') return null
  const text = value.trim()
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000)
  if (!/^(\d+(\.\d+)?\s*(ms|[smhd])\s*)+$/.test(text)) return null
  let ms = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)\s*(ms|[smhd])/g)) {
    ms += Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN)
  }
  return Math.round(ms)
}
