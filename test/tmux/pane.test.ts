import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { attendedWindows } from '../../src/tmux/attended.ts'
import { capture, listPanes, type Pane } from '../../src/tmux/pane.ts'
import type { TmuxServer } from '../../src/tmux/server.ts'
import { createSweep } from '../../src/tmux/sweep.ts'
import { killWindow, openWindow } from '../../src/tmux/window.ts'
import { openTestTmux, testEnvironment, until, type Way } from './fixture.ts'

/** Opens a pane that shows `text` (printf escapes) and then waits. */
async function openPane(server: TmuxServer, text: string): Promise<string> {
  const opened = await openWindow(server, {
    name: 'agent-x-1',
    argv: ['/bin/sh', '-c', 'printf "$1"; exec cat', 'sh', text],
  })
  return opened.paneId
}

async function screenOf(server: TmuxServer, paneId: string, holds: string): Promise<string> {
  return until(async () => {
    const screen = (await capture(server, [paneId])).get(paneId)
    return screen?.includes(holds) ? screen : null
  })
}

async function paneOf(server: TmuxServer, paneId: string): Promise<Pane | undefined> {
  return (await listPanes(server)).find((pane) => pane.paneId === paneId)
}

describe.each<Way>(['control', 'chain'])('through %s', (way) => {
  test('what a pane shows cannot end or fake a reply', async () => {
    await using tmux = await openTestTmux({ way })
    const lines = ['%end 1 1 1', '%error 1 1 1', '%exit', '%output %1 hello', '%begin 1 2 1', '%end 1 2 1']
    const hostile = await openPane(tmux.server, `${lines.join('\\n').replaceAll('%', '%%')}\\nlast`)
    const calm = await openPane(tmux.server, 'calm')
    await screenOf(tmux.server, hostile, 'last')
    await screenOf(tmux.server, calm, 'calm')
    const screens = await capture(tmux.server, [hostile, calm, hostile])
    expect(screens.get(hostile)?.split('\n').slice(0, 7)).toEqual([...lines, 'last'])
    expect(screens.get(calm)?.trim()).toBe('calm')
    expect(tmux.troubles.filter((trouble) => !trouble.includes('could not attach'))).toEqual([])
  })

  test('a title is data, whatever it holds', async () => {
    await using tmux = await openTestTmux({ way })
    const title = '%1 @9 #(touch x) #{pid} $(touch x) größe; %end 1 1 1'
    const paneId = await openPane(tmux.server, `\\033]0;${title.replaceAll('%', '%%')}\\007ready`)
    await screenOf(tmux.server, paneId, 'ready')
    const panes = await listPanes(tmux.server)
    expect(panes).toHaveLength(2)
    expect(panes[1]).toMatchObject({ paneId, windowName: 'agent-x-1', title, marks: {} })
  })

  test('a window that a person gave a name of several lines adds no row', async () => {
    await using tmux = await openTestTmux({ way })
    const { windowId, paneId } = await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'] })
    // The person's shell does what our quoting refuses.
    const person = spawn('tmux', [
      '-S',
      tmux.server.socketPath,
      'rename-window',
      '-t',
      windowId,
      'x\ty\n%7 @7',
    ])
    await once(person, 'exit')
    const panes = await listPanes(tmux.server)
    expect(panes.map((pane) => pane.paneId)).toEqual(['%0', paneId])
    expect(panes[1]?.windowName).toMatch(/^x/)
  })

  test('a pane that is gone is missing, the others are read', async () => {
    await using tmux = await openTestTmux({ way })
    const paneId = await openPane(tmux.server, 'here')
    await screenOf(tmux.server, paneId, 'here')
    const screens = await capture(tmux.server, ['%98', paneId, '%99'])
    expect([...screens.keys()]).toEqual([paneId])
    expect(screens.get(paneId)?.split('\n')).toHaveLength(50)
  })

  test('a program that ended leaves its last screen and no other text', async () => {
    await using tmux = await openTestTmux({ way })
    const { paneId } = await openWindow(tmux.server, {
      name: 'a',
      // tmux may lose what a program prints in its very last moment (see openWindow).
      argv: ['/bin/sh', '-c', 'echo last words; sleep 0.3'],
    })
    await until(async () => (await paneOf(tmux.server, paneId))?.dead)
    expect((await screenOf(tmux.server, paneId, 'last words')).trim()).toBe('last words')
  })
})

