import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { TomlError, parse as parseToml } from 'smol-toml'
import type { z } from 'zod'
import { CONFIG_FILE, type LOG_LEVELS, SECTIONS, crossFaults } from './schema.ts'
import type { Limits } from '../core/budget.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { Scope } from '../core/principal.ts'
import type { PermissionMode } from '../core/task.ts'
import type { AlertRule } from '../core/alert.ts'
import type { GithubRule } from '../core/github-event.ts'
import { templateFaults, type Template } from '../core/template.ts'
import type { SecretSource } from './secrets.ts'
import { readTemplateFiles, toTemplate } from './templates.ts'
import { faultsOf, nearestName, shown } from '../protocol/faults.ts'

/** Where a value came from, for `ccm config`. */
type Origin = { from: 'default' } | { from: 'file'; file: string } | { from: 'environment'; variable: string }

/** What a user may do here; `projects` null: in all of them. */
type Membership = { scopes: Scope[]; projects: string[] | null }

/** The whole configuration as plain data, valid in itself. Durations are milliseconds. */
export type Config = {
  /** Absolute folder of all state: database, token, sockets, attempts. It need not exist yet. */
  home: string
  /** The file that was read; null when there is none. */
  file: string | null
  /** `port` 0: any free one. `host` is loopback unless `behindTls`; `names` are what a proxy answers to. */
  http: { host: string; port: number; behindTls: boolean; names: string[]; rate: number }
  /** Whose tokens count beside the daemon's own and API keys; `supabaseUrl` null: no user's. */
  auth: { supabaseUrl: string | null; hs256Secret: SecretSource; users: Record<string, Membership> }
  claude: {
    /** Program to start; null: search for it. */
    command: string | null
    /** Further arguments for every agent. */
    args: string[]
    model: string | null
    permissionMode: PermissionMode
    allowedTools: string[]
    disallowedTools: string[]
    /** Added to every agent's environment; may hold secrets: never log it. */
    env: Record<string, string>
  }
  /** What tasks may do whose text came from outside. */
  outside: { permissionMode: PermissionMode; allowedTools: string[] }
  templates: Template[]
  /** An empty secret: no route; an empty token: no comments. */
  github: { secret: SecretSource; token: SecretSource; apiUrl: string; rules: GithubRule[] }
  alertmanager: {
    token: SecretSource
    user: string
    password: SecretSource
    maxOpen: number
    rules: AlertRule[]
  }
  /** An empty token: no bot; an empty `url`: it asks for its updates. Empty names: none. */
  telegram: {
    token: SecretSource
    chats: string[]
    operators: string[]
    project: string
    template: string
    url: string
    secret: SecretSource
    apiUrl: string
  }
  /** A task with labels needs all of them in `labels`; `roles` null: tasks of any role. */
  agents: { maxConcurrent: number; minFreeMemoryMb: number; labels: string[]; roles: string[] | null }
  timeouts: {
    noActivityMs: number
    taskMs: number
    waitingMs: number
    /** How long a permission request is held for an answer before only its dialog is left. */
    askMs: number
    /** From the launch until the prompt is confirmed. */
    startMs: number
    exitMs: number
    shutdownMs: number
  }
  /** `nudges`: how many neutral questions an agent gets that ended without a marker. */
  markers: { done: string; error: string; unmarked: 'fail' | 'succeed'; nudges: number }
  queue: { leaseMs: number; heartbeatMs: number; sweepMs: number; maxQueued: number; keepMs: number }
  /** The shared queue; null: the embedded one. `worker` null: named after the host. */
  supabase: {
    url: string
    secretKey: SecretSource
    system: string
    worker: string | null
  } | null
  /** How long records of attempts are kept, and how large the database may become; 0: no limit. */
  store: { keepMs: number; maxBytes: number; ballastBytes: number; keepAuditMs: number }
  /** What one task, and all of them in a day, may use; null: no limit. */
  budget: { task: Limits; day: Limits }
  /** How often all screens are read while agents work, and when nothing moves. */
  sweep: { busyMs: number; quietMs: number }
  /** How long the event loop, and any other loop, may give no sign of life. */
  watchdog: { eventLoopMs: number; loopMs: number }
  /** What a signal does to agents; whether a daemon that died in the background is started again. */
  daemon: { onStop: 'keep' | 'release'; restart: boolean }
  /** Limits of each agent's scope, as systemd writes them; used where systemd runs. */
  scope: { enabled: boolean; memoryHigh: string; memoryMax: string; tasksMax: number }
  /** Regular expressions of secrets besides the known ones; each is checked to be harmless. */
  redact: { patterns: string[] }
  /** `file` null: stderr, or the `daemon.log` of the background daemon; both roll over. */
  log: {
    level: (typeof LOG_LEVELS)[number]
    file: string | null
    maxBytes: number
    keep: number
    syslog: boolean
  }
  /** `park`: a usage limit keeps its task until the reset instead of failing it. */
  limits: { park: boolean }
  breaker: { failures: number; windowMs: number; pauseMs: number; maxPauseMs: number }
  /** When people are told; `failureRate` in percent. */
  alerts: {
    daemonDownMs: number
    failureRate: number
    windowMs: number
    startFailures: number
    queueAgeMs: number
    waitingMs: number
  }
  /** Whom; URLs and tokens may be secrets: never log them. */
  notify: {
    command: string[]
    webhook: string | null
    ntfy: { topicUrl: string; token: string | null } | null
    telegram: { baseUrl: string; token: string; chat: string } | null
  }
  /** Secrets of `[claude.env]` and `[alerts]` that come from elsewhere, by key: their places are empty until `withSecrets`. */
  secretSources: Record<string, SecretSource>
  /** By key as in the file: `http.port`, `claude.env.FOO`; also `home` and `file`. */
  origins: Record<string, Origin>
  /** Every value by its key as in `origins`; durations as text. May hold secrets: never log it. */
  values: Record<string, unknown>
}

