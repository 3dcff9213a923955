import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { CcmError } from '../../core/errors.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import { isOwn } from '../../core/record/hook-kind.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { Redactor } from '../../core/redact.ts'
import type { HookEvents } from '../../store/hook-events.ts'
import type { StartPulse } from '../loops/beats.ts'
import { createOriginCheck } from './event-origin.ts'
import { createLostEvents, type LostEvents } from './lost-events.ts'
import { removeFiles } from './spool-file.ts'
import {
  createTurns,
  isPassing,
  readShare,
  GROUP_BYTES,
  type Share,
  type Source,
  type Spool,
} from './reading.ts'
import { createSpoolLine } from './spool-line.ts'
import { waitingIn } from './spool.ts'

/** Reads the spools of all attempts into the database. */
export type Ingest = {
  /** Watches an attempt's spool from now on; what is in it already is read at once. */
  add: (spool: Spool) => void
  /** Reads everything that is there by now. Never rejects: what cannot be stored stays for the next look. */
  read: (spool: Lease & { folder: string }) => Promise<void>
  /** Reads everything that is there, for the last time, and stops watching. On a full disk it waits for room. */
  remove: (spool: Lease & { folder: string }) => Promise<void>
  /**
   * Stores what is in a spool that nobody watches; `stored` hears of each group that is in the database. Where nothing
   * writes to it any more (`isOver`) what was lost of it is counted, too.
   */
  leftover: (spool: Spool, stored?: () => void, isOver?: boolean) => Promise<void>
  /** Looks into every spool, for notices the kernel did not send. */
  rescan: () => void
  close: () => Promise<void>
}

/**
 * Events that come together are stored in one commit, this many at most: those that come within this time of the
 * first, and behind them those that came during the commit before. 200 while more wait took 14 % less of the
 * processor, no less time, and held up the event loop twice as long.
 */
const GROUP_MS = 2
const GROUP_EVENTS = 50
const STORE_RETRY_MS = 5000

type Entry = Source & {
  /** Hears that some of what was in it is stored. */
  stored?: (() => void) | undefined
  lost: LostEvents
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
  /** Times turns; ms of any origin, `performance.now` by default. */
  now?: () => number
  logger: Logger
  pulse?: StartPulse
  /** Hears how long a commit took, and how many events it stored. */
  took?: (ms: number, events: number) => void
}): Ingest {
  const { hookEvents, redactor, clock, logger, now = () => performance.now() } = options
  const entries = new Map<string, Entry>()
  let running: Promise<void> | null = null
  let closed = false
  /** The group that is being stored. */
  let step: Promise<void> = Promise.resolve()
  /** The files of the group before it, which leave while it is read. */
  let removal: Promise<void> = Promise.resolve()
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
        step = storeGroup(busy)
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

  /** One commit of what waits, as much as makes a group. */
  async function storeGroup(busy: Entry[]): Promise<void> {
    const from = performance.now()
    const shares = await readGroup(busy)
    await storeShares(shares, from)
    for (const { entry, failed } of shares) if (failed !== null) settle(entry, failed.err)
  }

  async function storeShares(shares: Share<Entry>[], from: number): Promise<void> {
    if (shares.every(({ files }) => files.length === 0)) return
    await nextTurn()
    const stored = hookEvents.insertBatch(shares.flatMap(({ events }) => events))
    options.took?.(performance.now() - from, stored.length)
    // Before the files are removed: should that fail, the next look finds their names known and tells nobody.
    tell(shares, stored)
    for (const { entry, files } of shares) if (files.length > 0) entry.stored?.()
    await removal
    removal = removeFiles(
      shares.flatMap(({ entry, files }) => files.map((file) => ({ folder: entry.spool.folder, file }))),
      logger,
    )
  }

  /** A share of each spool that has something, in turn. */
  async function readGroup(busy: Entry[]): Promise<Share<Entry>[]> {
    const shares: Share<Entry>[] = []
    const room = { events: GROUP_EVENTS, bytes: GROUP_BYTES }
    const giveTurn = createTurns(now)
    // Who was first in line is last next time.
    const [first] = busy
    if (first !== undefined && busy.length > 1 && entries.delete(first.spool.folder))
      entries.set(first.spool.folder, first)
    for (const [index, entry] of busy.entries()) {
      if (room.events <= 0 || room.bytes < 0) break
      const most = Math.max(1, Math.ceil(room.events / (busy.length - index)))
      shares.push(await readShare(entry, most, room, { redactor, clock, logger, giveTurn }))
    }
    return shares
  }

  /**
   * Those that were new, and are trusted to be the attempt's own. Nobody is told twice, so one who cannot take them in
   * keeps them from no other.
   */
  function tell(shares: Share<Entry>[], stored: HookEvent[]): void {
    const news = new Map(stored.map((event) => [event.payload, event]))
    for (const { entry, events } of shares) {
      const { taskId, attempt } = entry.spool
      const own = events.flatMap(({ payload, record }) =>
        isOwn(record?.suspect ?? null) ? (news.get(payload) ?? []) : [],
      )
      if (own.length === 0) continue
      try {
        options.onEvents({ taskId, attempt }, own)
      } catch (err) {
        logger.error({ err, taskId, attempt }, 'not all that hook events tell could be taken in')
      }
    }
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

  /** Counts what was lost, for the last time; answers the error that kept it from that, or null. */
  async function countLast({ spool, lost }: Entry): Promise<unknown> {
    try {
      lost.count((await waitingIn(spool.folder, 1, new Map(), clock())).unfinished)
      await lost.forgetFiles()
      return null
    } catch (err) {
      return err
    }
  }

  async function remove(entry: Entry): Promise<void> {
    const { taskId, folder } = entry.spool
    entry.line.unwatch()
    for (;;) {
      const err = (await readAll(entry)) ?? (await countLast(entry))
      if (err === null) break
      logger.error({ err, taskId }, 'the last hook events could not be stored')
      if (!(err instanceof CcmError) && !isPassing(err)) break
      await sleep(STORE_RETRY_MS)
    }
    entry.line.close()
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
    async leftover(spool, stored, isOver = false) {
      const entry = add(spool)
      entry.stored = stored
      entry.line.unwatch()
      const err = (await readAll(entry)) ?? (isOver ? await countLast(entry) : null)
      if (err !== null)
        logger.error({ err, taskId: spool.taskId }, 'not all hook events of a spool could be stored')
      entry.line.close()
      entries.delete(spool.folder)
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
}
