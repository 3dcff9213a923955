import { existsSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pasteText } from '../src/tmux/type.ts'
import { openWindow } from '../src/tmux/window.ts'
import { compare, type Bench } from './row.ts'
import { withTmux } from './support/tmux.ts'

const BYTES = 100 * 1024
/** `send-keys` fails with "command too long" above about 16,300 bytes. */
const CHUNK_BYTES = 16_000
const ROUNDS = 11
/** Raw terminal, appends all input to a file; asks for bracketed paste. */
const RECEIVER = `stty raw -echo; printf '\\033[?2004h'; : > "$1"; : > "$1.ready"; exec cat >> "$1"`

/**
 * 100 KB into a pane, until the program in it has every byte (compared each time). Peer: `send-keys -l`
 * processes with the largest chunks that tmux takes.
 */
export const bench: Bench = () =>
  withTmux(async ({ server, folder, tmux }) => {
    const path = join(folder, 'received')
    const { paneId } = await openWindow(server, {
      name: 'receiver',
      argv: ['/bin/sh', '-c', RECEIVER, 'sh', path],
    })
    while (!existsSync(`${path}.ready`)) await sleep(5)
    const line = 'All work and no play makes Jack a dull boy; 0123456789 "quotes" $HOME #{pid}. '
    const text = line.repeat(Math.ceil(BYTES / line.length)).slice(0, BYTES)
    const measure = async (expected: string, type: () => Promise<void>): Promise<number> => {
      truncateSync(path)
      const at = performance.now()
      await type()
      while (statSync(path).size < expected.length) {
        if (performance.now() - at > 10_000) throw new Error(`only ${statSync(path).size} bytes arrived`)
        await sleep(1)
      }
      const wallMs = performance.now() - at
      if (readFileSync(path, 'latin1') !== expected) throw new Error('other bytes arrived than were sent')
      return wallMs
    }
    const ours = (): Promise<number> =>
      measure(`\x1b[200~${text}\x1b[201~`, () => pasteText(server, paneId, text))
    const peer = (): Promise<number> =>
      measure(text, async () => {
        for (let at = 0; at < text.length; at += CHUNK_BYTES) {
          await tmux(['send-keys', '-t', paneId, '-l', '--', text.slice(at, at + CHUNK_BYTES)])
        }
      })
    await ours()
    const [ourRounds, peerRounds]: [number[], number[]] = [[], []]
    for (let round = 0; round < ROUNDS; round++) {
      peerRounds.push(await peer())
      ourRounds.push(await ours())
    }
    return [compare('100 KB pasted byte-exact', 'ms', 4, peerRounds, ourRounds)]
  })
