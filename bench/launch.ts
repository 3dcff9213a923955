import { setTimeout as sleep } from 'node:timers/promises'
import { openWindow } from '../src/tmux/window.ts'
import { compare, type Bench } from './row.ts'
import { cpuMs } from './support/cpu.ts'
import { withTmux } from './support/tmux.ts'

const WINDOWS = 50
const ROUNDS = 9
const PROGRAM = ['sleep', '3600']

/**
 * 50 windows with a trivial program, until the ids of all are known: wall time, and CPU of our process, its
 * children and the tmux server. Ours sets the marks of each pane as well. Peer: 50 `tmux new-window`
 * processes, one after the other.
 */
export const bench: Bench = () =>
  withTmux(async ({ server, tmux }) => {
    const format = '#{window_id} #{pane_id} #{pane_pid}'
    const ours = (): Promise<unknown> =>
      Promise.all(
        Array.from({ length: WINDOWS }, (_, i) =>
          openWindow(server, {
            name: `agent-${i}`,
            argv: PROGRAM,
            marks: { task: `task-${i}`, attempt: '1' },
          }),
        ),
      )
    const peer = async (): Promise<void> => {
      for (let i = 0; i < WINDOWS; i++) {
        await tmux(['new-window', '-d', '-n', `agent-${i}`, '-P', '-F', format, '--', ...PROGRAM])
      }
    }
    const measure = async (launch: () => Promise<unknown>): Promise<{ wallMs: number; cpu: number }> => {
      const pids = [server.identity().pid, server.controlPid() ?? []].flat()
      const [cpu, at] = [cpuMs(pids), performance.now()]
      await launch()
      const used = { wallMs: performance.now() - at, cpu: cpuMs(pids) - cpu }
      await server.run([['kill-window', '-a', '-t', '=ccm:ccm']])
      await sleep(300)
      return used
    }

    await measure(ours)
    const [ourRounds, peerRounds] = [[] as Measure[], [] as Measure[]]
    for (let round = 0; round < ROUNDS; round++) {
      peerRounds.push(await measure(peer))
      ourRounds.push(await measure(ours))
    }
    const wall = (rounds: Measure[]): number[] => rounds.map((round) => round.wallMs)
    const cpu = (rounds: Measure[]): number[] => rounds.map((round) => round.cpu)
    return [
      compare('50 launches, wall', 'ms', 3, wall(peerRounds), wall(ourRounds)),
      compare('50 launches, CPU', 'ms', 6, cpu(peerRounds), cpu(ourRounds)),
    ]
  })

type Measure = { wallMs: number; cpu: number }
