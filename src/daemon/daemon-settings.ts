import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { createGuard } from '../agent/guard.ts'
import { attemptFiles } from '../agent/launch.ts'
import type { Config } from '../config/config.ts'
import type { Lease } from '../core/task/queue.ts'
import { probeScope } from '../service/scope-probe.ts'
import type { Project } from '../store/projects.ts'
import type { Settings } from '../supervisor/attempts/settings.ts'
import type { RightsLimit } from '../supervisor/shared/shared-queue.ts'

/** What the supervisor is told: of the configuration, and of this process. */
export function toSettings(
  config: Config,
  own: {
    /** The part of the daemon's environment that agents may see. */
    inherited: Record<string, string>
    /** The folder of the package. */
    folder: string
    worker: string
    /** The queue is another machine's. */
    isFar: boolean
    port: number
    secretOf: (attempt: Lease) => string
    logger: Logger
  },
): Settings {
  const { inherited, folder, worker, port, secretOf } = own
  const { timeouts, agents } = config
  return {
    home: config.home,
    userHome: inherited['HOME'] ?? homedir(),
    hookScript: join(folder, 'hooks/record-event.sh'),
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
    attendedMs: timeouts.attendedMs,
    askMs: timeouts.askMs,
    heartbeatMs: config.queue.heartbeatMs,
    sweepMs: config.queue.sweepMs,
    worker,
    keepMs: config.queue.keepMs,
    look: config.sweep,
    guard: own.isFar
      ? createGuard(join(folder, 'hooks/guard-agent.sh'), (attempt) => attemptFiles(attempt).exit)
      : null,
    scope: scopeFinder(config, own.logger),
    ask: (attempt) => ({
      url: `http://${host(config)}:${port}/internal/attempts/${attempt.taskId}/${attempt.attempt}/permission`,
      secret: secretOf(attempt),
    }),
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
function scopeFinder(config: Config, logger: Logger): () => Promise<string[] | null> {
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
