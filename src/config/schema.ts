import { z } from 'zod'
import { SCOPES } from '../core/principal.ts'
import { PERMISSION_MODES, promptFault } from '../core/task.ts'
import { GITHUB_EVENTS } from '../core/github-event.ts'
import { patternFault } from '../core/redact.ts'
import type { Fault } from '../protocol/faults.ts'

/** What `log.level` may be, most talkative first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

/** Node's timers take at most 2^31-1 ms (24.8 days), a longer one fires at once: so 24 unless it is no timer. */
const DAY_MS = 86_400_000
const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const duration = (fallback: string, mostDays = 24) =>
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
const limit = (fallback: string) =>
  duration(fallback).refine((ms) => ms >= 2000, 'must be at least 2 s: a slow disk is no hang')
/** As systemd writes sizes: bytes, or a number with K, M, G or T; "infinity" is no limit. */
const size = (fallback: string) =>
  z
    .string()
    .regex(/^([1-9]\d{0,15}[KMGT]?|infinity)$/, 'must be a size such as "512M" or "4G", or "infinity"')
    .default(fallback)
const count = (least: number, most: number) => z.int().min(least).max(most)
// oxlint-disable-next-line no-control-regex -- no program argument can carry a NUL
const argument = z.string().regex(/^[^\0]*$/, 'must not hold a NUL character')
// oxlint-disable-next-line no-control-regex -- control characters are what is refused
const line = argument.regex(/^[^\x00-\x1f\x7f]*$/, 'must be one line without control characters')
const scopes = z.array(z.enum(SCOPES)).min(1)
const marker = line.regex(/^\S(.{0,98}\S)?$/, 'must be 1 to 100 characters without blanks around it')
const httpUrl = line.refine(
  (text) => text === '' || /^https?:$/.test(URL.parse(text)?.protocol ?? ''),
  'must be an http or https URL',
)

