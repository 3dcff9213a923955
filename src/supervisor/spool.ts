import { constants, closeSync, fstatSync, lstatSync, opendirSync, openSync, readSync } from 'node:fs'
import { createReadStream } from 'node:fs'
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createSkimmer } from '../core/skim-json.ts'

/** A complete event's file that waits in a spool. */
export type Waiting = {
  name: string
  /** When it was written, ms since 1970. */
  at: number
  /** When it got its name, ms since 1970, by the clock that dates files. */
  cameAt: number
  size: number
  /** False: a link, a pipe, a folder; the script makes none. */
  regular: boolean
}

/** What was read of an event's file: the text, and where it was cut while reading, the hash of all of it. */
export type SpoolText = { text: string; size: number; sha256: string | null }

/** A text of more bytes is shortened while it is read, so that it never stands in memory whole. */
export const WHOLE_MAX_BYTES = 1024 * 1024
/** More than this is not read at all. */
const FILE_MAX_BYTES = 64 * 1024 * 1024
/** Read without a way round the event loop: for files this small that way costs five times the read. */
const SMALL_BYTES = 128 * 1024
const NAMES_A_TURN = 256

/**
 * The oldest `max` of the events that wait in a folder, oldest first, and whether there are more. Reads the
 * folder once, in steps that let others run; memory is bounded by `max`. Those of one tick of the clock are
 * ordered as the kernel announced them, else by the pid their name begins with. [] where there is no folder.
 */
export async function waitingIn(
  folder: string,
  max: number,
  announced: ReadonlyMap<string, number>,
): Promise<{ files: Waiting[]; more: boolean; unfinished: number }> {
  let files: Waiting[] = []
  let more = false
  let unfinished = 0
  const order = inOrder(announced)
  let directory
  try {
    directory = opendirSync(folder, { bufferSize: NAMES_A_TURN })
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    // No descriptor left, say, is not the same as nothing there: what waits would be taken for read.
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw err
    return { files, more, unfinished }
  }
  try {
    let seen = 0
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      if (++seen % NAMES_A_TURN === 0) await nextTurn()
      if (entry.name.startsWith('.part.')) unfinished++
      const file = entry.name.endsWith('.json') ? lookAt(folder, entry.name) : null
      if (file === null) continue
      files.push(file)
      if (files.length < 2 * max) continue
      files = files.sort(order).slice(0, max)
      more = true
    }
  } finally {
    directory.closeSync()
  }
  files.sort(order)
  return { files: files.slice(0, max), more: more || files.length > max, unfinished }
}

/** What waits under that name; null when it is gone. */
export function lookAt(folder: string, name: string): Waiting | null {
  const stat = lstatSync(`${folder}/${name}`, { throwIfNoEntry: false })
  if (stat === undefined) return null
  return { name, at: stat.mtimeMs, cameAt: stat.ctimeMs, size: stat.size, regular: stat.isFile() }
}

function inOrder(announced: ReadonlyMap<string, number>): (a: Waiting, b: Waiting) => number {
  return (a, b) => {
    if (a.at !== b.at) return a.at - b.at
    const [first, second] = [announced.get(a.name), announced.get(b.name)]
    if (first !== undefined && second !== undefined) return first - second
    // Hooks of one session run one after another, so their pids rise.
    const pids = Number.parseInt(a.name, 10) - Number.parseInt(b.name, 10)
    if (pids !== 0 && !Number.isNaN(pids)) return pids
    return a.name < b.name ? -1 : 1
  }
}

/** Reads an event's file, which may have been exchanged since it was seen: neither follows a link nor waits for a pipe. */
export async function readSpoolText(path: string): Promise<SpoolText> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  let size: number
  try {
    size = fstatSync(file).size
    if (size <= SMALL_BYTES) {
      const buffer = Buffer.allocUnsafe(size)
      return { text: buffer.toString('utf8', 0, readSync(file, buffer, 0, size, 0)), size, sha256: null }
    }
  } finally {
    closeSync(file)
  }
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const stream = createReadStream(path, { flags: flags as unknown as string, end: FILE_MAX_BYTES - 1 })
  const hash = createHash('sha256')
  const whole = size <= WHOLE_MAX_BYTES
  const parts: Buffer[] = []
  const skimmer = createSkimmer({ text: 4096, total: 256 * 1024 })
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk)
    if (whole) parts.push(chunk)
    else skimmer.push(chunk)
  }
  const bytes = whole ? Buffer.concat(parts) : Buffer.from(skimmer.end())
  return { text: bytes.toString('utf8'), size, sha256: hash.digest('hex') }
}
