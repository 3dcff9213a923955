import { constants, watch, type FSWatcher } from 'node:fs'
import { lstat, open, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Logger } from 'pino'
import { CcmError, messageOf } from '../core/errors.ts'
import type { HookEvent, HookPayload } from '../core/hook-event.ts'
import type { Lease } from '../core/queue.ts'
import type { HookEvents, NewHookEvent } from '../store/hook-events.ts'
import type { StartPulse } from './beats.ts'

/** Reads the spools of all attempts into the database. */
export type Ingest = {
  /** Watches an attempt's spool from now on; what is in it already is read at once. */
  add: (spool: Spool) => void
  /** Reads everything that is there by now. Never rejects: what cannot be stored stays for the next look. */
  read: (spool: Spool) => Promise<void>
  /** Reads everything that is there, for the last time, and stops watching. On a full disk it waits for room. */
  remove: (spool: Spool) => Promise<void>
  /** Looks into every spool, for notices the kernel did not send. */
  rescan: () => void
  close: () => Promise<void>
}

export type Spool = Lease & { folder: string }

/** Events that come together are stored in one commit: 50 at most, or what arrived within this time. */
const GROUP_MS = 2
const GROUP_EVENTS = 50
const STORE_RETRY_MS = 5000
/** A payload above this keeps only the start of its long texts: an edit's hook event holds the whole old file. */
const PAYLOAD_MAX_BYTES = 1024 * 1024
/** More than this is not read at all. */
const FILE_MAX_BYTES = 32 * 1024 * 1024
const LONG_TEXT = 4096

/**
 * One event, one file, exactly once: the file's name is stored with the event in one transaction, and the file
 * is removed after the commit. A crash between the two finds the name known and only removes. Events of one
 * attempt keep the order in which their files were written; where the file system's clock is too coarse to tell
 * (4 ms), that in which the kernel announced them.
 */
export function createIngest(options: {
  hookEvents: HookEvents
  onEvents: (lease: Lease, events: HookEvent[]) => void
  logger: Logger
  pulse?: StartPulse
}): Ingest {
  const { hookEvents, logger } = options
  const spools = new Map<
    string,
    {
      spool: Spool
      watcher: FSWatcher | null
      /** Names in the order the kernel announced them. */
      announced: Map<string, number>
      wanted: boolean
      work: Promise<void>
    }
  >()

  const pulse = options.pulse?.('ingest', () => Promise.all([...spools.values()].map(({ work }) => work)))

  async function drain(spool: Spool, announced: Map<string, number>): Promise<void> {
    for (;;) {
      const files = (await waitingFiles(spool.folder, announced)).slice(0, GROUP_EVENTS)
      if (files.length === 0) return
      const events: NewHookEvent[] = []
      for (const file of files) {
        const event = await readEvent(spool, file, logger)
        if (event !== null) events.push(event)
      }
      const stored = hookEvents.insertBatch(events)
      // Before the files are removed: should that fail, the next look finds their names known and tells nobody.
      if (stored.length > 0) options.onEvents(spool, stored)
      await Promise.all(files.map(({ path }) => rm(path, { force: true, recursive: true })))
      for (const { path } of files) announced.delete(basename(path))
    }
  }

  // At most one reader a spool; a nudge while it reads makes it look again.
  function nudge(folder: string): void {
    const entry = spools.get(folder)
    if (entry === undefined || entry.wanted) return
    entry.wanted = true
    entry.work = entry.work
      .then(() => new Promise((resolve) => setTimeout(resolve, GROUP_MS)))
      .then(() => {
        entry.wanted = false
        return drain(entry.spool, entry.announced)
      })
      .catch((err: unknown) =>
        logger.error({ err, taskId: entry.spool.taskId }, 'hook events could not be stored'),
      )
  }

  return {
    add(spool) {
      let watcher: FSWatcher | null = null
      const announced = new Map<string, number>()
      let serial = 0
      try {
        watcher = watch(spool.folder, { persistent: false }, (_, name) => {
          if (name?.endsWith('.json') && !announced.has(name)) announced.set(name, serial++)
          nudge(spool.folder)
        })
        watcher.on('error', (err) =>
          logger.warn({ err, taskId: spool.taskId }, 'a spool is not watched; the sweep reads it'),
        )
      } catch (err) {
        logger.warn({ err, taskId: spool.taskId }, 'a spool cannot be watched; the sweep reads it')
      }
      spools.set(spool.folder, { spool, watcher, announced, wanted: false, work: Promise.resolve() })
      nudge(spool.folder)
    },
    async read(spool) {
      nudge(spool.folder)
      await spools.get(spool.folder)?.work
    },
    async remove(spool) {
      const entry = spools.get(spool.folder)
      if (entry === undefined) return
      entry.watcher?.close()
      await entry.work
      for (;;) {
        try {
          await drain(spool, entry.announced)
          break
        } catch (err) {
          logger.error({ err, taskId: spool.taskId }, 'the last hook events could not be stored')
          if (!(err instanceof CcmError)) break
          await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS))
        }
      }
      spools.delete(spool.folder)
    },
    rescan() {
      for (const folder of spools.keys()) nudge(folder)
    },
    async close() {
      pulse?.close()
      for (const { watcher } of spools.values()) watcher?.close()
      await Promise.all([...spools.values()].map(({ work }) => work))
      spools.clear()
    },
  }
}

