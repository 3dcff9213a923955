import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { keeperOf } from '../service/notify.ts'
import { host } from './daemon-settings.ts'
import { writeWhole } from './home.ts'

/** How others find this daemon. */
export type Address = {
  /**
   * Tells where it answers: commands by `daemon.json` in its home, and people by a greeting, on stderr with what to do
   * next unless somebody else says it.
   */
  announce: (of: {
    config: Config
    port: number
    version: string
    startedAt: number
    /** Null: only the port is served. */
    socketFile: string | null
    keptBy: ReturnType<typeof keeperOf>
    say: ((greeting: string) => void) | null
  }) => void
  /** What was not announced stays: the file of a daemon that died names the shell that starts it again. */
  withdraw: () => void
}

export function createAddress(home: string): Address {
  const addressFile = join(home, 'daemon.json')
  let isAnnounced = false

  const announce: Address['announce'] = (of) => {
    const { config, port, version, startedAt } = of
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
    isAnnounced = true
    const greeting = `ccm ${version} listens on http://${host(config)}:${port} (home ${home})`
    if (of.say !== null) of.say(greeting)
    else
      process.stderr.write(
        `${greeting}\nNext, in another terminal: ccm run "Fix the failing test" --dir ~/code/app\nCtrl-C ends the daemon; agents at work live on.\n`,
      )
  }

  return {
    announce,
    withdraw() {
      if (isAnnounced) rmSync(addressFile, { force: true })
    },
  }
}