test('more is captured than any buffer holds at once, in order', async () => {
  await using tmux = await openTestTmux()
  const fill = 'i=0; while [ $i -lt 49 ]; do i=$((i+1)); printf "%s-%0190d\\n" "$1" $i; done; exec cat'
  const opened = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      openWindow(tmux.server, { name: 'a', argv: ['/bin/sh', '-c', fill, 'sh', `pane${i}`] }),
    ),
  )
  for (const [i, { paneId }] of opened.entries()) {
    const screen = await screenOf(tmux.server, paneId, '049\n')
    expect(screen.split('\n').filter((line) => line.startsWith(`pane${i}-`))).toHaveLength(49)
  }
  const screens = await capture(
    tmux.server,
    opened.map((window) => window.paneId),
  )
  opened.forEach(({ paneId }, i) => expect(screens.get(paneId)).toMatch(new RegExp(`^pane${i}-0`)))
})

test('a sweep reads only what printed since it was last read', async () => {
  await using tmux = await openTestTmux()
  const quiet = await openPane(tmux.server, 'quiet')
  const { paneId: busy } = await openWindow(tmux.server, {
    name: 'busy',
    argv: ['/bin/sh', '-c', 'while :; do date +%s%N; sleep 0.05; done'],
  })
  const sweep = createSweep(tmux.server, Date.now)
  const first = await sweep()
  expect([...first.screens.keys()]).toEqual(['%0', quiet, busy])
  await sleep(3200)
  await sweep()
  const later = await sweep()
  expect(later.panes.map((pane) => pane.paneId)).toEqual(['%0', quiet, busy])
  expect([...later.screens.keys()]).toEqual([busy])
  expect([...(await sweep({ all: true })).screens.keys()]).toEqual(['%0', quiet, busy])
  expect([...(await sweep({ all: true, only: (pane) => pane.paneId === quiet })).screens.keys()]).toEqual([
    quiet,
  ])
})

test('a sweep sees each change in the end, also two within one second', async () => {
  await using tmux = await openTestTmux()
  const { paneId } = await openWindow(tmux.server, {
    name: 'a',
    argv: ['/bin/sh', '-c', 'echo one; sleep 0.3; echo two; exec cat'],
  })
  const sweep = createSweep(tmux.server, Date.now)
  const seen = await until(async () => {
    const screen = (await sweep()).screens.get(paneId)
    return screen?.includes('two') ? screen : null
  })
  expect(seen.trim()).toBe('one\ntwo')
})

test('a sweep notices new panes, their marks, their death and their end', async () => {
  await using tmux = await openTestTmux()
  const sweep = createSweep(tmux.server, Date.now)
  await sweep()
  const opened = await openWindow(tmux.server, {
    name: 'a',
    argv: ['/bin/sh', '-c', 'sleep 5'],
    marks: { task: 't1' },
  })
  await sweep()
  const second = await sweep()
  expect(second.panes[1]).toMatchObject({ ...opened, windowName: 'a', marks: { task: 't1' }, dead: false })
  const dead = await until(async () => {
    const result = await sweep()
    return result.panes[1]?.dead ? result : null
  })
  expect(dead.screens.has(opened.paneId)).toBe(true)
  await killWindow(tmux.server, opened.windowId)
  expect((await sweep()).panes.map((pane) => pane.paneId)).toEqual(['%0'])
})

test('people are counted while they type, control clients are not, and nobody changes the size of a window', async () => {
  await using tmux = await openTestTmux()
  const { windowId, paneId } = await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'] })
  const people = async (withinMs: number) => (await attendedWindows(tmux.server, Date.now(), withinMs)).size
  expect(await people(900_000)).toBe(0)
  const attach = tmux.server.attachArgv(windowId).map((word) => `'${word}'`)
  const person = spawn('script', ['-qc', `stty cols 80 rows 24; exec ${attach.join(' ')}`, '/dev/null'], {
    env: { ...testEnvironment(tmux.folder), TERM: 'xterm-256color' },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  try {
    await until(async () => (await people(900_000)) === 1)
    const opened = await openWindow(tmux.server, { name: 'b', argv: ['sleep', '100'] })
    expect(await paneOf(tmux.server, paneId)).toMatchObject({ width: 200, height: 50 })
    expect(await paneOf(tmux.server, opened.paneId)).toMatchObject({ width: 200, height: 50 })
    const [shown] = await tmux.server.run([['display-message', '-p', '-t', '=ccm:', '#{window_id}']])
    expect(shown).toEqual({ ok: true, text: windowId })
    // Attached and left alone, until a key is pressed.
    await until(async () => (await people(500)) === 0)
    expect(await people(900_000)).toBe(1)
    person.stdin.write('x')
    await until(async () => (await people(500)) === 1)
    // The clock of the machine was set back by a day.
    expect((await attendedWindows(tmux.server, Date.now() - 86_400_000, 900_000)).size).toBe(0)
  } finally {
    person.kill()
    await once(person, 'exit')
  }
  await until(async () => (await people(900_000)) === 0)
})

test('a pane id that is none is refused', async () => {
  await using tmux = await openTestTmux()
  await expect(capture(tmux.server, ['agent-x'])).rejects.toMatchObject({ code: 'BAD_INPUT' })
})
