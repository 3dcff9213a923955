import type { AlertRules } from '../core/incident/alerts.ts'
import type { BreakerRules } from '../core/incident/breaker.ts'
import type { ClaudeSettings } from '../core/task/claude-settings.ts'
import type { AlertRule } from '../core/outside/alert.ts'
import type { Limits } from '../core/task/budget.ts'
import type { GithubRule } from '../core/outside/github-event.ts'
import type { Scope } from '../core/principal.ts'
import type { PermissionMode } from '../core/task/task.ts'
import type { Template } from '../core/task/template.ts'
import type { LOG_LEVELS } from './fields.ts'
import type { SecretSource } from './secrets.ts'

/** Where a value came from, for `ccm config`. */
export type Origin =
  { from: 'default' } | { from: 'file'; file: string } | { from: 'environment'; variable: string }

/** What a user may do here; `projects` null: in all of them. */
export type Membership = { scopes: Scope[]; projects: string[] | null }

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
  claude: ClaudeSettings
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
    /** How long after the last key somebody with a terminal counts as being at an agent's window. */
    attendedMs: number
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
  breaker: BreakerRules
  /** When people are told. */
  alerts: AlertRules
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
