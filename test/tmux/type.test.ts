import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { listPanes } from '../../src/tmux/pane.ts'
import { pasteText, pressKey, toPasteable } from '../../src/tmux/type.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { openTestTmux, readIfThere, until, type TestTmux, type Way } from './fixture.ts'

const OPEN = '\x1b[200~'
const CLOSE = '\x1b[201~'

/** A pane whose program asks for bracketed paste and writes every byte it gets to a file. */
async function openReceiver(tmux: TestTmux): Promise<{ paneId: string; received: () => Promise<string> }> {
  const path = join(tmux.folder, 'received')
  const program = `stty raw -echo; printf '\\033[?2004h\\033]0;ready\\007'; exec cat > "$1"`
  const { paneId } = await openWindow(tmux.server, {
    name: 'receiver',
    argv: ['/bin/sh', '-c', program, 'sh', path],
  })
  // The title comes after the request in the same output: tmux has read both.
  await until(async () => (await listPanes(tmux.server)).some((pane) => pane.title === 'ready'))
  return { paneId, received: async () => (await readIfThere(path)) ?? '' }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

describe.each<Way>(['control', 'chain'])('through %s', (way) => {
  test.each([100 * 1024, 1024 * 1024])(
    '%i bytes arrive byte for byte in one pair of brackets',
    async (size) => {
      await using tmux = await openTestTmux({ way, name: 'ccm-#(touch x)-' })
      const { paneId, received } = await openReceiver(tmux)
      const line = `größe 👩‍👩‍👧 "quoted" 'it' $HOME #{pid} #(touch x); \\ \\033 ~\ttab;\n`
      const text = line.repeat(Math.floor(size / Buffer.byteLength(line)))
      await pasteText(tmux.server, paneId, text)
      const expected = `${OPEN}${text}${CLOSE}`
      await until(async () => (await received()).length >= expected.length)
      expect(hash(await received())).toBe(hash(expected))
      // Neither a buffer nor a file stays.
      expect(await tmux.server.run([['list-buffers']])).toEqual([{ ok: true, text: '' }])
      expect((await readdir(join(tmux.folder, 'tmux'))).sort()).toEqual(['tmux.conf', 'tmux.sock'])
    },
  )

  test('an end of paste in the text does not break out, and keys come after it', async () => {
    await using tmux = await openTestTmux({ way })
    const { paneId, received } = await openReceiver(tmux)
    await pasteText(tmux.server, paneId, `one${CLOSE}\r\n\x9b201~two\x03\x04\x7f\0;`)
    await pressKey(tmux.server, paneId, 'Enter')
    await pressKey(tmux.server, paneId, 'Down')
    await pressKey(tmux.server, paneId, '2')
    await until(async () => (await received()).endsWith('2'))
    expect(await received()).toBe(`${OPEN}one[201~\n201~two;${CLOSE}\r\x1b[B2`)
  })

  test('a pane that is gone is NOT_FOUND, and no buffer stays', async () => {
    await using tmux = await openTestTmux({ way })
    await expect(pasteText(tmux.server, '%77', 'text')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(pressKey(tmux.server, '%77', 'Enter')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await tmux.server.run([['list-buffers']])).toEqual([{ ok: true, text: '' }])
  })
})

test('keys reach the program even when a person left the pane in copy mode', async () => {
  await using tmux = await openTestTmux()
  const { paneId, received } = await openReceiver(tmux)
  await tmux.server.run([['copy-mode', '-t', paneId]])
  await pasteText(tmux.server, paneId, 'text')
  await tmux.server.run([['copy-mode', '-t', paneId]])
  await pressKey(tmux.server, paneId, 'Enter')
  await until(async () => (await received()).endsWith('\r'))
  expect(await received()).toBe(`${OPEN}text${CLOSE}\r`)
})

test('two pastes at once do not mix', async () => {
  await using tmux = await openTestTmux()
  const { paneId, received } = await openReceiver(tmux)
  const texts = ['a', 'b', 'c'].map((letter) => letter.repeat(60_000))
  await Promise.all(texts.map((text) => pasteText(tmux.server, paneId, text)))
  await until(async () => (await received()).length >= 3 * 60_012)
  const parts = (await received())
    .split(OPEN)
    .slice(1)
    .map((part) => part.replace(CLOSE, ''))
  expect(parts.sort()).toEqual(texts)
})

test('more than 1 MiB is refused, nothing typed', async () => {
  await using tmux = await openTestTmux()
  const before = await listPanes(tmux.server)
  await expect(pasteText(tmux.server, '%0', 'x'.repeat(1024 * 1024 + 1))).rejects.toMatchObject({
    code: 'BAD_INPUT',
  })
  expect(await listPanes(tmux.server)).toEqual(before)
})

test('only newline and tab of the control characters stay', () => {
  const all = Array.from({ length: 0x100 }, (_, code) => String.fromCharCode(code)).join('')
  const kept = toPasteable(all)
  expect(kept).toMatch(/^\t\n\n ![^\x7f]*~\u00a0/)
  expect(kept).toHaveLength(3 + 95 + 96)
  expect(toPasteable('a\r\nb\rc')).toBe('a\nb\nc')
})
