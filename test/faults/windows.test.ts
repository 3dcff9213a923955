import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { cpuMsOf } from '../../bench/support/cpu.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { sizeOf } from '../scripted/fleet.ts'
import { openTestTmux } from '../tmux/fixture.ts'
import type { Swept } from './sweep-program.ts'

const PAINTER = join(import.meta.dirname, '../../bench/support/painter.ts')
const SWEEPER = join(import.meta.dirname, 'sweep-program.ts')
/** As often as a daemon looks whose agents work. */
const EVERY_MS = 1000

// What it takes, not how long: that depends on what else the machine does.
test('500 windows with ten chatty ones: whoever sweeps them and tmux take less than 5 s for all, then half a core, and 300 MB', async () => {
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
  const opened = cpuMsOf(server.identity().pid)
  const sweeper = spawn(process.execPath, [SWEEPER, join(tmux.folder, 'tmux')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const said = createInterface({ input: sweeper.stdout })[Symbol.asyncIterator]()
  const sweep = async (): Promise<Swept> => {
    sweeper.stdin.write('\n')
    return JSON.parse((await said.next()).value ?? 'null') as Swept
  }
  try {
    // With its own start, 0.5 s.
    const first = await sweep()
    expect(first.screens).toBeGreaterThanOrEqual(500)
    expect(first.cpuMs - opened).toBeLessThan(5000)
    // Windows that had only just been opened then are read once more.
    await sleep(3000)
    const rounds = [await sweep()]
    for (let round = 0; round < 5; round++) {
      await sleep(EVERY_MS)
      const swept = await sweep()
      expect(swept.panes).toBeGreaterThanOrEqual(500)
      // Only what has changed is read.
      expect(swept.screens).toBeLessThan(30)
      rounds.push(swept)
    }
    const last = rounds.at(-1) ?? first
    const perRoundMs = (last.cpuMs - (rounds[0] ?? first).cpuMs) / 5
    const sizes = [last.pid, last.serverPid].map((pid) => sizeOf(pid).memoryMb)
    console.log({ firstMs: first.cpuMs - opened, perRoundMs, sizes })
    // 70 ms, and 93 and 7 MB, on a busy machine.
    expect(perRoundMs).toBeLessThan(EVERY_MS / 2)
    expect(sizes.reduce((sum, mb) => sum + mb, 0)).toBeLessThan(300)
  } finally {
    for (const child of [painter, sweeper]) {
      child.kill()
      await once(child, 'exit')
    }
  }
})
