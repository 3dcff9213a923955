import type { CliContext } from './context.ts'
import {
  clientOf,
  findDaemon,
  findKeeper,
  notRunning,
  refuseAgents,
  startDaemon,
  type DaemonAddress,
  type DaemonStart,
} from './daemon-process.ts'

/** How commands reach the daemon of one home; it is looked up once and then kept. */
export function createDaemonAccess(
  readStart: () => Promise<DaemonStart>,
  options: { autostart: boolean },
): Pick<CliContext, 'daemon' | 'findDaemon' | 'keeper' | 'mayStart'> {
  let known: DaemonAddress | null = null
  const find = async () => (known ??= await findDaemon((await readStart()).home))
  const toDaemon = (address: DaemonAddress) => ({ pid: address.pid, api: clientOf(address) })
  return {
    async findDaemon() {
      const address = await find()
      return address === null ? null : toDaemon(address)
    },
    mayStart: async () => refuseAgents(await readStart()),
    keeper: async () => findKeeper((await readStart()).home),
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
