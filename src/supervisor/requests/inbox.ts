import type { Logger } from 'pino'
import { backoffMs } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import { CcmError, messageOf, type ErrorCode } from '../../core/errors.ts'
import type { InboxEntry, NewInboxEntry } from '../../core/outside/inbox.ts'
import type { CancelReply, Queue } from '../../core/task/queue.ts'
import { isFinal, type ListedTask, type Task } from '../../core/task/task.ts'
import type { InboxStore } from '../../store/inbox.ts'
import type { StartPulse } from '../loops/beats.ts'
import { createInOrder } from '../loops/in-order.ts'
import { inTime } from '../loops/in-time.ts'

/** Requests from outside on their way to the queue. */
export type Inbox = {
  /** Stores all or none, durably, before it returns; what is known by its key is not stored again. */
  accept: (entries: NewInboxEntry[]) => { entry: InboxEntry; isNew: boolean }[]
  /** Lets a waiting one go to the queue; null: there is no such entry. Throws CONFLICT where it does not wait. */
  approve: (id: number, by: string) => InboxEntry | null
  /** Ends one that is no task yet; likewise. */
  refuse: (id: number, by: string | null, reason: string) => Promise<InboxEntry | null>
  /** Requests from an issue on GitHub that wait, or whose task is not over as far as the queue answers at once. */
  openOf: (repository: string, number: number) => Promise<InboxEntry[]>
  /** Notes which requests of a source have a task that is over, as far as the queue answers at once. */
  noteOver: (source: string) => Promise<void>
  /**
   * Ends a request, durably; one whose task runs only where `running` says so: without that the queue has to answer.
   * False: nothing was ended.
   */
  end: (entry: InboxEntry, reason: string, running: boolean) => Promise<boolean>
  /** Brings what an earlier daemon left to the queue, then goes on by itself. */
  begin: () => Promise<void>
  nudge: () => void
  close: () => Promise<void>
}

/** A later try would end the same way. */
const HOPELESS: ErrorCode[] = ['BAD_INPUT', 'NOT_FOUND', 'DIR_UNUSABLE', 'CONFLICT']
/** Newest tasks of a project among which a task of before a crash is looked for. */
const LOOK_BACK = 1000
const PRUNE_MS = 3_600_000
/** Whoever is to approve had time enough. */
const WAIT_MS = 30 * 86_400_000
/** A webhook is answered within 10 s. */
const ASK_MS = 2000
const unknown = () => 'unknown' as const

/**
 * One entry after the other, in the order of arrival: while the queue refuses the oldest, the others wait behind it. An
 * entry is inserted under its own key and noted afterwards; after a crash between the two its task is found by the key.
 */
