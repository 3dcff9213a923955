import type { z } from 'zod'
import type { Limits } from '../core/task/budget.ts'
import type { Scope } from '../core/principal.ts'
import type { Config, Membership } from './config.ts'
import { CONFIG_FILE } from './schema.ts'
import type { SecretSource } from './secrets.ts'
import { type Environment, userHome } from './sources.ts'
import { toTemplate } from './templates.ts'

/** What was parsed, in the shape the daemon uses: empty texts are null, durations and sizes say their unit. */
export function toConfig(
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
      attendedMs: timeouts.attended,
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

function membershipOf(given: Scope[] | { scopes: Scope[]; projects?: string[] | undefined }): Membership {
  return Array.isArray(given)
    ? { scopes: given, projects: null }
    : { scopes: given.scopes, projects: given.projects ?? null }
}
