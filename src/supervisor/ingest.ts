import { watch, type FSWatcher } from 'node:fs'
import { lstat, readFile, readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Logger } from 'pino'
import { messageOf } from '../core/errors.ts'
import type { HookEvent, HookPayload } from '../core/hook-event.ts'
import type { Lease } from '../core/queue.ts'
import type { HookEvents, NewHookEvent } from '../store/hook-events.ts'

/** Reads the spools of all attempts into the database. */
export type Ingest = {
  /** Watches an attempt's spool from now on; what is in it already is read at once. */
  add: (spool: Spool) => void
  /** Reads everything that is there, for the last time, and stops watching. */
  remove: (spool: Spool) => Promise<void>
  /** Looks into every spool, for notices the kernel did not send. */
  rescan: () => void
  close: () => Promise<void>
}

export type Spool = Lease & { folder: string }

/** Events that come together are stored in one commit: 50 at most, or what arrived within this time. */
const GROUP_MS = 2
const GROUP_EVENTS = 50
const PAYLOAD_MAX_BYTES = 1024 * 1024

/**
 * One event, one file, exactly once: the file's name is stored with the event in one transaction, and the file
 * is removed after the commit. A crash between the two finds the name known and only removes. Events of one
 * attempt keep the order in which their files were written.
 */
export function createIngest(options: {
  hookEvents: HookEvents
  onEvents: (lease: Lease, events: HookEvent[]) => void
  logger: Logger
}): Ingest {
  const { hookEvents, logger } = options
  const spools = new Map<
    string,
    { spool: Spool; watcher: FSWatcher | null; wanted: boolean; work: Promise<void> }
  >()

  async function drain(spool: Spool): Promise<void> {
    for (;;) {
      const files = (await waitingFiles(spool.folder)).slice(0, GROUP_EVENTS)
      if (files.length === 0) return
      const events: NewHookEvent[] = []
      for (const file of files) {
        const event = await readEvent(spool, file, logger)
        if (event !== null) events.push(event)
      }
      const stored = hookEvents.insertBatch(events)
      await Promise.all(files.map(({ path }) => rm(path, { force: true, recursive: true })))
      if (stored.length > 0) options.onEvents(spool, stored)
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
        return drain(entry.spool)
      })
      .catch((err: unknown) =>
        logger.error({ err, taskId: entry.spool.taskId }, 'hook events could not be stored'),
      )
  }

  return {
    add(spool) {
      let watcher: FSWatcher | null = null
      try {
        watcher = watch(spool.folder, { persistent: false }, () => nudge(spool.folder))
        watcher.on('error', (err) =>
          logger.warn({ err, taskId: spool.taskId }, 'a spool is not watched; the sweep reads it'),
        )
      } catch (err) {
        logger.warn({ err, taskId: spool.taskId }, 'a spool cannot be watched; the sweep reads it')
      }
      spools.set(spool.folder, { spool, watcher, wanted: false, work: Promise.resolve() })
      nudge(spool.folder)
    },
    async remove(spool) {
      const entry = spools.get(spool.folder)
      entry?.watcher?.close()
      nudge(spool.folder)
      await entry?.work
      spools.delete(spool.folder)
    },
    rescan() {
      for (const folder of spools.keys()) nudge(folder)
    },
    async close() {
      for (const { watcher } of spools.values()) watcher?.close()
      await Promise.all([...spools.values()].map(({ work }) => work))
      spools.clear()
    },
  }
}

/** Complete events only (`*.json`), oldest first. */
async function waitingFiles(
  folder: string,
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
            at: Number(stat.mtimeMs),
            size: Number(stat.size),
            regular: stat.isFile(),
          },
        ]
      }),
  )
  return found
    .flat()
    .sort((a, b) => (a.order === b.order ? (a.path < b.path ? -1 : 1) : a.order < b.order ? -1 : 1))
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
  const text = (await readFile(file.path)).subarray(0, PAYLOAD_MAX_BYTES).toString('utf8')
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

function parsePayload(text: string, size: number): HookPayload {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as HookPayload
    return { ccm_error: 'The payload is not an object.', ccm_text: text.slice(0, 1000) }
  } catch (error) {
    return { ccm_error: `${messageOf(error)} (${size} bytes)`.slice(0, 300), ccm_text: text.slice(0, 1000) }
  }
}
