import {
  constants,
  closeSync,
  createReadStream,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Lease } from '../../core/task/queue.ts'
import { createSkimmer } from '../../core/record/skim-json.ts'

/** An event's file that waits in a spool. */
export type Waiting = {
  name: string
  /** See `stemOf`. */
  stem: string
  /** See `beganOf`. */
  beganMs: number | null
  /** When its writing began, ms since 1970; where the file system keeps no such time, when it was written. */
  begunAt: number
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
 * An event that is being written holds up those that began later, for their order; one of which nothing came for so
 * long does not. The script needs some 3 ms; what it has not written in a second it writes behind the agent's back.
 */
const IN_FLIGHT_MS = 1000
/** So many processes are not started within a tick (4 ms here): pids further apart had the end of their range between. */
const PIDS_A_TICK = 10_000
const PART = '.part.'
const WHOLE = '.json'

/** What the names of one event's file have in common, while it is written and when it is complete; null: no such name. */
export function stemOf(name: string | null): string | null {
  if (name?.startsWith(PART) === true) return name.slice(PART.length)
  return name?.endsWith(WHOLE) === true ? name.slice(0, -WHOLE.length) : null
}

/**
 * When the event's script began, ms since the machine was started, by its name; null where the system tells it no such
 * time. The same as the order of the files' own times but where the disk hung: there the client had gone on, and those
 * that waited for the disk began their files together and in any order (seen with each of four agents after 6 s).
 */
export function beganOf(stem: string): number | null {
  const [, seconds] = /^(\d+\.\d+)-\d+\./.exec(stem) ?? []
  return seconds === undefined ? null : Math.round(Number(seconds) * 1000)
}

/** An event by the stem of its name: complete, still being written, or null: there is none, or it was given up. */
export function eventOf(folder: string, stem: string, now: number): Waiting | 'in flight' | null {
  const whole = lookAt(folder, stem + WHOLE)
  if (whole !== null) return whole
  if (isInFlight(lookAt(folder, PART + stem), now)) return 'in flight'
  // It may have got its name between the two looks.
  return lookAt(folder, stem + WHOLE)
}

function isInFlight(part: Waiting | null, now: number): part is Waiting {
  return part !== null && Math.abs(now - part.at) < IN_FLIGHT_MS
}

/**
 * The oldest `max` of the events that wait in a folder, oldest first, and whether there are more; `inFlight` is the
 * first that is being written. Reads the folder once, in steps that let others run; memory is bounded by `max`. Those
 * of one tick of the clock are ordered as the kernel announced their stems, else by the pid in their names.
 * [] where there is no folder.
 */
export async function waitingIn(
  folder: string,
  max: number,
  announced: ReadonlyMap<string, number>,
  now: number,
): Promise<{ files: Waiting[]; more: boolean; unfinished: number; inFlight: Waiting | null }> {
  let files: Waiting[] = []
  let more = false
  let unfinished = 0
  let inFlight: Waiting | null = null
  const order = inOrder(announced)
  let directory
  try {
    directory = opendirSync(folder, { bufferSize: NAMES_A_TURN })
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    // No descriptor left, say, is not the same as nothing there: what waits would be taken for read.
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw err
    return { files, more, unfinished, inFlight }
  }
  try {
    let seen = 0
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      if (++seen % NAMES_A_TURN === 0) await nextTurn()
      if (entry.name.startsWith(PART)) {
        unfinished++
        const part = lookAt(folder, entry.name)
        if (isInFlight(part, now) && (inFlight === null || order(part, inFlight) < 0)) inFlight = part
        continue
      }
      const file = entry.name.endsWith(WHOLE) ? lookAt(folder, entry.name) : null
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
  return { files: files.slice(0, max), more: more || files.length > max, unfinished, inFlight }
}

/** What waits under that name; null when it is gone. */
export function lookAt(folder: string, name: string): Waiting | null {
  const stat = lstatSync(`${folder}/${name}`, { throwIfNoEntry: false })
  if (stat === undefined) return null
  const { mtimeMs: at, birthtimeMs, ctimeMs: cameAt, size } = stat
  const begunAt = birthtimeMs > 0 ? Math.min(birthtimeMs, at) : at
  const stem = stemOf(name) ?? name
  return { name, stem, beganMs: beganOf(stem), begunAt, at, cameAt, size, regular: stat.isFile() }
}

/** The order in which events began, whether they are complete or not; see `waitingIn`. */
export function inOrder(announced: ReadonlyMap<string, number>): (a: Waiting, b: Waiting) => number {
  return (a, b) => {
    if (a.beganMs !== null && b.beganMs !== null && a.beganMs !== b.beganMs) return a.beganMs - b.beganMs
    if (a.begunAt !== b.begunAt) return a.begunAt - b.begunAt
    const [first, second] = [announced.get(a.stem), announced.get(b.stem)]
    if (first !== undefined && second !== undefined) return first - second
    // Hooks of one session start one after another, so their pids rise, until they begin anew.
    const pids = pidOf(a.stem) - pidOf(b.stem)
    if (pids !== 0 && !Number.isNaN(pids)) return Math.abs(pids) < PIDS_A_TICK ? pids : -pids
    return a.stem < b.stem ? -1 : 1
  }
}

function pidOf(stem: string): number {
  const [, pid] = /^(?:\d+\.\d+-(?=\d+\.))?(\d+)/.exec(stem) ?? []
  return Number(pid)
}

// A file may have been exchanged since it was seen: reading it neither follows a link nor waits for a pipe.
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** What an event's file holds, read at once; null where it is too large for that. */
export function readSmallText(path: string): SpoolText | null {
  const file = openSync(path, READ_FLAGS)
  try {
    const { size } = fstatSync(file)
    if (size > SMALL_BYTES) return null
    const buffer = Buffer.allocUnsafe(size)
    return { text: buffer.toString('utf8', 0, readSync(file, buffer, 0, size, 0)), size, sha256: null }
  } finally {
    closeSync(file)
  }
}

/** What a large file holds, read in parts, and shortened meanwhile where it is larger than WHOLE_MAX_BYTES. */
export async function readLargeText(path: string): Promise<SpoolText> {
  const file = openSync(path, READ_FLAGS)
  const { size } = fstatSync(file)
  const stream = createReadStream(path, { fd: file, end: FILE_MAX_BYTES - 1 })
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

/** Whether a whole event is in a spool, or may be, as it cannot be looked at. */
export function mayHoldEvents(folder: string): boolean {
  try {
    return readdirSync(folder).some((name) => name.endsWith(WHOLE))
  } catch (err) {
    return (err as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** The spools in `attempts/TASK.N/spool` in which an event waits. */
export function spoolsIn(attemptsFolder: string): (Lease & { folder: string })[] {
  return namesIn(attemptsFolder).flatMap((name) => {
    const [, taskId, attempt] = /^(.+)\.(\d+)$/.exec(name) ?? []
    const folder = join(attemptsFolder, name, 'spool')
    if (taskId === undefined || !namesIn(folder).some((file) => file.endsWith(WHOLE))) return []
    return [{ taskId, attempt: Number(attempt), folder }]
  })
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
