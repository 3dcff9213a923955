import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSweep } from '../src/tmux/sweep.ts'
import { openWindow } from '../src/tmux/window.ts'
import { createScriptedFleet } from '../test/scripted/fleet.ts'
import { signal } from '../test/support/signal.ts'
import { median, type Bench, type Row } from './row.ts'
import { cpuMs } from './support/cpu.ts'
import { withTmux } from './support/tmux.ts'

const AGENTS = 10
const ROUNDS = 5
const WINDOWS = 500
const CHATTY = 10
const SWEEPS = 20

/** How soon ccm is there again when it or its tmux was killed, with scripted agents at work; needs a built dist. */
export const bench: Bench = async () => [...(await restarts()), ...(await manyWindows())]

async function restarts(): Promise<Row[]> {
  await using fleet = await createScriptedFleet({ dirs: AGENTS })
  await fleet.up()
  fleet.hold()
  for (let index = 0; index < AGENTS; index++) await fleet.add(`bench${index}`, { holdFile: fleet.holdFile })
  while (fleet.living().length < AGENTS) await sleep(100)
  await sleep(2000)
  const ready: number[] = []
  let same = 0
  for (let round = 0; round < ROUNDS; round++) {
    const before = fleet.living().map(({ pid }) => pid)
    await fleet.crash()
    const from = performance.now()
    await fleet.up()
    const status = await fleet.stage.status()
    if (status.agents !== AGENTS) throw new Error(`${status.agents} of ${AGENTS} agents were taken back`)
    ready.push(performance.now() - from)
    same += fleet.living().filter(({ pid }) => before.includes(pid)).length
  }
  const server = Number(await fleet.stage.tmux('display-message', '-p', '#{pid}'))
  const from = performance.now()
  signal(server, 'SIGKILL')
  const lost = `SELECT 1 FROM state_changes WHERE to_state = 'lost'`
  while (fleet.ask(lost).length === 0) await sleep(10)
  const noticed = performance.now() - from
  fleet.letGo()
  await fleet.over(120_000)
  const faults = await fleet.faults()
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return [
    row(`restart to ready, two commands included, ${AGENTS} agents at work`, median(ready), 'ms', '< 3000'),
    row('agents taken back with the same pid', (same / ROUNDS / AGENTS) * 100, '%', '>= 95'),
    row('tmux killed, until the record says so', noticed, 'ms', '< 5000'),
  ]
}

/** As the daemon reads them: every second, while some agent works. */
async function manyWindows(): Promise<Row[]> {
  return withTmux(async ({ server, tmux }) => {
    for (let index = 0; index < WINDOWS; index++)
      await openWindow(server, { name: `agent-${index}`, argv: ['cat', '-u'] })
    const ttys = (await tmux(['list-panes', '-a', '-F', '#{window_name} #{pane_tty}']))
      .split('\n')
      .filter((line) => /^agent-\d /.test(line))
      .map((line) => line.split(' ')[1] ?? '')
    const painter = spawn(
      process.execPath,
      [join(import.meta.dirname, 'support/painter.ts'), ...ttys.slice(0, CHATTY)],
      {
        stdio: 'inherit',
      },
    )
    try {
      const sweep = createSweep(server, Date.now)
      const first = performance.now()
      const { panes } = await sweep({ all: true })
      const allMs = performance.now() - first
      if (panes.length < WINDOWS) throw new Error(`${panes.length} of ${WINDOWS} windows were seen`)
      await sleep(3000)
      const times: number[] = []
      // All of tmux, its drawing included.
      const pids = [server.identity().pid, server.controlPid() ?? []].flat()
      const [cpu, from] = [cpuMs(pids), performance.now()]
      for (let round = 0; round < SWEEPS; round++) {
        const at = performance.now()
        await sweep()
        times.push(performance.now() - at)
        await sleep(1000 - (performance.now() - at))
      }
      const used = ((cpuMs(pids) - cpu) / (performance.now() - from)) * 100
      return [
        row(`${WINDOWS} windows, all of them read`, allMs, 'ms', '< 5000'),
        row(`${WINDOWS} windows, ${CHATTY} chatty: a sweep`, median(times), 'ms', '< 5000'),
        row(`${WINDOWS} windows, ${CHATTY} chatty: CPU, a sweep a second`, used, '% of a core', '< 50'),
        row(
          `${WINDOWS} windows: memory of the process`,
          process.memoryUsage.rss() / 1024 / 1024,
          'MB',
          '< 300',
        ),
      ]
    } finally {
      painter.kill()
      await once(painter, 'exit')
    }
  })
}

function row(name: string, ours: number, unit: string, goal: string): Row {
  return { name, peer: null, ours, ratio: null, unit, goal }
}
