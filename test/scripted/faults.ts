import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { isAlive } from '../e2e/stage.ts'
import { signal } from '../support/signal.ts'
import { sizeOf, type ScriptedFleet } from './fleet.ts'

async function stop(fleet: ScriptedFleet, ms: number): Promise<void> {
  const pid = fleet.pidOfDaemon()
  signal(pid, 'SIGSTOP')
  await sleep(ms)
  signal(pid, 'SIGCONT')
}

/** One thing that goes wrong, and whether the daemon ends with it. */
export type Fault = { name: string; strike: (fleet: ScriptedFleet) => Promise<void>; endsDaemon: boolean }
const some = <T>(items: T[]): T | undefined => items[Math.floor(Math.random() * items.length)]
/** Faults of the processes. */
export const FAULTS: Fault[] = [
  { name: 'daemon killed', strike: (fleet) => fleet.crash(), endsDaemon: true },
  {
    name: 'tmux killed',
    strike: async ({ stage }) =>
      signal(Number(await stage.tmux('display-message', '-p', '#{pid}')), 'SIGKILL'),
    endsDaemon: false,
  },
  {
    name: 'agent killed',
    strike: async (fleet) => {
      const agent = some(fleet.living())
      if (agent !== undefined && isAlive(agent.pid)) signal(agent.pid, 'SIGKILL')
    },
    endsDaemon: false,
  },
  { name: 'daemon stopped for 5 s', strike: (fleet) => stop(fleet, 5000), endsDaemon: false },
  { name: 'daemon stopped beyond its leases', strike: (fleet) => stop(fleet, 30_000), endsDaemon: false },
  {
    name: 'daemon out of descriptors for 6 s',
    strike: async (fleet) => {
      const pid = fleet.pidOfDaemon()
      const limit = (soft: number) => execa('prlimit', ['--pid', String(pid), `--nofile=${soft}:`])
      await limit(sizeOf(pid).descriptors + 1)
      await sleep(6000)
      await limit(1024)
    },
    endsDaemon: false,
  },
  {
    name: 'daemon restarted',
    strike: async ({ stage }) => void (await stage.ccm(['restart'])),
    endsDaemon: true,
  },
  {
    name: 'window killed',
    strike: async ({ stage }) => {
      const windows = (await stage.tmux('list-windows', '-F', '#W'))
        .split('\n')
        .filter((name) => name.startsWith('agent-'))
      const window = some(windows)
      if (window !== undefined) await stage.tmux('kill-window', '-t', window).catch(() => undefined)
    },
    endsDaemon: false,
  },
]