type Environment = Record<string, string | undefined>
type Tree = Record<string, unknown>

/**
 * Reads the configuration: `CCM_CONFIG`, else `ccm.toml` in `cwd`, else the user's own, else defaults; over
 * it every `CCM__SECTION__KEY`. Throws one CcmError BAD_CONFIG that lists every fault with its file or variable.
 */
export function loadConfig(env: Environment, cwd: string): Config {
  const faults: string[] = []
  const origins: Record<string, Origin> = {}
  const home = readHome(env, cwd, faults, origins)
  const { file, tree } = readFile(env, cwd, faults)
  origins['file'] = set(env['CCM_CONFIG'])
    ? { from: 'environment', variable: 'CCM_CONFIG' }
    : { from: 'default' }
  for (const [section, shape] of Object.entries(SECTIONS)) {
    for (const key of Object.keys(shape.shape)) origins[`${section}.${key}`] = { from: 'default' }
  }
  if (file !== null) {
    for (const key of leafKeys(tree)) origins[key] = { from: 'file', file }
  }
  overlayEnvironment(tree, env, origins, faults)
  if (file !== null) readTemplateFiles(file, tree, origins, faults)

  const parsed = CONFIG_FILE.safeParse(tree, { jitless: true })
  const issues = parsed.success ? [] : faultsOf(parsed.error.issues, keysAt)
  const where = (path: string[]) => {
    for (let length = path.length; length > 0; length--) {
      const origin = origins[path.slice(0, length).join('.')]
      if (origin?.from === 'environment') return origin.variable
      if (origin?.from === 'file') return shown(origin.file).replace(/^"|"$/g, '')
    }
    return file === null ? 'defaults' : shown(file).replace(/^"|"$/g, '')
  }
  for (const { path, sentence } of [...issues, ...crossFaults(tree)])
    faults.push(`${where(path)}: ${sentence}`)
  const templates = parsed.success ? Object.entries(parsed.data.templates).map(toTemplate) : []
  for (const template of templates) {
    for (const sentence of templateFaults(template))
      faults.push(`${where(['templates', template.name])}: ${sentence}`)
  }
  if (parsed.success) {
    const names = templates.map(({ name }) => name)
    const { github, alertmanager, telegram } = parsed.data
    const used = {
      github: github.rules.flatMap(({ template }) => template ?? []),
      alertmanager: alertmanager.rules.flatMap(({ template }) => template ?? []),
      telegram: telegram.template === '' ? [] : [telegram.template],
    }
    for (const [section, given] of Object.entries(used)) {
      for (const name of given.filter((name) => !names.includes(name)))
        faults.push(`${where([section])}: ${section} names the template ${name}, which does not exist.`)
    }
  }
  if (!parsed.success || faults.length > 0) throw badConfig(faults)
  return { home, file, ...toConfig(parsed.data, env), origins, values: flat(parsed.data) }
}

