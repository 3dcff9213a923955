import { lstat, readdir, rm } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { Database } from '../../store/database.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { Expired, Expiry, Place } from '../../store/expiry.ts'

const EVERY_MS = 10 * 60_000
/** The start has other things to do. */
const FIRST_MS = 60_000
const PAUSE_MS = 10
/** A batch that takes longer makes the next one smaller. */
const BATCH_MS = 8
const ROWS_MOST = 200
/** 200 take 1.4 ms; what is left of a slow batch is the disk, and more commits would only ask more of it. */
const ROWS_LEAST = 50
const PAGES_AT_ONCE = 64
/** However large the database is, what ended within this time is still looked at, or gone on with. */
const RECENT_MS = 6 * 3_600_000
/** Where so many attempts free less than this, it is not they that make the database large. */
const VAIN = { attempts: 20, bytes: 64 * 1024 }

/** Lets go of what is older than `keepMs`, and of the oldest while the database is larger than it may be. */
export type Expirer = { close: () => Promise<void>; /** One round now. */ round: () => Promise<number> }

/**
 * In small batches with pauses between, so that nothing else waits for it. Of each attempt first its folder, then its
 * rows: whatever ends in the middle goes on at the next round.
 */
export function createExpirer(options: {
  db: Database
  expiry: Expiry
  /** Removes so many entries at most of an audit log that are too old; how many there were. */
  pruneAudit?: (rows: number) => number
  /** One step of what an index has to do after events were removed; false when there is nothing left. */
  tidy?: () => boolean
  attempts: Pick<Attempts, 'get'>
  home: string
  keepMs: number
  /** 0: no limit. */
  maxBytes: number
  clock: Clock
  logger: Logger
  firstMs?: number
}): Expirer {
  const { db, expiry, home, clock, logger } = options
  const stop = new AbortController()
  let rows = ROWS_MOST
  const work = loop()

  async function loop(): Promise<void> {
    for (let waitMs = options.firstMs ?? FIRST_MS; !stop.signal.aborted; waitMs = EVERY_MS) {
      await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
      if (stop.signal.aborted) return
      await round().catch((err: unknown) => logger.warn({ err }, 'old records could not be removed'))
    }
  }

  async function round(): Promise<number> {
    let removed = 0
    const oldest = clock() - options.keepMs
    const isVain = createVain()
    for (;;) {
      const forSize = isTooLarge() && !isVain(removed)
      const settledBefore = forSize ? Math.max(oldest, clock() - RECENT_MS) : oldest
      const [next] = expiry.before(settledBefore, clock(), 1)
      if (next === undefined || stop.signal.aborted) break
      await remove(next)
      removed++
    }
    let place: Place | null = { at: 0, id: 0 }
    await batches(() => place === null || (place = expiry.removeStrays(oldest, place, rows)) === null)
    await batches(isTidy)
    await batches(() => (options.pruneAudit?.(rows) ?? 0) === 0)
    await removeStrayFolders(oldest)
    if (removed > 0) logger.info({ removed }, 'records of old attempts were removed')
    return removed
  }

  function isTooLarge(): boolean {
    return options.maxBytes > 0 && db.usedBytes() > options.maxBytes
  }

  /** Tells by how many were removed whether it makes the database smaller; once it does not, never again. */
  function createVain(): (removed: number) => boolean {
    let before = { removed: 0, bytes: db.usedBytes() }
    let is = false
    return (removed) => {
      if (is || removed - before.removed < VAIN.attempts) return is
      const bytes = db.usedBytes()
      is = before.bytes - bytes < VAIN.bytes
      before = { removed, bytes }
      if (is) logger.warn('the database is larger than it may be, and not by the records of attempts')
      return is
    }
  }

  const isTidy = () => options.tidy === undefined || !options.tidy()

  async function remove(attempt: Expired): Promise<void> {
    if (attempt.folder.startsWith(join(home, 'attempts') + sep))
      await rm(attempt.folder, { recursive: true, force: true })
    await batches(() => expiry.removeSome(attempt, rows))
    await batches(isTidy)
    const { configDir } = attempt
    const isOurs = configDir !== null && configDir.startsWith(join(home, 'claude') + sep)
    if (isOurs && !expiry.isKnown(attempt.taskId)) await rm(configDir, { recursive: true, force: true })
  }

  async function batches(step: () => boolean): Promise<void> {
    for (let done = false; !done && !stop.signal.aborted;) {
      const before = performance.now()
      done = step()
      db.shrink(PAGES_AT_ONCE)
      const tookMs = performance.now() - before
      rows = tookMs > BATCH_MS ? Math.max(ROWS_LEAST, Math.floor(rows / 2)) : Math.min(ROWS_MOST, rows + 10)
      await sleep(PAUSE_MS)
    }
  }

  // Of a database that was replaced: nobody knows them any more.
  async function removeStrayFolders(before: number): Promise<void> {
    const folder = join(home, 'attempts')
    for (const name of await readdir(folder).catch(() => [])) {
      const [, taskId, attempt] = /^(.+)\.(\d+)$/.exec(name) ?? []
      if (taskId === undefined || stop.signal.aborted) continue
      if (options.attempts.get({ taskId, attempt: Number(attempt) }) !== null) continue
      const found = await lstat(join(folder, name)).catch(() => null)
      if (found !== null && found.mtimeMs < before)
        await rm(join(folder, name), { recursive: true, force: true })
    }
  }

  return {
    round,
    async close() {
      stop.abort()
      await work
    },
  }
}
