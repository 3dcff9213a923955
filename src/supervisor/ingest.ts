import { readdirSync } from 'node:fs'
import { rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import type { HookEvent } from '../core/hook-event.ts'
import type { Lease } from '../core/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { HookEvents, NewHookEvent } from '../store/hook-events.ts'
import type { StartPulse } from './beats.ts'
import { createOriginCheck } from './event-origin.ts'
import { createLostEvents, type LostEvents } from './lost-events.ts'
import { toNewEvent } from './spool-event.ts'
import { createSpoolLine, type SpoolLine } from './spool-line.ts'
import { readSpoolText, waitingIn, type SpoolText, type Waiting } from './spool.ts'

/** Reads the spools of all attempts into the database. */
export type Ingest = {
  /** Watches an attempt's spool from now on; what is in it already is read at once. */
  add: (spool: Spool) => void
  /** Reads everything that is there by now. Never rejects: what cannot be stored stays for the next look. */
  read: (spool: Lease & { folder: string }) => Promise<void>
  /** Reads everything that is there, for the last time, and stops watching. On a full disk it waits for room. */
  remove: (spool: Lease & { folder: string }) => Promise<void>
  /**
   * Stores what is left in `attempts/TASK.N/spool`, also of attempts nobody knows, and answers in how many there was
   * something. `spoolOf` tells what is known of an attempt. Only before agents are watched.
   */
  leftovers: (attemptsFolder: string, spoolOf: (lease: Lease) => Spool | null) => Promise<number>
  /** Looks into every spool, for notices the kernel did not send. */
  rescan: () => void
  close: () => Promise<void>
}

export type Spool = Lease & {
  folder: string
  /** The session the attempt was started with; undefined: any session's events are its own. */
  claudeSessionId?: string
  /** Where the script counts what it could not keep, one byte an event. */
  lostFiles?: string[]
}

/**
 * Events that come together are stored in one commit: this many at most, or what arrived within this time. 200 while
 * more wait took 14 % less of the processor, no less time, and held up the event loop twice as long.
 */
const GROUP_MS = 2
const GROUP_EVENTS = 50
/** Files are read for so long before others have a turn: on a busy machine a file may take a millisecond. */
const TURN_MS = 4
/** A group of large payloads ends sooner. */
const GROUP_BYTES = 1024 * 1024
const STORE_RETRY_MS = 5000
type Entry = {
  spool: Spool
  line: SpoolLine
  lost: LostEvents
  suspect: ReturnType<typeof createOriginCheck>
  /** Told when nothing is left to read, or reading failed. */
  idle: ((error: unknown) => void)[]
}

/**
 * One event, one file, exactly once: the file's name is stored with the event in one transaction, and the file
 * is removed after the commit. A crash between the two finds the name known and only removes. Events of one
 * attempt keep the order in which their writing began. One reader serves all spools in turn, so that one
 * commit carries what came to all of them, and at most GROUP_EVENTS payloads are in memory.
 */
export function createIngest(options: {
  hookEvents: HookEvents
  onEvents: (lease: Lease, events: HookEvent[]) => void
  redactor: Redactor
  clock: Clock
  logger: Logger
  pulse?: StartPulse
  /** Hears how long a commit took, and how many events it stored. */
  took?: (ms: number, events: number) => void
}): Ingest {
  const { hookEvents, redactor, clock, logger } = options
  const entries = new Map<string, Entry>()
  let running: Promise<void> | null = null
  let closed = false
  /** The group that is being stored. */
  let step: Promise<void> = Promise.resolve()
  /** The files of the group before it, which leave while it is read. */
  let removal: Promise<unknown> = Promise.resolve()
  const pulse = options.pulse?.('ingest', () => step)

  function wake(): void {
    running ??= run().finally(() => (running = null))
  }

  async function run(): Promise<void> {
    await sleep(GROUP_MS)
    for (;;) {
      const busy = [...entries.values()].filter(({ line }) => line.hasWork())
      if (busy.length === 0 || closed) {
        if (closed) for (const entry of entries.values()) settle(entry, null)
        return
      }
      try {
        step = storeOne(busy)
        await step
      } catch (err) {
        logger.error({ err, taskId: busy[0]?.spool.taskId }, 'hook events could not be stored')
        // They stay where they are; whatever wakes it next reads the whole folder, so that none overtakes them.
        for (const entry of busy) {
          entry.line.reset()
          settle(entry, err)
        }
        return
      }
      const isDone = ({ line }: Entry) => !line.isHeld() && !line.hasWork()
      const asked = busy.filter((entry) => entry.idle.length > 0 && isDone(entry))
      if (asked.length > 0) await removal
      for (const entry of asked) if (isDone(entry)) settle(entry, null)
      await nextTurn()
    }
  }

  function settle(entry: Entry, error: unknown): void {
    for (const told of entry.idle.splice(0)) told(error)
  }

  /** One commit: a share of each spool that has something, in turn. */
  async function storeOne(busy: Entry[]): Promise<void> {
    const from = performance.now()
    const taken: { entry: Entry; files: Waiting[]; events: NewHookEvent[] }[] = []
    let room = GROUP_EVENTS
    let bytes = 0
    let turnFrom = from
    // Who was first in line is last next time.
    const first = busy[0]
    if (first !== undefined && busy.length > 1 && entries.delete(first.spool.folder))
      entries.set(first.spool.folder, first)
    for (const [index, entry] of busy.entries()) {
      if (room <= 0 || bytes > GROUP_BYTES) break
      await entry.line.refill()
      const share = Math.max(1, Math.ceil(room / (busy.length - index)))
      const part = { entry, files: [] as Waiting[], events: [] as NewHookEvent[] }
      while (part.files.length < share && bytes <= GROUP_BYTES) {
        const file = entry.line.next()
        if (file === undefined) break
        part.files.push(file)
        const event = await readEvent(entry, file)
        if (event !== null) part.events.push(event)
        if (performance.now() - turnFrom > TURN_MS) {
          await nextTurn()
          turnFrom = performance.now()
        }
        bytes += Math.min(file.size, GROUP_BYTES)
      }
      room -= part.files.length
      taken.push(part)
    }
    if (taken.every(({ files }) => files.length === 0)) return
    await nextTurn()
    const stored = hookEvents.insertBatch(taken.flatMap(({ events }) => events))
    options.took?.(performance.now() - from, stored.length)
    const fresh = new Set(stored.map(({ payload }) => payload))
    for (const { entry, events } of taken) {
      // Before the files are removed: should that fail, the next look finds their names known and tells nobody.
      const own = events.filter(
        ({ payload, record }) => fresh.has(payload) && (record?.suspect ?? 'future-time') === 'future-time',
      )
      if (own.length > 0) tell(entry, own, stored)
    }
    await removal
    // Beside the event loop: where the disk's journal is busy, one unlink took 1.5 ms.
    removal = Promise.all(
      taken.flatMap(({ entry, files }) => files.map((file) => removeQuietly(entry, file))),
    )
  }

  function tell(entry: Entry, own: NewHookEvent[], stored: HookEvent[]): void {
    const payloads = new Set(own.map(({ payload }) => payload))
    const news = stored.filter(({ payload }) => payloads.has(payload))
    options.onEvents({ taskId: entry.spool.taskId, attempt: entry.spool.attempt }, news)
  }

  async function readEvent(entry: Entry, file: Waiting): Promise<NewHookEvent | null> {
    const { spool } = entry
    if (!file.regular) {
      // A link or a pipe was not written by the script; reading it could show another file, or hang.
      logger.warn(
        { taskId: spool.taskId, code: 'ODD_SPOOL_FILE' },
        'something that is no file was in a spool',
      )
      return null
    }
    let read: SpoolText
    try {
      read = await readSpoolText(`${spool.folder}/${file.name}`)
    } catch (err) {
      const { code } = err as NodeJS.ErrnoException
      // Removed by somebody since: then there is nothing to store.
      if (code === 'ENOENT') return null
      // Whatever cannot be read now may be read at the next look, but these stay as they are and would block it.
      if (code !== 'EACCES' && code !== 'EPERM' && code !== 'ELOOP') throw err
      read = { text: '', size: file.size, sha256: null }
    }
    return toNewEvent(spool, file, read, { redactor, now: clock(), suspect: entry.suspect })
  }

  function look(entry: Entry): void {
    entry.line.look()
    try {
      entry.lost.count(0)
    } catch (err) {
      logger.error({ err, taskId: entry.spool.taskId }, 'lost hook events could not be counted')
    }
    wake()
  }

  /** Resolves with the error that kept it from reading all of it, or null. */
  function readAll(entry: Entry): Promise<unknown> {
    return new Promise((resolve) => {
      entry.idle.push(resolve)
      look(entry)
    })
  }

  function add(spool: Spool): Entry {
    const { folder, taskId, attempt, claudeSessionId } = spool
    const known = claudeSessionId === undefined ? null : new Set([claudeSessionId])
    for (const session of known === null ? [] : hookEvents.sessionsOf({ taskId, attempt }))
      known?.add(session)
    const entry: Entry = {
      spool,
      line: createSpoolLine({ folder, taskId, wake, removal: () => removal, clock, logger }),
      lost: createLostEvents({
        lease: { taskId, attempt },
        files: spool.lostFiles ?? [],
        hookEvents,
        clock,
        logger,
      }),
      suspect: createOriginCheck({ taskId, sessions: known, logger }),
      idle: [],
    }
    entries.set(folder, entry)
    look(entry)
    return entry
  }

  async function remove(entry: Entry): Promise<void> {
    const { taskId, folder } = entry.spool
    entry.line.unwatch()
    for (;;) {
      const err = await readAll(entry)
      if (err === null) break
      logger.error({ err, taskId }, 'the last hook events could not be stored')
      if (!(err instanceof CcmError) && !isPassing(err)) break
      await sleep(STORE_RETRY_MS)
    }
    try {
      entry.lost.count((await waitingIn(folder, 1, new Map(), clock())).unfinished)
      await entry.lost.forgetFiles()
    } catch (err) {
      logger.error({ err, taskId }, 'lost hook events could not be counted')
    }
    entries.delete(folder)
  }

  return {
    add: (spool) => void add(spool),
    async read({ folder }) {
      const entry = entries.get(folder)
      if (entry !== undefined) await readAll(entry)
    },
    async remove({ folder }) {
      const entry = entries.get(folder)
      if (entry !== undefined) await remove(entry)
    },
    async leftovers(attemptsFolder, spoolOf) {
      let found = 0
      for (const name of namesIn(attemptsFolder)) {
        const [, taskId, attempt] = /^(.+)\.(\d+)$/.exec(name) ?? []
        const folder = join(attemptsFolder, name, 'spool')
        if (taskId === undefined || !namesIn(folder).some((file) => file.endsWith('.json'))) continue
        found++
        const lease = { taskId, attempt: Number(attempt) }
        const entry = add({ ...spoolOf(lease), ...lease, folder })
        entry.line.unwatch()
        await readAll(entry)
        entries.delete(folder)
      }
      return found
    },
    rescan() {
      for (const entry of entries.values()) look(entry)
    },
    async close() {
      closed = true
      pulse?.close()
      for (const { line } of entries.values()) line.close()
      await running
      // Nobody comes back to one that was held up.
      for (const entry of entries.values()) settle(entry, null)
      await removal
      entries.clear()
    },
  }

  async function removeQuietly({ spool }: Entry, { name, regular }: Waiting): Promise<void> {
    const path = `${spool.folder}/${name}`
    try {
      await (regular ? unlink(path) : rm(path, { recursive: true }))
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT')
        logger.warn(
          { err, code: 'SPOOL_FILE_STAYS' },
          'a stored event stays in its spool; it is stored once all the same',
        )
    }
  }
}

/** No descriptors or memory now: others give theirs back. */
function isPassing(err: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes((err as NodeJS.ErrnoException).code ?? '')
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
