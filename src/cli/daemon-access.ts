import type { CliContext } from './context.ts'
import {
  clientOf,
  findDaemon,
  findKeeper,
  findSilent,
  notRunning,
  refuseAgents,
  startDaemon,
  type DaemonAddress,
  type DaemonStart,
} from './daemon-process.ts'

/**
 * How commands reach the daemon of one home; it is looked up once and then kept. `readHome` does not need the
 * configuration: whoever broke it can still see and end what runs. A daemon is only started by `readStart`.
 */
export function createDaemonAccess(
  readHome: () => Promise<string>,
  readStart: () => Promise<DaemonStart>,
  options: { autostart: boolean },
): Pick<CliContext, 'daemon' | 'findDaemon' | 'silentDaemon' | 'keeper' | 'mayStart'> {
  let known: DaemonAddress | null = null
  const find = async () => (known ??= await findDaemon(await readHome()))
  const toDaemon = (address: DaemonAddress) => ({ pid: address.pid, api: clientOf(address) })
  return {
    async findDaemon() {
      const address = await find()
      return address === null ? null : toDaemon(address)
    },
    async silentDaemon() {
      const home = await readHome()
      return findSilent(home) === null ? null : notRunning(home)
    },
    mayStart: async () => refuseAgents(await readStart()),
    keeper: async () => findKeeper(await readHome()),
    async daemon({ start, asked, fresh }) {
      if (fresh === true) known = null
      const found = await find()
      if (found !== null) return toDaemon(found)
      const how = await readStart()
      if (!start || (!options.autostart && asked !== true)) throw notRunning(how.home)
      await refuseAgents(how)
      known = await startDaemon(how)
      return toDaemon(known)
    },
  }
}
