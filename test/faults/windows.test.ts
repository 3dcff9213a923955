import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { createSweep } from '../../src/tmux/sweep.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { openTestTmux } from '../tmux/fixture.ts'

const PAINTER = join(import.meta.dirname, '../../bench/support/painter.ts')

test('500 windows with ten chatty ones: a sweep takes less than 5 s, half a core and 300 MB', async () => {
  await using tmux = await openTestTmux()
  const { server } = tmux
  for (let index = 0; index < 500; index++)
    await openWindow(server, { name: `agent-${index}`, argv: ['cat', '-u'] })
  const { stdout } = await execa('tmux', [
    '-S',
    server.socketPath,
    'list-panes',
    '-a',
    '-F',
    '#{window_name} #{pane_tty}',
  ])
  const ttys = stdout
    .split('\n')
    .filter((line) => /^agent-\d /.test(line))
    .map((line) => line.split(' ')[1] ?? '')
  expect(ttys).toHaveLength(10)
  const painter = spawn(process.execPath, [PAINTER, ...ttys], { stdio: 'ignore' })
  try {
    const sweep = createSweep(server, Date.now)
    const from = performance.now()
    expect((await sweep({ all: true })).screens.size).toBeGreaterThanOrEqual(500)
    expect(performance.now() - from).toBeLessThan(5000)
    await sleep(3000)
    // Windows that had only just been opened at the first sweep are read once more.
    await sweep()
    const [cpu, began] = [process.cpuUsage(), performance.now()]
    for (let round = 0; round < 5; round++) {
      const at = performance.now()
      const { panes, screens } = await sweep()
      expect(panes.length).toBeGreaterThanOrEqual(500)
      // Only what has changed is read.
      expect(screens.size).toBeLessThan(30)
      expect(performance.now() - at).toBeLessThan(5000)
      await sleep(1000)
    }
    const { user, system } = process.cpuUsage(cpu)
    expect((user + system) / 1000 / (performance.now() - began)).toBeLessThan(0.5)
    expect(process.memoryUsage.rss() / 1024 / 1024).toBeLessThan(300)
  } finally {
    painter.kill()
    await once(painter, 'exit')
  }
})
