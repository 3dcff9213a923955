import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { listPanes } from '../../src/tmux/pane.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { signal } from '../support/signal.ts'
import { hasEnded, openTestTmux, testEnvironment, until } from './fixture.ts'

const STOPPED_DAEMON = join(import.meta.dirname, 'stopped-daemon.ts')

test('a control client that was killed is replaced by the next call', async () => {
  await using tmux = await openTestTmux()
  await listPanes(tmux.server)
  const first = tmux.server.controlPid()
  signal(first, 'SIGKILL')
  await until(() => tmux.server.controlPid() === null)
  expect(await listPanes(tmux.server)).toHaveLength(1)
  expect(tmux.server.controlPid()).not.toBe(first)
  expect(tmux.server.controlPid()).not.toBe(null)
})

test('a call that finds the client killed under it still answers when it only looks', async () => {
  await using tmux = await openTestTmux()
  await listPanes(tmux.server)
  signal(tmux.server.controlPid(), 'SIGKILL')
  expect(await Promise.all([listPanes(tmux.server), listPanes(tmux.server)])).toHaveLength(2)
})

test('a client that gets no answer in time is given up; a look goes another way, a launch is not repeated', async () => {
  await using tmux = await openTestTmux({ stallMs: 400 })
  await listPanes(tmux.server)
  const { pid } = tmux.server.identity()
  process.kill(pid, 'SIGSTOP')
  try {
    const looking = listPanes(tmux.server)
    const opening = openWindow(tmux.server, { name: 'once', argv: ['sleep', '100'] })
    await expect(opening).rejects.toMatchObject({
      code: 'TMUX_FAILED',
      message: expect.stringContaining('not known'),
    })
    process.kill(pid, 'SIGCONT')
    expect((await looking).length).toBeGreaterThan(0)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  expect(tmux.troubles).toContain('no answer within 400 ms')
  const named = (await listPanes(tmux.server)).filter((pane) => pane.windowName === 'once')
  expect(named.length).toBeLessThanOrEqual(1)
})

test('a daemon that was stopped reads the replies that wait for it before it gives the client up', async () => {
  await using tmux = await openTestTmux({ stallMs: 1000 })
  await listPanes(tmux.server)
  const client = tmux.server.controlPid()
  const looking = listPanes(tmux.server)
  // After all microtasks: the command is written, its reply cannot have been read.
  await new Promise((resolve) => process.nextTick(resolve))
  const end = performance.now() + 2500
  while (performance.now() < end);
  expect(await looking).toHaveLength(1)
  expect(tmux.server.controlPid()).toBe(client)
})

test('the control client takes no output and has no size', async () => {
  await using tmux = await openTestTmux()
  const [reply] = await tmux.server.run([['list-clients', '-F', '#{client_flags}']])
  expect(reply).toMatchObject({ text: expect.stringMatching(/(?=.*no-output)(?=.*ignore-size)/) })
})

test('a daemon that stopped reading does not slow its agents down', async () => {
  // tmux reads on for any one client that keeps up, so the test itself must not have one.
  await using tmux = await openTestTmux({ way: 'chain' })
  const daemon = spawn(process.execPath, [STOPPED_DAEMON, join(tmux.folder, 'tmux')], {
    env: testEnvironment(tmux.folder),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(daemon.stdout, 'data')
    daemon.kill('SIGSTOP')
    // Each round prints 64 KB; without no-output tmux stops all four panes in about half of the runs.
    const print = 'while :; do head -c 65536 /dev/zero | tr "\\0" x; printf . >> "$1"; done'
    const paths = [1, 2, 3, 4].map((i) => join(tmux.folder, `progress-${i}`))
    for (const path of paths) {
      await openWindow(tmux.server, { name: 'a', argv: ['/bin/sh', '-c', print, 'sh', path] })
    }
    const slowest = async (): Promise<number> => {
      const sizes = paths.map(async (path) => (await readFile(path, 'utf8').catch(() => '')).length)
      return Math.min(...(await Promise.all(sizes)))
    }
    await until(async () => (await slowest()) > 10)
    const before = await slowest()
    expect(await until(async () => (await slowest()) - before > 3)).toBe(true)
  } finally {
    daemon.kill('SIGKILL')
    await once(daemon, 'exit')
  }
})

test('the server can be ended although a daemon was killed in the middle of a reply', async () => {
  await using tmux = await openTestTmux()
  const daemon = spawn(process.execPath, [STOPPED_DAEMON, join(tmux.folder, 'tmux'), 'asking'], {
    env: testEnvironment(tmux.folder),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [client] = (await once(daemon.stdout, 'data')) as [Buffer]
  await sleep(500)
  daemon.kill('SIGKILL')
  await once(daemon, 'exit')
  await tmux.server.kill()
  const left = [tmux.server.identity().pid, Number(client.toString())]
  expect(await until(async () => (await Promise.all(left.map(hasEnded))).every(Boolean))).toBe(true)
})

test('an error is the answer of its own command only', async () => {
  await using tmux = await openTestTmux()
  const replies = await tmux.server.run([
    ['display-message', '-p', 'one'],
    ['kill-window', '-t', '@99'],
    ['no-such-command'],
    ['display-message', '-p', 'two;'],
  ])
  expect(replies).toEqual([
    { ok: true, text: 'one' },
    { ok: false, error: "can't find window: @99" },
    { ok: false, error: 'parse error: unknown command: no-such-command' },
    { ok: true, text: 'two;' },
  ])
})

test('closing ends the client; a later call works', async () => {
  await using tmux = await openTestTmux()
  await listPanes(tmux.server)
  const client = tmux.server.controlPid() ?? 0
  await tmux.server.close()
  await until(() => hasEnded(client))
  expect(await listPanes(tmux.server)).toHaveLength(1)
})

test('a rhythm as long as the time limit does not cost the client: nothing was due when the limit passed', async () => {
  await using tmux = await openTestTmux({ stallMs: 1000 })
  await listPanes(tmux.server)
  // Timers of one length fire in one turn, the oldest first: the limit, then the caller's.
  for (let tick = 0; tick < 3; tick++) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    await listPanes(tmux.server)
  }
  expect(tmux.troubles).toEqual([])
})
