import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { capture, listPanes } from '../../src/tmux/pane.ts'
import { killWindow, openWindow } from '../../src/tmux/window.ts'
import { openTestTmux, readIfThere, until, writeProgram, type Way } from './fixture.ts'

/** What would be made if anything ran what only is data; a name of its own, as it may be looked for in `/`. */
const MADE = `made-${process.pid}`

const ODD = [
  `#(touch ${MADE})`,
  `$(touch ${MADE})`,
  `\`touch ${MADE}\``,
  '##{pid} #{pid} #[fg=red] %1 %H',
  `it's "quoted" \\ \\n \\u0041`,
  'ends with ;',
  ';',
  '',
  ' ',
  '-t',
  '--',
  '~',
  '{ }',
  '%if',
  'tab\tand\rreturn\x1b[201~\x7f',
  'größe 日本語 👩‍👩‍👧',
  '$HOME ${HOME}',
  'x'.repeat(20_000),
]

describe.each<Way>(['control', 'chain'])('through %s', (way) => {
  test('every odd argument arrives byte for byte, and no shell sees it', async () => {
    await using tmux = await openTestTmux({ way })
    const out = join(tmux.folder, 'out')
    const show = `cd "$(dirname "$0")"; printf '%s\\0' "$@" > "$0.part"; mv "$0.part" "$0"; exec cat`
    await openWindow(tmux.server, { name: 'agent-x-1', argv: ['/bin/sh', '-c', show, out, ...ODD] })
    const received = await until(() => readIfThere(out))
    expect(received).toBe(ODD.map((argument) => `${argument}\0`).join(''))
    for (const folder of [tmux.folder, join(tmux.folder, 'tmux'), '/', process.cwd()]) {
      expect(existsSync(join(folder, MADE))).toBe(false)
    }
  })

  test('a window opens in the background with its size, ids and marks', async () => {
    await using tmux = await openTestTmux({ way })
    const marks = { task: '0198-ab.c:d_E', attempt: '3' }
    const opened = await openWindow(tmux.server, { name: 'agent-x-1', argv: ['sleep', '100'], marks })
    const panes = await listPanes(tmux.server)
    expect(panes.find((pane) => pane.paneId === opened.paneId)).toMatchObject({
      ...opened,
      windowName: 'agent-x-1',
      dead: false,
      width: 200,
      height: 50,
      marks,
    })
    const [active] = await tmux.server.run([['display-message', '-p', '-t', '=ccm:', '#{window_name}']])
    expect(active).toEqual({ ok: true, text: 'ccm' })
  })

  test('a program of two words is not run by a shell', async () => {
    await using tmux = await openTestTmux({ way })
    const show = await writeProgram(tmux.folder, 'show', '#!/bin/sh\nprintf "%s" "$1"\nexec cat\n')
    const { paneId } = await openWindow(tmux.server, { name: 'a', argv: [show, '$HOME; echo two'] })
    const shown = await until(async () => (await capture(tmux.server, [paneId])).get(paneId)?.trim() || null)
    expect(shown).toBe('$HOME; echo two')
  })

  test('a window starts in the root folder, wherever the daemon stands', async () => {
    await using tmux = await openTestTmux({ way })
    const { paneId } = await openWindow(tmux.server, {
      name: 'a',
      argv: ['/bin/sh', '-c', 'pwd -P; exec cat'],
    })
    const shown = await until(async () => (await capture(tmux.server, [paneId])).get(paneId)?.trim() || null)
    expect(shown).toBe('/')
  })

  test('closing a window ends it, and closing it again is fine', async () => {
    await using tmux = await openTestTmux({ way })
    const { windowId, paneId } = await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'] })
    await killWindow(tmux.server, windowId)
    await killWindow(tmux.server, windowId)
    expect((await listPanes(tmux.server)).map((pane) => pane.paneId)).not.toContain(paneId)
  })
})

test('60 windows open at once, each with its own marks', async () => {
  await using tmux = await openTestTmux()
  const opened = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      openWindow(tmux.server, { name: `agent-x-${i}`, argv: ['sleep', '100'], marks: { task: `t${i}` } }),
    ),
  )
  const panes = new Map((await listPanes(tmux.server)).map((pane) => [pane.paneId, pane]))
  expect(opened.map(({ paneId }) => panes.get(paneId)?.marks.task)).toEqual(opened.map((_, i) => `t${i}`))
  expect(new Set(opened.map((window) => window.windowId)).size).toBe(60)
})

test('a window of a name that exists gets its own marks', async () => {
  await using tmux = await openTestTmux()
  const open = (task: string): Promise<unknown> =>
    openWindow(tmux.server, { name: 'same', argv: ['sleep', '100'], marks: { task } })
  await open('one')
  await open('two')
  expect((await listPanes(tmux.server)).map((pane) => pane.marks.task)).toEqual([undefined, 'one', 'two'])
})

test.each(['#(touch x)', 'a\nb', 'A', 'a b', '', 'a;b', '-'.repeat(101)])(
  'the window name %j is refused',
  async (name) => {
    const run = (): never => {
      throw new Error('tmux was called')
    }
    await expect(openWindow({ run }, { name, argv: ['sleep', '1'] })).rejects.toMatchObject({
      code: 'BAD_INPUT',
    })
  },
)

test('a program without arguments, a bad mark and a bad id are refused before tmux hears of them', async () => {
  const run = (): never => {
    throw new Error('tmux was called')
  }
  const refused = { code: 'BAD_INPUT' }
  await expect(openWindow({ run }, { name: 'a', argv: ['sleep'] })).rejects.toMatchObject(refused)
  const marked = (marks: Record<string, string>): Promise<unknown> =>
    openWindow({ run }, { name: 'a', argv: ['sleep', '1'], marks })
  await expect(marked({ task: '#(touch x)' })).rejects.toMatchObject(refused)
  await expect(marked({ task: '' })).rejects.toMatchObject(refused)
  await expect(marked({ other: 'x' })).rejects.toMatchObject(refused)
  await expect(killWindow({ run }, 'agent-x')).rejects.toMatchObject(refused)
})

test('an argument with a line break is refused, and nothing was started', async () => {
  await using tmux = await openTestTmux()
  const opening = openWindow(tmux.server, { name: 'a', argv: ['echo', 'one\nkill-server'] })
  await expect(opening).rejects.toMatchObject({ code: 'BAD_INPUT' })
  expect(await listPanes(tmux.server)).toHaveLength(1)
})

test('a new size stays, and reaches the program', async () => {
  await using tmux = await openTestTmux()
  const { windowId, paneId } = await openWindow(tmux.server, {
    name: 'a',
    argv: ['/bin/sh', '-c', 'while :; do stty size; sleep 0.1; done'],
  })
  await tmux.server.run([['resize-window', '-t', windowId, '-x', '90', '-y', '30']])
  await until(async () => (await capture(tmux.server, [paneId])).get(paneId)?.includes('30 90'))
  const pane = (await listPanes(tmux.server)).find((found) => found.paneId === paneId)
  expect(pane).toMatchObject({ width: 90, height: 30 })
})
