import { existsSync, rmSync, statSync } from 'node:fs'
import { open, rename, statfs } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { messageOf } from '../../core/errors.ts'
import type { Hold } from '../claims/dispatcher.ts'
import type { Recorder } from '../incidents/recorder.ts'

/** `low`: nothing new begins. `full`: the reserve was given up too, so that what runs can be recorded. */
export type DiskState = 'ok' | 'low' | 'full'

/** Keeps room on the disk of the home for what is already running. */
export type DiskGuard = {
  state: () => DiskState
  /** A write failed because the disk is full: gives up the reserve at once. */
  full: () => void
  close: () => Promise<void>
}

const LOOK_MS = 1000

/**
 * Holds a reserve, the file `ballast` in the home. Claims stop while less than its size is free; on a full disk it is
 * deleted, because SQLite can then not even delete rows (measured). Once twice its size is free, besides itself, it is
 * made again and claims go on.
 */
export function createDiskGuard(options: {
  home: string
  ballastBytes: number
  hold: (hold: Hold) => void
  lift: (kind: string) => void
  /** Hears of the first look and of each turn, for the record. */
  turned?: (state: DiskState, sentence: string) => void
  logger: Logger
  lookMs?: number
}): DiskGuard {
  const { home, ballastBytes, logger } = options
  const ballast = ballastIn(home)
  const stop = new AbortController()
  /** Null before the first look: of an earlier daemon's alarm nobody else would say that it is over. */
  let state: DiskState | null = null
  let timer: NodeJS.Timeout | null = null
  let running = look()

  function again(): void {
    running = look()
  }

  function become(next: DiskState, freeBytes: number | null): void {
    if (next === 'ok') options.lift('disk')
    else options.hold({ kind: 'disk', sentence: sentenceOf(next), until: null })
    if (next === state) return
    const isNews = state !== null || next !== 'ok'
    state = next
    options.turned?.(next, sentenceOf(next))
    const free = freeBytes === null ? '' : ` ${Math.floor(freeBytes / 1024 / 1024)} MiB are free.`
    if (!isNews) return
    if (next === 'ok') logger.info(`the disk has room again.${free}`)
    else logger.warn({ code: 'DISK_FULL' }, `${sentenceOf(next)}${free}`)
  }

  function sentenceOf(next: DiskState): string {
    return `The disk of ${home} is ${next === 'full' ? 'full' : 'nearly full'}: nothing new begins until there is room.`
  }

  async function look(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(home)
      const hadRoom = state === null || state === 'ok'
      const freeBytes = bavail * bsize
      const missing = statSync(ballast, { throwIfNoEntry: false })?.size === ballastBytes ? 0 : ballastBytes
      if (freeBytes < ballastBytes / 8 && state !== 'full') {
        giveUpBallast(home)
        become('full', freeBytes)
      } else if (freeBytes - missing >= (hadRoom ? 1 : 2) * ballastBytes) {
        if (missing > 0) await fill(ballast, ballastBytes)
        become('ok', freeBytes)
      } else if (hadRoom) {
        become('low', freeBytes)
      }
    } catch (error) {
      logger.warn({ code: 'DISK_LOOK' }, `the disk of ${home} cannot be looked at: ${messageOf(error)}`)
    }
    if (!stop.signal.aborted) timer = setTimeout(again, options.lookMs ?? LOOK_MS).unref()
  }

  return {
    state: () => state ?? 'ok',
    full() {
      giveUpBallast(home)
      become('full', null)
    },
    async close() {
      stop.abort()
      if (timer !== null) clearTimeout(timer)
      await running
    },
  }
}

/** For `turned`: an incident from when the disk is nearly full until there is room. */
export function recordDisk(
  recorder: Pick<Recorder, 'open' | 'close'>,
): (state: DiskState, what: string) => void {
  const action = 'Make room; what runs goes on, and is recorded as long as the reserve lasts.'
  return (state, what) => {
    if (state === 'ok') recorder.close('disk', 'There is room again.')
    else recorder.open({ kind: 'disk_full', key: 'disk', what, action, alert: true })
  }
}

/** Deletes the reserve in a home, also one that was begun only; false when there was none. */
export function giveUpBallast(home: string): boolean {
  const files = [ballastIn(home), partOf(ballastIn(home))].filter((file) => existsSync(file))
  for (const file of files) rmSync(file)
  return files.length > 0
}

function ballastIn(home: string): string {
  return join(home, 'ballast')
}

function partOf(file: string): string {
  return `${file}.part`
}

/** Written for real: a file of holes, or of zeros on some file systems, reserves nothing. */
async function fill(file: string, bytes: number): Promise<void> {
  try {
    await write(partOf(file), bytes)
    await rename(partOf(file), file)
  } catch (error) {
    // What it took of a disk that became full meanwhile would be missed.
    rmSync(partOf(file), { force: true })
    throw error
  }
}

async function write(file: string, bytes: number): Promise<void> {
  const chunk = randomBytes(1024 * 1024)
  await using part = await open(file, 'w', 0o600)
  for (let left = bytes; left > 0; left -= chunk.length)
    await part.write(chunk.subarray(0, Math.min(left, chunk.length)))
  await part.sync()
}
