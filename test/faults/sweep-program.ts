import { createInterface } from 'node:readline'
import { createSweep } from '../../src/tmux/sweep.ts'
import { openTmuxServer } from '../../src/tmux/server.ts'
import { cpuMs } from '../../bench/support/cpu.ts'

/** What one sweep read, and the CPU that this process, its children, its control client and tmux have used by then. */
export type Swept = { pid: number; serverPid: number; panes: number; screens: number; cpuMs: number }

/**
 * The daemon's reader of screens alone, to be measured: `node sweep-program.ts TMUX-FOLDER`. Sweeps once for each line
 * it is sent, the first time all screens, and prints a `Swept` for it.
 */
const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
await using server = await openTmuxServer({ folder: process.argv[2] ?? '', env })
const sweep = createSweep(server, Date.now)
let all = true
for await (const _ of createInterface({ input: process.stdin })) {
  const { panes, screens } = await sweep({ all })
  all = false
  const { pid: serverPid } = server.identity()
  const used = cpuMs([serverPid, server.controlPid() ?? []].flat())
  const swept: Swept = {
    pid: process.pid,
    serverPid,
    panes: panes.length,
    screens: screens.size,
    cpuMs: used,
  }
  process.stdout.write(`${JSON.stringify(swept)}\n`)
}