/** Complete events only (`*.json`), oldest first. */
async function waitingFiles(
  folder: string,
  announced: Map<string, number>,
): Promise<{ path: string; at: number; size: number; regular: boolean }[]> {
  const names = await readdir(folder).catch(() => [])
  const found = await Promise.all(
    names
      .filter((name) => name.endsWith('.json'))
      .map(async (name) => {
        const path = join(folder, name)
        const stat = await lstat(path, { bigint: true }).catch(() => null)
        if (stat === null) return []
        return [
          {
            path,
            order: stat.mtimeNs,
            serial: announced.get(name) ?? Number.POSITIVE_INFINITY,
            at: Number(stat.mtimeMs),
            size: Number(stat.size),
            regular: stat.isFile(),
          },
        ]
      }),
  )
  return found.flat().sort((a, b) => {
    if (a.order !== b.order) return a.order < b.order ? -1 : 1
    if (a.serial !== b.serial) return a.serial < b.serial ? -1 : 1
    return a.path < b.path ? -1 : 1
  })
}

async function readEvent(
  spool: Spool,
  file: { path: string; at: number; size: number; regular: boolean },
  logger: Logger,
): Promise<NewHookEvent | null> {
  const fileName = `${spool.taskId}.${spool.attempt}/${basename(file.path)}`
  const lease = { taskId: spool.taskId, attempt: spool.attempt }
  if (!file.regular) {
    // A link or a pipe was not written by the script; reading it could show another file, or hang.
    logger.warn({ taskId: spool.taskId, code: 'ODD_SPOOL_FILE' }, 'something that is no file was in a spool')
    return null
  }
  const text = await readBounded(file.path).catch((err: NodeJS.ErrnoException) => {
    // Whatever cannot be read now may be read at the next look, but these stay as they are and would block it.
    if (err.code !== 'EACCES' && err.code !== 'EPERM' && err.code !== 'ELOOP') throw err
    return ''
  })
  const payload = parsePayload(text, file.size)
  return {
    ...lease,
    fileName,
    claudeSessionId: typeof payload.session_id === 'string' ? payload.session_id : null,
    hookEventName: typeof payload.hook_event_name === 'string' ? payload.hook_event_name : 'Unreadable',
    at: Math.round(file.at),
    payload,
  }
}

async function readBounded(path: string): Promise<string> {
  // Looked at a moment ago, and possibly exchanged since: neither follow a link nor wait for a pipe's writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  await using _ = file
  const { size } = await file.stat()
  const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, FILE_MAX_BYTES)), 0, null, 0)
  return buffer.toString('utf8', 0, bytesRead)
}

function shortened(value: unknown): unknown {
  if (typeof value === 'string') {
    if (value.length <= LONG_TEXT) return value
    return `${value.slice(0, LONG_TEXT)}… (${value.length} characters)`
  }
  if (Array.isArray(value)) return value.slice(0, LONG_TEXT).map(shortened)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, shortened(part)]))
}

function parsePayload(text: string, size: number): HookPayload {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return (size > PAYLOAD_MAX_BYTES ? shortened(value) : value) as HookPayload
    return { ccm_error: 'The payload is not an object.', ccm_text: text.slice(0, 1000) }
  } catch (error) {
    return { ccm_error: `${messageOf(error)} (${size} bytes)`.slice(0, 300), ccm_text: text.slice(0, 1000) }
  }
}
