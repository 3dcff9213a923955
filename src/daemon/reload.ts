import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { withSecrets } from '../config/with-secrets.ts'
import type { Settings } from '../supervisor/attempts/settings.ts'

/** What of the configuration counts for a running daemon from the next attempt on. */
const RELOADED = [
  'log.level',
  'agents.maxConcurrent',
  'agents.minFreeMemoryMb',
  'timeouts.noActivityMs',
  'timeouts.taskMs',
  'timeouts.waitingMs',
  'timeouts.startMs',
  'timeouts.exitMs',
  'timeouts.attendedMs',
  'timeouts.shutdownMs',
  'claude.args',
  'claude.model',
  'claude.permissionMode',
  'claude.allowedTools',
  'claude.disallowedTools',
  'claude.env',
  'daemon.onStop',
]

/** Keys (as in Config) that differ: those that can be taken over, and those that need a restart. */
export function changesOf(before: Config, after: Config): { taken: string[]; later: string[] } {
  const changed = Object.entries(after).flatMap(([section, value]) => {
    const old: unknown = before[section as keyof Config]
    if (['origins', 'file', 'values', 'secretSources'].includes(section)) return []
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return isDeepStrictEqual(value, old) ? [] : [section]
    return Object.keys({ ...(old as object), ...value })
      .filter((key) => !isDeepStrictEqual((old as never)[key], (value as never)[key]))
      .map((key) => `${section}.${key}`)
  })
  return {
    taken: changed.filter((key) => RELOADED.includes(key)),
    later: changed.filter((key) => !RELOADED.includes(key)),
  }
}

/** Brings what can be taken over into the settings of the running supervisor; agents at work keep theirs. */
export function takeOver(settings: Settings, config: Config): void {
  const { timeouts, agents, claude } = config
  settings.maxConcurrent = agents.maxConcurrent
  settings.minFreeMemoryMb = agents.minFreeMemoryMb
  settings.exitMs = timeouts.exitMs
  settings.attendedMs = timeouts.attendedMs
  settings.deadlines = {
    startMs: timeouts.startMs,
    noActivityMs: timeouts.noActivityMs,
    totalMs: timeouts.taskMs,
    waitingMs: timeouts.waitingMs,
  }
  settings.claude = { ...claude, command: settings.claude.command }
}

/** The configuration that counts from now on; a faulty one changes nothing and is told. */
export async function reload(
  read: () => Config,
  before: Config,
  settings: Settings,
  hide: (values: string[]) => void,
  logger: Logger,
): Promise<Config> {
  let after: Config
  try {
    const { config, values } = await withSecrets(read(), process.env)
    hide(values)
    after = config
  } catch (err) {
    logger.error({ err, code: 'BAD_CONFIG' }, 'the configuration was not reloaded; the old one counts')
    return before
  }
  const { taken, later } = changesOf(before, after)
  takeOver(settings, after)
  logger.level = after.log.level
  logger.info(`configuration reloaded; changed: ${taken.join(', ') || 'nothing'}`)
  if (later.length > 0) logger.warn(`these changes need a restart (ccm restart): ${later.join(', ')}`)
  return after
}
