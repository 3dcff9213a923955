import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { keeperOf } from '../service/notify.ts'
import { host } from './daemon-settings.ts'
import { writeWhole } from './home.ts'

/**
 * Tells where this daemon answers: commands by `daemon.json` in its home, until it is withdrawn, and people by a
 * greeting, on stderr with what to do next unless somebody else says it.
 */
export function announce(of: {
  home: string
  config: Config
  port: number
  version: string
  startedAt: number
  /** Null: only the port is served. */
  socketFile: string | null
  keptBy: ReturnType<typeof keeperOf>
  say: ((greeting: string) => void) | null
}): { withdraw: () => void } {
  const { home, config, port, version, startedAt } = of
  const addressFile = join(home, 'daemon.json')
  writeWhole(
    addressFile,
    JSON.stringify({
      pid: process.pid,
      host: config.http.host,
      port,
      version,
      startedAt,
      socket: of.socketFile,
      keeper: of.keptBy === 'shell' ? process.ppid : null,
    }),
  )
  const greeting = `ccm ${version} listens on http://${host(config)}:${port} (home ${home})`
  if (of.say !== null) of.say(greeting)
  else
    process.stderr.write(
      `${greeting}\nNext, in another terminal: ccm run "Fix the failing test" --dir ~/code/app\nCtrl-C ends the daemon; agents at work live on.\n`,
    )
  return { withdraw: () => rmSync(addressFile, { force: true }) }
}
