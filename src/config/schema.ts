import { z } from 'zod'
import { patternFault } from '../core/redact-pattern.ts'
import { PERMISSION_MODES, promptFault } from '../core/task/task.ts'
import {
  alertRule,
  apiUrl,
  argument,
  budgetTokens,
  chat,
  count,
  duration,
  environment,
  githubRule,
  hostName,
  httpUrl,
  limit,
  line,
  LOG_LEVELS,
  marker,
  name,
  projectUrl,
  scopes,
  secret,
  secretOr,
  size,
  variable,
} from './fields.ts'

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
    attended: duration('15m'),
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
    // Claude Code and its hooks had 16 at once, threads counted; beside them are the start script, the guard with 3 at
    // most, and the agent's own commands.
    tasks_max: count(32, 4_194_304).default(4096),
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
    telegram_token: secretOr(line.regex(/^[\w:-]*$/, 'must be letters, digits, ":", "_" and "-"')),
    telegram_chat: line.max(100).default(''),
    telegram_api: httpUrl.default('https://api.telegram.org'),
  }),
}

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