function toConfig(
  data: z.output<typeof CONFIG_FILE>,
  env: Environment,
): Omit<Config, 'home' | 'file' | 'origins' | 'values'> {
  const { claude, agents, timeouts, markers, queue, sweep } = data
  return {
    http: {
      host: data.http.host,
      port: data.http.port,
      behindTls: data.http.behind_tls,
      names: data.http.names,
      rate: data.http.rate,
    },
    auth: {
      supabaseUrl: data.auth.supabase_url === '' ? null : data.auth.supabase_url.replace(/\/+$/, ''),
      hs256Secret: data.auth.hs256_secret,
      users: Object.fromEntries(
        Object.entries(data.auth.users).map(([id, given]) => [id, membershipOf(given)]),
      ),
    },
    claude: {
      command: claude.command === '' ? null : claude.command.replace(/^~(?=\/)/, () => userHome(env)),
      args: claude.args,
      model: claude.model === '' ? null : claude.model,
      permissionMode: claude.permission_mode,
      allowedTools: claude.allowed_tools,
      disallowedTools: claude.disallowed_tools,
      env: Object.fromEntries(
        Object.entries(claude.env).flatMap(([name, value]) =>
          typeof value === 'string' ? [[name, value]] : [],
        ),
      ),
    },
    outside: {
      permissionMode: data.outside.permission_mode,
      allowedTools: data.outside.allowed_tools,
    },
    templates: Object.entries(data.templates).map(toTemplate),
    github: {
      secret: data.github.secret,
      token: data.github.token,
      apiUrl: data.github.api_url.replace(/\/+$/, ''),
      rules: data.github.rules.map(({ author_association, template, ...rule }) => ({
        ...rule,
        authorAssociation: author_association,
        template: template ?? null,
      })),
    },
    alertmanager: {
      token: data.alertmanager.token,
      user: data.alertmanager.user,
      password: data.alertmanager.password,
      maxOpen: data.alertmanager.max_open,
      rules: data.alertmanager.rules.map(({ template, ...rule }) => ({
        ...rule,
        template: template ?? null,
      })),
    },
    telegram: {
      token: data.telegram.token,
      chats: data.telegram.chats,
      operators: data.telegram.operators,
      project: data.telegram.project,
      template: data.telegram.template,
      url: data.telegram.url,
      secret: data.telegram.secret,
      apiUrl: data.telegram.api_url.replace(/\/+$/, ''),
    },
    agents: {
      maxConcurrent: agents.max_concurrent,
      minFreeMemoryMb: agents.min_free_memory_mb,
      labels: agents.labels,
      roles: agents.roles.length === 0 ? null : agents.roles,
    },
    timeouts: {
      noActivityMs: timeouts.no_activity,
      taskMs: timeouts.task,
      waitingMs: timeouts.waiting,
      askMs: timeouts.ask,
      startMs: timeouts.start,
      exitMs: timeouts.exit,
      shutdownMs: timeouts.shutdown,
    },
    markers,
    queue: {
      leaseMs: queue.lease,
      heartbeatMs: queue.heartbeat,
      sweepMs: queue.sweep,
      maxQueued: queue.max_queued,
      keepMs: queue.keep,
    },
    supabase: toSupabase(data.supabase),
    budget: {
      task: toLimits(data.budget.task_tokens, data.budget.task_usd),
      day: toLimits(data.budget.day_tokens, data.budget.day_usd),
    },
    store: {
      keepMs: data.store.keep,
      maxBytes: data.store.max_mb * 1024 * 1024,
      ballastBytes: data.store.ballast_mb * 1024 * 1024,
      keepAuditMs: data.store.keep_audit,
    },
    sweep: { busyMs: sweep.busy, quietMs: sweep.quiet },
    watchdog: { eventLoopMs: data.watchdog.event_loop, loopMs: data.watchdog.loop },
    daemon: { onStop: data.daemon.on_stop, restart: data.daemon.restart },
    scope: {
      enabled: data.scope.enabled,
      memoryHigh: data.scope.memory_high,
      memoryMax: data.scope.memory_max,
      tasksMax: data.scope.tasks_max,
    },
    redact: data.redact,
    log: {
      level: data.log.level,
      file: data.log.file === '' ? null : data.log.file,
      maxBytes: data.log.max_mb * 1024 * 1024,
      keep: data.log.keep,
      syslog: data.log.syslog,
    },
    limits: data.limits,
    breaker: {
      failures: data.breaker.failures,
      windowMs: data.breaker.window,
      pauseMs: data.breaker.pause,
      maxPauseMs: data.breaker.max_pause,
    },
    alerts: {
      daemonDownMs: data.alerts.daemon_down,
      failureRate: data.alerts.failure_rate,
      windowMs: data.alerts.window,
      startFailures: data.alerts.start_failures,
      queueAgeMs: data.alerts.queue_age,
      waitingMs: data.alerts.waiting,
    },
    notify: toNotify(data.alerts),
    secretSources: sourcesOf(data),
  }
}