/** Where a secret comes from, instead of standing here: see secrets.ts. */
const elsewhere = [
  z.strictObject({ env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/) }),
  z.strictObject({ file: line.regex(/^\//) }),
  z.strictObject({ credential: line.min(1) }),
  z.strictObject({ command: z.array(argument).min(1) }),
] as const
const ELSEWHERE =
  'one of { env = "NAME" }, { file = "/absolute/path" }, { credential = "name" } and { command = ["program", "argument"] }'
/** A secret itself, or where it comes from. */
const secretOr = (text: z.ZodType<string>) =>
  z.union([text, ...elsewhere], `must be text, or ${ELSEWHERE}`).default('')
const secret = secretOr(line)
const environment = z.record(
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
const projectUrl = z
  .string()
  .regex(
    /^(https:\/\/[^\s?#]+|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?[^\s?#]*)?$/,
    'must be an https URL',
  )
  .default('')
const hostName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?(:\d{1,5})?$/, 'must be a host name such as "ccm.example.org"')

const words = z.array(line.min(1).max(200)).max(100).default([])
/** Where updates come in: https but on this machine. */
const apiUrl = (fallback: string) =>
  line
    .regex(
      /^(|https:\/\/[^\s?#@]+|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?[^\s?#@]*)$/,
      'must be an https URL',
    )
    .default(fallback)
const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
const githubRule = z.strictObject({
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
const alertRule = z.strictObject({
  match: z.record(z.string(), z.string()).default({}),
  project: name,
  template: name.optional(),
  approve: z.enum(['never', 'always']).default('never'),
})
const chat = z.union(
  [z.int().transform(String), z.string().regex(/^-?\d{1,20}$/)],
  'must be the id of a chat',
)

/** Every section and key of the file with its rule and default; durations come out in milliseconds. */
export const SECTIONS = {
  http: z.strictObject({
    host: z
      .string()
      .regex(/^[0-9a-zA-Z.:-]{1,100}$/, 'must be an address')
      .default('127.0.0.1'),
    port: count(0, 65_535).default(8765),
    // Serving other machines: only with the names that a TLS proxy in front answers to.
    behind_tls: z.boolean().default(false),
    names: z.array(hostName).default([]),
    // Requests a second that one credential may make on average; it may save up ten seconds of them.
    rate: count(1, 100_000).default(100),
  }),
  claude: z.strictObject({
    command: line.default(''),
    args: z.array(argument).default([]),
    model: line.max(200).default(''),
    permission_mode: z.enum(PERMISSION_MODES).default('acceptEdits'),
    allowed_tools: z.array(line.min(1)).default([]),
    disallowed_tools: z.array(line.min(1)).default([]),
    env: environment.default({}),
  }),
  // What tasks may do whose text came from outside.
  outside: z.strictObject({
    permission_mode: z.enum(['plan', 'dontAsk', 'manual', 'acceptEdits']).default('acceptEdits'),
    allowed_tools: z.array(line.min(1)).default([]),
  }),
  // Without a secret there is no route; with a token the sender gets a comment.
  github: z.strictObject({
    secret,
    token: secret,
    api_url: apiUrl('https://api.github.com'),
    rules: z.array(githubRule).max(200).default([]),
  }),
  alertmanager: z.strictObject({
    token: secret,
    user: line.regex(/^[^:]*$/, 'must not hold a colon').default('alertmanager'),
    password: secret,
    max_open: count(1, 1000).default(10),
    rules: z.array(alertRule).max(200).default([]),
  }),
  // Without `url` the bot asks for its updates itself.
  telegram: z.strictObject({
    token: secret,
    chats: z.array(chat).max(100).default([]),
    operators: z.array(chat).max(100).default([]),
    project: z.union([z.literal(''), name]).default(''),
    template: z.union([z.literal(''), name]).default(''),
    url: apiUrl(''),
    secret,
    api_url: apiUrl('https://api.telegram.org'),
  }),
  agents: z.strictObject({
    max_concurrent: count(1, 1000).default(10),
    min_free_memory_mb: count(0, 1_000_000).default(1024),
    labels: z.array(line.min(1).max(200)).max(50).default([]),
    // None: tasks of any role.
    roles: z
      .array(z.string().regex(/^[a-z0-9-]{1,200}$/, 'must be letters a-z, digits and -'))
      .max(50)
      .default([]),
  }),
  timeouts: z.strictObject({
    no_activity: duration('5m'),
    task: duration('30m'),
    waiting: duration('24h'),
    ask: duration('24h'),
    start: duration('60s'),
    exit: duration('5s'),
    shutdown: duration('10s'),
  }),
  markers: z.strictObject({
    done: marker.default('[DONE]'),
    error: marker.default('[ERROR]'),
    unmarked: z.enum(['fail', 'succeed']).default('fail'),
    nudges: count(0, 5).default(1),
  }),
  queue: z.strictObject({
    lease: duration('10m'),
    heartbeat: duration('30s'),
    sweep: duration('15s'),
    max_queued: count(1, 1_000_000).default(100),
    keep: duration('30d', 3650),
  }),
  auth: z.strictObject({
    supabase_url: projectUrl,
    hs256_secret: secret,
    users: z
      .record(
        z.string().regex(/^[\w.@:-]{1,128}$/, 'must be a user id'),
        z.union([
          scopes,
          z
            .strictObject({
              scopes,
              projects: z.array(z.string().min(1).max(40)).min(1).max(1000).optional(),
            })
            .refine(({ scopes, projects }) => projects === undefined || !scopes.includes('admin'), {
              message: 'gives admin, which is over all projects',
            }),
        ]),
      )
      .default({}),
  }),
  supabase: z.strictObject({
    url: projectUrl,
    secret_key: secret,
    system: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be letters a-z, digits and -, at most 63')
      .default('default'),
    worker: line.max(200).default(''),
  }),
  // 0: no limit.
  budget: z.strictObject({
    task_tokens: count(0, Number.MAX_SAFE_INTEGER).default(0),
    task_usd: z.number().min(0).default(0),
    day_tokens: count(0, Number.MAX_SAFE_INTEGER).default(0),
    day_usd: z.number().min(0).default(0),
  }),
  watchdog: z.strictObject({ event_loop: limit('10s'), loop: limit('60s') }),
  daemon: z.strictObject({
    on_stop: z.enum(['keep', 'release']).default('keep'),
    restart: z.boolean().default(true),
  }),
  scope: z.strictObject({
    enabled: z.boolean().default(true),
    memory_high: size('2G'),
    memory_max: size('4G'),
    tasks_max: count(16, 4_194_304).default(4096),
  }),
  // 0: no limit, and no reserve.
  store: z.strictObject({
    keep: duration('30d', 3650),
    max_mb: count(0, 10_000_000).default(2048),
    keep_audit: duration('365d', 3650),
    ballast_mb: count(0, 100_000).default(16),
  }),
  sweep: z.strictObject({ busy: duration('1s'), quiet: duration('5s') }),
  redact: z.strictObject({
    patterns: z
      .array(
        z.string().superRefine((source, context) => {
          const fault = patternFault(source)
          if (fault !== null) context.addIssue({ code: 'custom', message: fault })
        }),
      )
      .max(50)
      .default([]),
  }),
  log: z.strictObject({
    level: z.enum(LOG_LEVELS).default('info'),
    file: line.regex(/^($|\/)/, 'must be an absolute path').default(''),
    max_mb: count(1, 10_000).default(10),
    keep: count(1, 100).default(5),
    syslog: z.boolean().default(false),
  }),
  limits: z.strictObject({ park: z.boolean().default(true) }),
  breaker: z.strictObject({
    failures: count(2, 20).default(5),
    window: duration('10m'),
    pause: duration('1m'),
    max_pause: duration('15m'),
  }),
  alerts: z.strictObject({
    daemon_down: duration('5m'),
    failure_rate: count(1, 100).default(10),
    window: duration('1h'),
    start_failures: count(1, 1000).default(3),
    queue_age: duration('30m'),
    waiting: duration('30m'),
    command: z.array(argument.min(1)).max(100).default([]),
    webhook: secretOr(httpUrl),
    ntfy: httpUrl.default(''),
    ntfy_token: secret,
    telegram_token: secretOr(line.regex(/^[\w:-]*$/)),
    telegram_chat: line.max(100).default(''),
    telegram_api: httpUrl.default('https://api.telegram.org'),
  }),
}
const budgetTokens = count(1, Number.MAX_SAFE_INTEGER)
const variable = z.strictObject({
  type: z.enum(['text', 'number', 'choice']).default('text'),
  required: z.boolean().default(true),
  default: z.union([z.string(), z.number()], 'must be text or a number').transform(String).optional(),
  choices: z.array(z.string().min(1)).max(100).default([]),
})
/** `[templates.NAME]`, or the front matter of `templates/NAME.md`, whose prompt is the rest of the file. */
export const TEMPLATE = z.strictObject({
  description: line.default(''),
  prompt: z.string().superRefine((prompt, context) => {
    const fault = promptFault(prompt)
    if (fault !== null) context.addIssue({ code: 'custom', message: fault })
  }),
  variables: z
    .record(z.string().regex(/^[a-z][a-z0-9_]{0,39}$/, 'must be named with a-z, 0-9 and _'), variable)
    .default({}),
  role: name.optional(),
  model: line.min(1).max(200).optional(),
  permission_mode: z.enum(PERMISSION_MODES).optional(),
  allowed_tools: z.array(line.min(1)).default([]),
  disallowed_tools: z.array(line.min(1)).default([]),
  timeout: duration('30m', 7).optional(),
  max_tokens: budgetTokens.optional(),
  max_cost_usd: z.number().min(0.01).max(1_000_000).optional(),
  restricted: z.boolean().default(false),
})
/** The whole file; unknown sections and keys are faults. */
export const CONFIG_FILE = z.strictObject({
  http: SECTIONS.http.prefault({}),
  claude: SECTIONS.claude.prefault({}),
  outside: SECTIONS.outside.prefault({}),
  templates: z.record(name, TEMPLATE).prefault({}),
  github: SECTIONS.github.prefault({}),
  alertmanager: SECTIONS.alertmanager.prefault({}),
  telegram: SECTIONS.telegram.prefault({}),
  agents: SECTIONS.agents.prefault({}),
  timeouts: SECTIONS.timeouts.prefault({}),
  markers: SECTIONS.markers.prefault({}),
  queue: SECTIONS.queue.prefault({}),
  auth: SECTIONS.auth.prefault({}),
  supabase: SECTIONS.supabase.prefault({}),
  budget: SECTIONS.budget.prefault({}),
  watchdog: SECTIONS.watchdog.prefault({}),
  daemon: SECTIONS.daemon.prefault({}),
  scope: SECTIONS.scope.prefault({}),
  store: SECTIONS.store.prefault({}),
  sweep: SECTIONS.sweep.prefault({}),
  redact: SECTIONS.redact.prefault({}),
  log: SECTIONS.log.prefault({}),
  limits: SECTIONS.limits.prefault({}),
  breaker: SECTIONS.breaker.prefault({}),
  alerts: SECTIONS.alerts.prefault({}),
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

/** Rules between two values; looked at only where both are valid by themselves. */
export function crossFaults(tree: Record<string, unknown>): Fault[] {
  const faults: Fault[] = []
  const queue = z.object({ lease: SECTIONS.queue.shape.lease, heartbeat: SECTIONS.queue.shape.heartbeat })
  const leases = queue.safeParse(tree['queue'] ?? {})
  if (leases.success && leases.data.heartbeat * 2 > leases.data.lease) {
    faults.push({
      path: ['queue', 'heartbeat'],
      sentence: 'queue.heartbeat must be at most half of queue.lease, or one late heartbeat loses the lease.',
    })
  }
  const { host, behind_tls, names } = SECTIONS.http.shape
  const http = z.object({ host, behind_tls, names }).safeParse(tree['http'] ?? {})
  if (http.success && !isLoopback(http.data.host) && !(http.data.behind_tls && http.data.names.length > 0)) {
    faults.push({
      path: ['http', 'host'],
      sentence:
        'http.host must be 127.0.0.1, ::1 or localhost. Other machines reach ccm through a proxy with TLS only: set http.behind_tls = true and http.names to the names it answers to.',
    })
  }
  const auth = SECTIONS.auth.safeParse(tree['auth'] ?? {})
  if (auth.success && auth.data.hs256_secret !== '' && auth.data.supabase_url === '') {
    faults.push({
      path: ['auth', 'hs256_secret'],
      sentence: 'auth.hs256_secret needs auth.supabase_url, which is the issuer of the tokens.',
    })
  }
  const supabase = SECTIONS.supabase.safeParse(tree['supabase'] ?? {})
  if (supabase.success && (supabase.data.url === '') !== (supabase.data.secret_key === '')) {
    const [there, missing] = supabase.data.url === '' ? ['secret_key', 'url'] : ['url', 'secret_key']
    faults.push({
      path: ['supabase', missing],
      sentence: `supabase.${there} needs supabase.${missing}. \`ccm supabase init\` asks for both.`,
    })
  }
  const both = z.object({ done: SECTIONS.markers.shape.done, error: SECTIONS.markers.shape.error })
  const markers = both.safeParse(tree['markers'] ?? {})
  if (markers.success && markers.data.done === markers.data.error) {
    faults.push({ path: ['markers', 'error'], sentence: 'markers.error must differ from markers.done.' })
  }
  return faults
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '127.0.0.1'
}
