import { readFileSync, readdirSync, statSync, watch, type FSWatcher } from 'node:fs'
import { rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import type { HookEvent, HookPayload } from '../core/hook-event.ts'
import type { Suspicion } from '../core/hook-kind.ts'
import type { Lease } from '../core/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { HookEvents, NewHookEvent } from '../store/hook-events.ts'
import type { StartPulse } from './beats.ts'
import { toNewEvent } from './spool-event.ts'
import {
  eventOf,
  inOrder,
  lookAt,
  readSpoolText,
  stemOf,
  waitingIn,
  type SpoolText,
  type Waiting,
} from './spool.ts'

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
/** How much of a spool is known at once, whatever waits in it: 10,000 names take 3 MB. */
const KNOWN_MAX = 10_000
/** So many notices at once mean that the kernel's queue (16,384) may have run over: the folder itself tells then. */
const ANNOUNCED_MAX = 1000

/** What holds an event up may have been killed, of which the kernel says nothing. */
const HELD_LOOK_MS = 50

/** Longer than a tick of the clock that dates files. */
const SETTLED_MS = 20
/** A clock that was set back leaves files of the future: those came long ago. */
const FUTURE_MS = 1000

type Entry = {
  spool: Spool
  watcher: FSWatcher | null
  /** Stems of names in the order the kernel announced them: an event's place is where its writing began. */
  announced: Map<string, number>
  /** Found and not read yet, oldest first. */
  waiting: Waiting[]
  /** The folder has to be read: not all that is in it was announced. */
  scan: boolean
  /** What comes next is still being written: nothing can be done until the kernel tells of it, or this runs out. */
  held: NodeJS.Timeout | null
  /** Sessions whose events are this attempt's own; null: any. */
  sessions: Set<string> | null
  lost: number
  /** Bytes in the files that count them, at the last look. */
  lostSize: number
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
      const busy = [...entries.values()].filter(hasWork)
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
          entry.waiting = []
          entry.announced.clear()
          release(entry)
          entry.scan = true
          settle(entry, err)
        }
        return
      }
      const isDone = (entry: Entry) => entry.held === null && !hasWork(entry)
      const asked = busy.filter((entry) => entry.idle.length > 0 && isDone(entry))
      if (asked.length > 0) await removal
      for (const entry of asked) if (isDone(entry)) settle(entry, null)
      await nextTurn()
    }
  }

  function hasWork({ waiting, scan, announced, held }: Entry): boolean {
    return waiting.length > 0 || (held === null && (scan || announced.size > 0))
  }

  function hold(entry: Entry): void {
    entry.held ??= setTimeout(() => {
      release(entry)
      wake()
    }, HELD_LOOK_MS)
  }

  function release(entry: Entry): void {
    if (entry.held !== null) clearTimeout(entry.held)
    entry.held = null
  }

  function settle(entry: Entry, error: unknown): void {
    for (const told of entry.idle.splice(0)) told(error)
  }

  /** Looks for what waits, where nothing known does. */
  async function refill(entry: Entry): Promise<void> {
    const { folder } = entry.spool
    if (!entry.scan && entry.announced.size <= ANNOUNCED_MAX) {
      // In the kernel's own order, and without reading the folder.
      for (const stem of entry.announced.keys()) {
        const file = eventOf(folder, stem, clock())
        if (file === 'in flight') return hold(entry)
        if (file !== null) entry.waiting.push(file)
        entry.announced.delete(stem)
      }
      return
    }
    // What is stored and about to go would be found again.
    await removal
    entry.scan = false
    const from = clock()
    const known = [...entry.announced.keys()]
    const { files, more, inFlight } = await waitingIn(folder, KNOWN_MAX, entry.announced, from)
    const order = inOrder(entry.announced)
    // Reading a folder may miss what got its name meanwhile: the kernel has told of it.
    await nextTurn()
    const last = files.at(-1)
    const found = new Set(files.map(({ stem }) => stem))
    const missed = [...entry.announced.keys()].flatMap((stem) => {
      const file = found.has(stem) ? null : lookAt(folder, `${stem}.json`)
      return file === null || (more && last !== undefined && order(file, last) > 0) ? [] : [file]
    })
    if (missed.length > 0) {
      files.push(...missed)
      files.sort(order)
    }
    // Reading a folder may miss a file that came meanwhile and find one that came after it: what is that new waits
    // until it was announced, or until the next look at the folder finds all of its time.
    const isSettled = ({ cameAt }: Waiting) => cameAt < from - SETTLED_MS || cameAt > from + FUTURE_MS
    const isReady = (file: Waiting) => isSettled(file) && (inFlight === null || order(file, inFlight) < 0)
    const ready = files.findIndex((file) => !isReady(file))
    entry.waiting = ready < 0 ? files : files.slice(0, ready)
    const fresh = new Set(ready < 0 ? [] : files.slice(ready).map(({ stem }) => stem))
    if (inFlight !== null) {
      fresh.add(inFlight.stem)
      entry.scan = true
      const goesOn = () => eventOf(folder, inFlight.stem, clock()) === 'in flight'
      if (entry.waiting.length === 0 && goesOn()) return hold(entry)
    }
    // Read now, found at the next look, or gone.
    for (const stem of known) if (!fresh.has(stem)) entry.announced.delete(stem)
    if (more || [...fresh].some((stem) => !entry.announced.has(stem))) {
      entry.scan = true
      if (entry.waiting.length === 0) await sleep(GROUP_MS)
    }
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
      if (entry.waiting.length === 0) await refill(entry)
      const share = Math.max(1, Math.ceil(room / (busy.length - index)))
      const part = { entry, files: [] as Waiting[], events: [] as NewHookEvent[] }
      while (part.files.length < share && bytes <= GROUP_BYTES) {
        const file = entry.waiting[part.files.length]
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
      entry.waiting.splice(0, part.files.length)
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
    const suspect = (payload: HookPayload) => suspicionOf(entry, payload)
    return toNewEvent(spool, file, read, { redactor, now: clock(), suspect })
  }

  /**
   * A subagent's events carry its parent's session. A person may clear the session or resume another in the
   * window: Claude Code then announces it first, and from there on it is the attempt's own.
   */
  function suspicionOf({ sessions, spool }: Entry, payload: HookPayload): Suspicion | null {
    const { session_id: session, hook_event_name: name, source } = payload
    // Only ccm itself writes those, and not into a spool.
    if (typeof name === 'string' && name.startsWith('Ccm')) {
      logger.warn(
        { taskId: spool.taskId, code: 'FORGED_EVENT' },
        'an event in the name of ccm was in a spool',
      )
      return 'forged'
    }
    if (sessions === null || typeof name !== 'string') return null
    if (typeof session === 'string') {
      if (sessions.has(session)) return null
      if (name === 'SessionStart' && (source === 'clear' || source === 'resume' || source === 'compact')) {
        sessions.add(session)
        return null
      }
    }
    logger.warn({ taskId: spool.taskId, code: 'FOREIGN_EVENT' }, 'an event of another session was in a spool')
    return 'foreign-session'
  }

  /** What the script could not keep becomes an event of its own; `unfinished` when nothing writes any more. */
  function countLost(entry: Entry, unfinished: number): void {
    const { taskId, attempt, lostFiles } = entry.spool
    const files = lostFiles ?? []
    const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0
    const size = files.reduce((sum, file) => sum + sizeOf(file), unfinished)
    if (size === entry.lostSize) return
    // One byte each was there from the start, and is none of the script's.
    const counted = unfinished + files.reduce((sum, file) => sum + textOf(file).split('.').length - 1, 0)
    entry.lostSize = size
    if (counted <= entry.lost) return
    const payload: HookPayload = {
      hook_event_name: 'CcmEventsLost',
      lost: counted - entry.lost,
      lost_in_all: counted,
    }
    const event = {
      taskId,
      attempt,
      claudeSessionId: null,
      hookEventName: 'CcmEventsLost',
      at: clock(),
      payload,
    }
    hookEvents.insertBatch([{ ...event, fileName: `${taskId}.${attempt}/lost.${counted}` }])
    entry.lost = counted
    logger.warn({ taskId, attempt, code: 'EVENTS_LOST' }, 'hook events could not be written to their spool')
  }

  function look(entry: Entry): void {
    entry.scan = true
    try {
      countLost(entry, 0)
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
      watcher: null,
      announced: new Map(),
      waiting: [],
      scan: true,
      held: null,
      sessions: known,
      lost: hookEvents.lostOf({ taskId, attempt }),
      lostSize: 0,
      idle: [],
    }
    let serial = 0
    try {
      entry.watcher = watch(folder, { persistent: false }, (_, name) => {
        const stem = stemOf(name)
        if (closed || stem === null) return
        if (!entry.announced.has(stem)) {
          if (entry.announced.size <= ANNOUNCED_MAX) entry.announced.set(stem, serial++)
          else entry.scan = true
        } else if (entry.held === null) return
        release(entry)
        wake()
      })
      entry.watcher.on('error', (err) =>
        logger.warn({ err, taskId }, 'a spool is not watched; the sweep reads it'),
      )
    } catch (err) {
      logger.warn({ err, taskId }, 'a spool cannot be watched; the sweep reads it')
    }
    entries.set(folder, entry)
    look(entry)
    return entry
  }

  async function remove(entry: Entry): Promise<void> {
    const { taskId, folder } = entry.spool
    entry.watcher?.close()
    for (;;) {
      const err = await readAll(entry)
      if (err === null) break
      logger.error({ err, taskId }, 'the last hook events could not be stored')
      if (!(err instanceof CcmError) && !isPassing(err)) break
      await sleep(STORE_RETRY_MS)
    }
    try {
      countLost(entry, (await waitingIn(folder, 1, new Map(), clock())).unfinished)
      for (const file of entry.spool.lostFiles ?? []) await rm(file, { force: true })
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
        entry.watcher?.close()
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
      for (const entry of entries.values()) {
        entry.watcher?.close()
        release(entry)
      }
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

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
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