function toSupabase(data: z.output<typeof CONFIG_FILE>['supabase']): Config['supabase'] {
  const { url, secret_key: secretKey, system, worker } = data
  if (url === '') return null
  return {
    url: url.replace(/\/+$/, ''),
    secretKey,
    system,
    worker: worker === '' ? null : worker,
  }
}

function toNotify(alerts: z.output<typeof CONFIG_FILE>['alerts']): Config['notify'] {
  const { command, webhook, ntfy, ntfy_token, telegram_token, telegram_chat, telegram_api } = alerts
  return {
    command,
    webhook: textOf(webhook) || null,
    ntfy: ntfy === '' ? null : { topicUrl: ntfy, token: textOf(ntfy_token) || null },
    telegram:
      telegram_token === ''
        ? null
        : { baseUrl: telegram_api, token: textOf(telegram_token), chat: telegram_chat },
  }
}

function textOf(secret: SecretSource): string {
  return typeof secret === 'string' ? secret : ''
}

function sourcesOf({ claude, alerts }: z.output<typeof CONFIG_FILE>): Record<string, SecretSource> {
  const { webhook, ntfy_token, telegram_token } = alerts
  const all = [
    ...Object.entries(claude.env).map(([name, value]) => [`claude.env.${name}`, value] as const),
    ...Object.entries({ webhook, ntfy_token, telegram_token }).map(
      ([key, value]) => [`alerts.${key}`, value] as const,
    ),
  ]
  return Object.fromEntries(all.filter(([, value]) => typeof value !== 'string'))
}

function toLimits(tokens: number, usd: number): Limits {
  return { maxTokens: tokens === 0 ? null : tokens, maxCostUsd: usd === 0 ? null : usd }
}

/** What reads a minute as so many milliseconds is a duration. */
function isDuration(section: string, key: string): boolean {
  return fieldAt(section, key)?.safeParse('90s').data === 90_000
}

function exactDuration(ms: number): string {
  const units = Object.entries({ d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 })
  const [unit, size] = units.find(([, size]) => ms >= size && ms % size === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}

function flat(data: z.output<typeof CONFIG_FILE>): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const [section, table] of Object.entries(data)) {
    for (const [key, value] of Object.entries(table)) {
      if (section === 'claude' && key === 'env') {
        for (const [name, text] of Object.entries(value as object)) values[`claude.env.${name}`] = text
      } else values[`${section}.${key}`] = isDuration(section, key) ? exactDuration(Number(value)) : value
    }
  }
  return values
}

function readHome(env: Environment, cwd: string, faults: string[], origins: Record<string, Origin>): string {
  const given = env['CCM_HOME']
  origins['home'] = set(given) ? { from: 'environment', variable: 'CCM_HOME' } : { from: 'default' }
  const state = absolute(env['XDG_STATE_HOME']) ?? join(userHome(env), '.local/state')
  const home = set(given) ? resolve(cwd, given) : join(state, 'ccm')
  if (hasControl(home))
    faults.push(`${set(given) ? 'CCM_HOME' : 'home'}: it must be a path without control characters.`)
  return home
}

function readFile(env: Environment, cwd: string, faults: string[]): { file: string | null; tree: Tree } {
  const named = env['CCM_CONFIG']
  const user = absolute(env['XDG_CONFIG_HOME']) ?? join(userHome(env), '.config')
  const candidates = set(named)
    ? [resolve(cwd, named)]
    : [resolve(cwd, 'ccm.toml'), join(user, 'ccm', 'ccm.toml')]
  for (const file of candidates) {
    const name = hasControl(file) ? JSON.stringify(file) : file
    try {
      return { file, tree: parseToml(readFileSync(file, 'utf8')) }
    } catch (error) {
      if (error instanceof TomlError) {
        // Only the first line: the rest quotes the file, which may hold keys of [claude.env].
        const first = error.message.split('\n', 1)[0]
        faults.push(`${name}: line ${error.line}, column ${error.column}: ${first}.`)
        return { file, tree: {} }
      }
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        if (set(named)) faults.push(`CCM_CONFIG: there is no file ${name}.`)
        continue
      }
      faults.push(`${name}: it cannot be read (${code ?? messageOf(error)}).`)
      return { file, tree: {} }
    }
  }
  return { file: null, tree: {} }
}

