import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { THEN, type Run } from './command.ts'
import { checkPaneId } from './pane.ts'
import { quoteFormat } from './quote.ts'

/** The keys that ccm presses, by tmux's names. */
const KEYS = [
  'Enter',
  'Escape',
  'Up',
  'Down',
  'Tab',
  'C-u',
  '1',
  '2',
  '3',
  '4',
  '5',
  '6',
  '7',
  '8',
  '9',
] as const
export type Key = (typeof KEYS)[number]

/** The most that one paste may hold, in bytes of UTF-8. */
const PASTE_MAX_BYTES = 1024 * 1024

/**
 * The text as a paste may carry it: no control characters but newline and tab, so an embedded end-of-paste
 * (ESC [ 2 0 1 ~, or its one-byte form) cannot break out and press keys. CR LF and CR become newline.
 */
export function toPasteable(text: string): string {
  return (
    text
      .toWellFormed()
      .replace(/\r\n?/g, '\n')
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
  )
}

/**
 * Pastes `toPasteable(text)` into a pane byte for byte, newlines as LF; bracketed when the program asked for
 * that, which a program that must not act on a newline does. No Enter. Throws BAD_INPUT when it is too long,
 * NOT_FOUND when the pane is gone, TMUX_FAILED when it is not known whether it arrived.
 */
export async function pasteText(
  tmux: { run: Run; socketPath: string },
  paneId: string,
  text: string,
): Promise<void> {
  const pasteable = toPasteable(text)
  const bytes = Buffer.byteLength(pasteable)
  if (bytes > PASTE_MAX_BYTES) {
    throw new CcmError('BAD_INPUT', `The text has ${bytes} bytes; at most ${PASTE_MAX_BYTES} can be pasted.`)
  }
  if (bytes === 0) return
  const name = `ccm-paste-${randomBytes(8).toString('hex')}`
  // A file in our 0700 folder: as an argument the text would stay in tmux's message log.
  const path = join(dirname(tmux.socketPath), name)
  try {
    await writeFile(path, pasteable, { mode: 0o600, flag: 'wx' })
    const load = ['load-buffer', '-b', name, quoteFormat(path)]
    // In copy mode tmux would ask that mode's screen for brackets, find none, and each newline were an Enter.
    const leave = ['copy-mode', '-q', '-t', checkPaneId(paneId)]
    const paste = ['paste-buffer', '-p', '-r', '-d', '-b', name, '-t', paneId]
    const [reply] = await tmux.run([[...load, THEN, ...leave, THEN, ...paste]])
    if (!reply?.ok) {
      await tmux.run([['delete-buffer', '-b', name]])
      throw inputFailed(paneId, reply?.error)
    }
  } finally {
    await rm(path, { force: true })
  }
}

/** Presses one key, in the program even when a person left the pane in copy mode. Throws like pasteText. */
export async function pressKey(tmux: { run: Run }, paneId: string, key: Key): Promise<void> {
  if (!(KEYS as readonly string[]).includes(key))
    throw new CcmError('BAD_INPUT', `${JSON.stringify(key)} is no key.`)
  const target = checkPaneId(paneId)
  const [reply] = await tmux.run([
    ['copy-mode', '-q', '-t', target, THEN, 'send-keys', '-t', target, '--', key],
  ])
  if (!reply?.ok) throw inputFailed(paneId, reply?.error)
}

function inputFailed(paneId: string, error = 'no answer'): CcmError {
  const code = error.startsWith("can't find pane") ? 'NOT_FOUND' : 'TMUX_FAILED'
  return new CcmError(code, `tmux did not type into the pane ${paneId}: ${error}.`)
}
