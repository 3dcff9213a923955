import { homedir } from 'node:os'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { probeScope } from '../service/scope-probe.ts'
import type { Project } from '../store/projects.ts'
import type { Settings } from '../supervisor/settings.ts'
import type { RightsLimit } from '../supervisor/shared-queue.ts'

/** What the supervisor is told of the configuration. */
export function toSettings(
  config: Config,
  inherited: Record<string, string>,
  hookScript: string,
  worker: string,
): Omit<Settings, 'ask'> {
  const { timeouts, agents } = config
  return {
    home: config.home,
    userHome: inherited['HOME'] ?? homedir(),
    hookScript,
    inherited,
    claude: config.claude,
    outside: {
      ...config.outside,
      templateTools: config.templates.flatMap(({ allowedTools }) => allowedTools),
    },
    maxConcurrent: agents.maxConcurrent,
    minFreeMemoryMb: agents.minFreeMemoryMb,
    takes: { roles: agents.roles, labels: agents.labels },
    markers: config.markers,
    deadlines: {
      startMs: timeouts.startMs,
      noActivityMs: timeouts.noActivityMs,
      totalMs: timeouts.taskMs,
      waitingMs: timeouts.waitingMs,
    },
    exitMs: timeouts.exitMs,
    askMs: timeouts.askMs,
    heartbeatMs: config.queue.heartbeatMs,
    sweepMs: config.queue.sweepMs,
    worker,
    keepMs: config.queue.keepMs,
    look: config.sweep,
  }
}

/** What tasks of a project may do at most, where nobody of this machine asked for more. */
export function limitOf(project: Project | null, claude: Settings['claude']): RightsLimit {
  return {
    permissionMode: project?.permissionMode ?? claude.permissionMode,
    allowedTools: [...claude.allowedTools, ...(project?.allowedTools ?? [])],
    inPlace: project?.inPlace ?? false,
  }
}

/** Asks systemd once whether agents can have scopes, when the first agent needs to know. */
export function scopeFinder(config: Config, logger: Logger): () => Promise<string[] | null> {
  let known: Promise<string[] | null> | null = null
  const find = async () => {
    if (!config.scope.enabled) return null
    const { argv, reason } = await probeScope(config.scope, process.env, process.getuid?.() === 0)
    if (argv === null) logger.info(`agents run without a scope of their own: ${reason}`)
    return argv
  }
  return () => (known ??= find())
}

/** The daemon's host as it stands in a URL. */
export function host(config: Config): string {
  return config.http.host.includes(':') ? `[${config.http.host}]` : config.http.host
}