export function createInbox(deps: {
  store: InboxStore
  queue: Pick<Queue, 'get' | 'list'>
  insert: (entry: InboxEntry) => Promise<Task>
  /** `requested` also where it is noted for a queue that is away. */
  cancel: (taskId: string, reason: string) => Promise<CancelReply>
  /** An entry was settled: whoever asked may want to know. */
  onSettled: () => void
  clock: Clock
  random: () => number
  logger: Logger
  pulse?: StartPulse
}): Inbox {
  const { store, queue, clock, random, logger } = deps
  let prunedAt = 0
  let pruning: Promise<void> = Promise.resolve()
  let isClosed = false
  /** Entries up to this one may have become tasks of an earlier process that was killed before it could note so. */
  const doubtful = store.list({ state: null, limit: 1 })[0]?.id ?? 0
  const line = createInOrder(push, logger)
  const pulse = deps.pulse?.('inbox', line.settled)

  async function push(): Promise<number | null> {
    const entry = store.nextPending()
    if (entry === null) return null
    const waitMs = entry.dueAt - clock()
    if (waitMs > 0) return waitMs
    try {
      const task = (await insertedBefore(entry)) ?? (await deps.insert(entry))
      store.setInserted(entry.id, task.id, clock())
    } catch (error) {
      if (!(error instanceof CcmError && HOPELESS.includes(error.code))) {
        const retryMs = error instanceof CcmError ? error.retryAfterMs : undefined
        const waitMs = Math.max(backoffMs(entry.tries, random), retryMs ?? 0)
        store.setLater(entry.id, clock() + waitMs, messageOf(error))
        logger.warn({ err: error, project: entry.project }, 'a request from outside cannot be queued yet')
        return waitMs
      }
      store.refuse(entry.id, messageOf(error), null, clock())
    }
    deps.onSettled()
    return 0
  }

  async function insertedBefore(entry: InboxEntry): Promise<ListedTask | null> {
    if (entry.id > doubtful && entry.tries === 0) return null
    const tasks = await queue.list({ projects: [entry.project], limit: LOOK_BACK })
    return tasks.find(({ dedupeKey }) => dedupeKey === entry.key) ?? null
  }

  function nudge(): void {
    line.nudge()
    if (clock() - prunedAt < PRUNE_MS) return
    prunedAt = clock()
    pruning = prune(prunedAt).catch((err: unknown) => {
      logger.warn({ err }, 'requests that are over could not be forgotten; they are later')
    })
  }

  /** What is told of a task, and what may end it, is found by its request: it is kept until the task is over. */
  async function prune(now: number): Promise<void> {
    for (const { id, taskId } of store.longTasks(now)) {
      if (await isOver(taskId)) store.setOver(id, now)
      if (isClosed) return
    }
    for (const id of store.waitingSince(now - WAIT_MS)) {
      store.refuse(id, 'Nobody approved it within 30 days.', null, now)
      deps.onSettled()
    }
    store.prune(now)
  }

  const decided = (id: number, done: boolean): InboxEntry | null => {
    const entry = store.get(id)
    if (entry !== null && !done) {
      const about = entry.taskId === null ? `it is ${entry.state}` : `it is task ${entry.taskId}`
      throw new CcmError('CONFLICT', `Request ${id} cannot be decided any more: ${about}.`, {
        remedy: entry.taskId === null ? 'See: ccm inbox' : `See: ccm show ${entry.taskId}`,
      })
    }
    nudge()
    return entry
  }

  /** Whoever asks answers a webhook: while the queue is away its tasks are not over, and nothing waits for it. */
  async function isOver(taskId: string): Promise<boolean> {
    const task = await inTime(ASK_MS, queue.get(taskId), unknown).catch(unknown)
    return task === null || (task !== 'unknown' && isFinal(task.status))
  }

  return {
    accept(entries) {
      const accepted = store.accept(entries, clock())
      nudge()
      return accepted
    },
    approve: (id, by) => decided(id, store.approve(id, by, clock())),
    async refuse(id, by, reason) {
      // One that is on its way to the queue this very moment is a task afterwards.
      await line.settled()
      const entry = decided(id, store.refuse(id, reason, by, clock()))
      deps.onSettled()
      return entry
    },
    async openOf(repository, number) {
      const entries = store.ofIssue(repository, number)
      const over = await Promise.all(entries.map(async ({ taskId }) => taskId !== null && isOver(taskId)))
      return entries.filter((_, index) => over[index] === false)
    },
    async noteOver(source) {
      const look = async ({ id, taskId }: { id: number; taskId: string }) => {
        if (await isOver(taskId)) store.setOver(id, clock())
      }
      await Promise.all(store.openTasks(source).map(look))
    },
    async end({ id }, reason, whileRunning) {
      await line.settled()
      const entry = store.get(id)
      if (entry === null || entry.state === 'refused') return false
      if (store.refuse(id, reason, null, clock())) {
        deps.onSettled()
        return true
      }
      if (entry.taskId === null) return false
      // Whatever the task does: so a queue that is away is asked nothing, and hears of the cancel when it is back.
      if (!whileRunning) {
        const task = await queue.get(entry.taskId)
        if (task === null || isFinal(task.status) || task.status === 'running') return false
      }
      const reply = await deps.cancel(entry.taskId, reason)
      return reply === 'cancelled' || reply === 'requested'
    },
    async begin() {
      nudge()
      await line.settled()
    },
    nudge,
    async close() {
      isClosed = true
      pulse?.close()
      await line.close()
      await pruning
    },
  }
}