/** Puts every `CCM__SECTION__KEY` into the tree, as the type its field takes. */
function overlayEnvironment(
  tree: Tree,
  env: Environment,
  origins: Record<string, Origin>,
  faults: string[],
): void {
  // Sorted, so that CCM__CLAUDE__ENV comes before CCM__CLAUDE__ENV__FOO and does not undo it.
  for (const variable of Object.keys(env).sort()) {
    const text = env[variable]
    if (!variable.startsWith('CCM__') || text === undefined) continue
    const [first = '', second = '', ...rest] = variable.slice(5).split('__')
    const [section, key] = [first.toLowerCase(), second.toLowerCase()]
    const field = fieldAt(section, key)
    const inner = section === 'claude' && key === 'env' && rest.length > 0 ? rest.join('__') : null
    if (field === null || (rest.length > 0 && inner === null) || inner === '') {
      const best = nearestName(variable.slice(5), knownVariables())
      const hint = best === null ? '' : `; did you mean CCM__${best.toUpperCase()}?`
      faults.push(`${shown(variable)}: the variable is not known${hint}${hint === '' ? '.' : ''}`)
      continue
    }
    const table = (tree[section] ??= {})
    if (!isTable(table)) continue
    if (inner === null) {
      table[key] = valueFor(field, text)
      for (const known of Object.keys(origins))
        if (known.startsWith(`${section}.${key}.`)) delete origins[known]
      origins[`${section}.${key}`] = { from: 'environment', variable }
    } else {
      const map = (table[key] ??= {})
      if (!isTable(map)) continue
      map[inner] = text
      origins[`${section}.${key}.${inner}`] = { from: 'environment', variable }
    }
  }
}

/** What a variable's text means for a field: the text itself where that is valid, else JSON, else a TOML value. */
function valueFor(field: z.ZodType, text: string): unknown {
  const readings = [
    () => text,
    () => JSON.parse(text) as unknown,
    () => parseToml(`value = ${text}`)['value'],
  ]
  let last: unknown = text
  for (const read of readings) {
    try {
      const value = read()
      if (field.safeParse(value).success) return value
      last = value
    } catch {
      // Not in this notation.
    }
  }
  return last
}

function fieldAt(section: string, key: string): z.ZodType | null {
  const shape: Record<string, z.ZodType> | undefined = Object.hasOwn(SECTIONS, section)
    ? SECTIONS[section as keyof typeof SECTIONS].shape
    : undefined
  return shape !== undefined && Object.hasOwn(shape, key) ? (shape[key] ?? null) : null
}

function keysAt(path: string[]): string[] {
  const [section] = path
  if (section === undefined) return Object.keys(SECTIONS)
  return path.length === 1 && Object.hasOwn(SECTIONS, section)
    ? Object.keys(SECTIONS[section as keyof typeof SECTIONS].shape)
    : []
}

function knownVariables(): string[] {
  return Object.entries(SECTIONS).flatMap(([section, shape]) =>
    Object.keys(shape.shape).map((key) => `${section}__${key}`),
  )
}

/** Dotted names of the values in a tree: two levels, and three inside `claude.env`. */
function leafKeys(tree: Tree): string[] {
  return Object.entries(tree).flatMap(([section, table]) =>
    isTable(table)
      ? Object.entries(table).flatMap(([key, value]) =>
          section === 'claude' && key === 'env' && isTable(value)
            ? Object.keys(value).map((name) => `claude.env.${name}`)
            : [`${section}.${key}`],
        )
      : [],
  )
}

function badConfig(faults: string[]): CcmError {
  const [only] = faults
  const message =
    faults.length === 1
      ? `The configuration has a fault. ${only}`
      : `The configuration has ${faults.length} faults:\n${faults.map((fault) => `  ${fault}`).join('\n')}`
  return new CcmError('BAD_CONFIG', message)
}

function membershipOf(given: Scope[] | { scopes: Scope[]; projects?: string[] | undefined }): Membership {
  return Array.isArray(given)
    ? { scopes: given, projects: null }
    : { scopes: given.scopes, projects: given.projects ?? null }
}

function isTable(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function set(value: string | undefined): value is string {
  return value !== undefined && value !== ''
}

/** The XDG rules ignore relative paths. */
function absolute(path: string | undefined): string | null {
  return path !== undefined && isAbsolute(path) ? path : null
}

function userHome(env: Environment): string {
  return absolute(env['HOME']) ?? homedir()
}

function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\x00-\x1f\x7f]/.test(text)
}
