import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSweep } from '../src/tmux/sweep.ts'
import { openWindow } from '../src/tmux/window.ts'
import { compare, type Bench } from './row.ts'
import { cpuMs, cpuMsOf } from './support/cpu.ts'
import { withTmux } from './support/tmux.ts'

const PANES = 100
const ROUNDS = 5
const PEER_SWEEPS = 2
const OUR_SWEEPS = 40

/**
 * CPU of one reading of 100 panes of 200x50 that repaint at 10 Hz: our process, its children and the tmux
 * server, less what the server needs anyhow to draw. Peer: one `tmux capture-pane` process a pane.
 */
export const bench: Bench = () =>
  withTmux(async ({ server, tmux }) => {
    const opened = await Promise.all(
      Array.from({ length: PANES }, (_, i) =>
        openWindow(server, { name: `agent-${i}`, argv: ['sleep', '3600'] }),
      ),
    )
    const paneIds = opened.map((window) => window.paneId)
    const ttys = (await tmux(['list-panes', '-a', '-F', '#{window_name} #{pane_tty}']))
      .split('\n')
      .filter((line) => line.startsWith('agent-'))
      .map((line) => line.split(' ')[1] ?? '')
    const painter = spawn(process.execPath, [join(import.meta.dirname, 'support/painter.ts'), ...ttys], {
      stdio: 'inherit',
    })
    try {
      await sleep(1500)
      const serverPid = server.identity().pid
      const sweep = createSweep(server, Date.now)
      const ourSweep = async (): Promise<void> => {
        const { screens } = await sweep({ only: (pane) => pane.windowName !== 'ccm' })
        if (screens.size !== PANES) throw new Error(`read ${screens.size} of ${PANES} panes`)
      }
      const peerSweep = async (): Promise<void> => {
        for (const id of paneIds) await tmux(['capture-pane', '-p', '-t', id])
      }
      const drawing = async (): Promise<number> => {
        const [cpu, at] = [cpuMsOf(serverPid), performance.now()]
        await sleep(1000)
        return (cpuMsOf(serverPid) - cpu) / (performance.now() - at)
      }
      const measure = async (times: number, once: () => Promise<void>): Promise<number> => {
        const before = await drawing()
        const pids = [serverPid, server.controlPid() ?? []].flat()
        const [cpu, at] = [cpuMs(pids), performance.now()]
        for (let i = 0; i < times; i++) await once()
        const [used, wall] = [cpuMs(pids) - cpu, performance.now() - at]
        return (used - wall * ((before + (await drawing())) / 2)) / times
      }
      await ourSweep()
      const [peer, ours]: [number[], number[]] = [[], []]
      for (let round = 0; round < ROUNDS; round++) {
        peer.push(await measure(PEER_SWEEPS, peerSweep))
        ours.push(await measure(OUR_SWEEPS, ourSweep))
      }
      return [compare('CPU of a sweep over 100 repainting panes', 'ms', 75, peer, ours)]
    } finally {
      painter.kill()
      await once(painter, 'exit')
    }
  })
