import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import { CcmError } from '../../core/errors.ts'
import { checkNewTask } from '../../core/task/new-task.ts'
import type { Queue } from '../../core/task/queue.ts'
import { listTasks } from '../../core/task/task-list.ts'
import { narrowed, type Rights } from '../../core/task/rights.ts'
import {
  isFinal,
  toListed,
  type ListedTask,
  type NewTask,
  type PermissionMode,
  type Task,
  type TaskStatus,
} from '../../core/task/task.ts'
import type { SharedTasks } from '../../store/shared-tasks.ts'
import type { Arrivals } from './arrivals.ts'
import { createCached, type Cached } from '../loops/cached.ts'
import { inTime } from '../loops/in-time.ts'
import { isAway } from './away.ts'
import type { Fence } from './fence.ts'
import type { HandOver } from './hand-over.ts'
import { createKnownTasks } from './known-tasks.ts'

/** What this machine allows the tasks of a project at most. */
export type RightsLimit = Rights & { permissionMode: PermissionMode; inPlace: boolean }

/** What a shared queue is built over: its own `insert` knows one that is sent again by a key. */
type RemoteQueue = Queue & {
  insert: (task: NewTask, requestKey: string) => Promise<{ task: Task; inserted: boolean }>
}

/** A queue as its own machine sees it. */
export type SharedQueue = Queue & {
  /** As `list`, for people: with what waits here, and while the queue is away with what this machine knows. */
  seen: Queue['list']
  /** It is to be cancelled, and the queue has not heard of that. */
  cancelWaits: (id: string) => boolean
}

/** Whoever adds a task is answered within this time; without an answer of the queue the task is accepted here. */
const INSERT_MS = 5000
/** How old a count may be. */
const COUNT_MS = 2000
/** All ids of tasks are that long; what is shorter is the beginning of one. */
const ID_LENGTH = 12

/**
 * A queue that others write to as well. What is claimed from it has no more rights than `limitOf` its project,
 * unless this very daemon put it there and nobody has changed it since; it is kept for the time when the queue does
 * not answer; and each answer about a lease moves its fence. What is added while it does not answer is accepted here:
 * `held`. Counts are up to 2 s old, and as old as the outage is long.
 */
export function createSharedQueue(deps: {
  queue: RemoteQueue
  kept: SharedTasks
  handOver: HandOver
  fence: Fence
  arrivals: Arrivals
  limitOf: (project: string) => RightsLimit
  /** The queue did not answer the last call. */
  isDown: () => boolean
  clock: () => number
  logger: Logger
  insertMs?: number
}): SharedQueue {
  const { queue, kept, handOver, fence, arrivals, isDown, logger, insertMs = INSERT_MS } = deps
  const known = createKnownTasks(kept, handOver)
  const soon = <T>(answer: Promise<T>): Promise<T> => inTime(insertMs, answer, noAnswer)
  /** Prints of inserts under way: their tasks may be claimed before the answer is here. */
  const coming: string[] = []
  const counts = new Map<TaskStatus, Cached<number>>()

  function narrow(task: Task): Task {
    const print = printOf(task)
    const isOurs = () => coming.includes(print) || handOver.asked().some((asked) => printOf(asked) === print)
    if (kept.ownPrint(task.id) === print || isOurs()) return task
    const limit = deps.limitOf(task.project)
    const rights = narrowed(task, limit)
    const inPlace = task.inPlace === true && !limit.inPlace ? null : task.inPlace
    const isLess =
      rights.permissionMode !== task.permissionMode ||
      rights.allowedTools.length < task.allowedTools.length ||
      inPlace !== task.inPlace
    if (isLess)
      logger.warn({ taskId: task.id }, 'a task asked for more rights than this machine gives; it got those')
    return {
      ...task,
      permissionMode: rights.permissionMode,
      allowedTools: [...rights.allowedTools],
      inPlace,
    }
  }

  async function insertThere(task: NewTask, requestKey: string): Promise<{ task: Task; inserted: boolean }> {
    const print = printOf(task)
    coming.push(print)
    const answer = queue.insert(task, requestKey)
    // Also where nobody waits for it any more: the task may come all the same.
    const note = answer.then((added) => {
      if (added.inserted) kept.putOwn(added.task.id, print)
      known.note([added.task])
      // Whoever inserts it here looks for it at once.
      arrivals.announce(added.task.id)
      return added
    })
    const over = () => void coming.splice(coming.indexOf(print), 1)
    note.then(over, over)
    return soon(note)
  }

  /** Shows whoever looks what the queue does not know yet. */
  const withCancel = <T extends Task | ListedTask>(task: T): T =>
    isFinal(task.status) || handOver.noted(task.id) === null ? task : { ...task, cancelRequested: true }

  /** Asks the queue where it answers within 5 s; where it does not, and nothing is known here, its error stands. */
  async function asked<T>(ask: () => Promise<T>, here: () => T | null): Promise<T> {
    const before = isDown() ? here() : null
    if (before !== null) return before
    try {
      return await (isDown() ? soon(ask()) : ask())
    } catch (error) {
      const found = isAway(error) ? here() : null
      if (found === null) throw error
      return found
    }
  }

  const countOf = (status: TaskStatus): Cached<number> => {
    const known = counts.get(status)
    if (known !== undefined) return known
    const cached = createCached({
      read: () => queue.count(status),
      maxAgeMs: COUNT_MS,
      mayBeOld: isAway,
      clock: deps.clock,
    })
    counts.set(status, cached)
    return cached
  }

  return {
    ...queue,
    async insert(task) {
      checkNewTask(task)
      const requestKey = crypto.randomUUID()
      const held = (sent: boolean) => ({ ...handOver.accept(task, requestKey, sent), held: true })
      // Those that came before go before.
      if (!isDown() && handOver.countQueued() > 0) await soon(handOver.settled()).catch(() => undefined)
      if (isDown() || task.dependsOn.some(handOver.waits)) return held(false)
      try {
        return await insertThere({ ...task, dependsOn: task.dependsOn.map(handOver.queueId) }, requestKey)
      } catch (error) {
        if (!isAway(error)) throw error
        return held(true)
      }
    },
    async get(id) {
      if (id.length !== ID_LENGTH) return null
      const there = handOver.queueId(id)
      const here = handOver.get(id)
      if (here !== null) return here
      const task = await asked(
        () => queue.get(there),
        () => known.get(there),
      )
      if (task === null) return null
      if (!isDown()) known.note([task])
      return withCancel(task)
    },
    async seen(query) {
      const there = await asked(
        () => queue.list(query),
        () => known.list().map(toListed),
      )
      if (!isDown()) known.note(there)
      const ids = new Set(there.map(({ id }) => id))
      const here = handOver.list().filter(({ id }) => !ids.has(id))
      return listTasks([...there, ...here.map(toListed)].map(withCancel), query)
    },
    async idsByPrefix(prefix, projects) {
      const here = handOver.idsByPrefix(prefix, projects)
      const there = await asked(
        () => queue.idsByPrefix(prefix, projects),
        () => {
          const ids = known.idsByPrefix(prefix, projects)
          // That nothing is known here does not mean that there is nothing.
          return ids.length + here.length === 0 ? null : ids
        },
      )
      return [...new Set([...there, ...here])].slice(0, 2)
    },
    // What waits here says so itself.
    dependencies: async (id) => (handOver.get(id) === null ? queue.dependencies(handOver.queueId(id)) : []),
    async cancel(id, reason) {
      const here = handOver.cancel(id, reason)
      if (here !== null) return here
      const there = handOver.queueId(id)
      try {
        if (!isDown()) return await soon(queue.cancel(there, reason))
      } catch (error) {
        if (!isAway(error)) throw error
      }
      handOver.cancelLater(there, reason, listedOf(known.get(there)))
      return 'requested'
    },
    cancelWaits: (id) => handOver.noted(handOver.queueId(id)) !== null,
    async retry(id) {
      // A cancel that was asked for before goes before.
      if (!isDown() && handOver.noted(handOver.queueId(id)) !== null) await soon(handOver.settled())
      return handOver.retry(id) ? 'queued' : queue.retry(handOver.queueId(id))
    },
    async count(status) {
      const cached = countOf(status)
      // For whoever asks how the daemon is: the last that was known.
      const there = isDown() ? (cached.last() ?? 0) : await cached.get().catch(unlessAway)
      return status === 'queued' ? there + handOver.countQueued() : there
    },
    async claim(limit, filter) {
      const sentAt = fence.now()
      const tasks = (await queue.claim(limit, filter)).map(narrow)
      arrivals.claimed(tasks, sentAt)
      try {
        kept.putClaimed(tasks)
      } catch (err) {
        // Without it only a start during an outage leaves the agent to its fence.
        logger.warn({ err }, 'claimed tasks could not be kept')
      }
      fence.move(
        tasks.map(({ id, attempt }) => ({ taskId: id, attempt })),
        sentAt,
      )
      return tasks
    },
    reap() {
      // Each sweep does it, and nothing else.
      arrivals.swept()
      return queue.reap()
    },
    async heartbeat(leases) {
      const sentAt = fence.now()
      const replies = await queue.heartbeat(leases)
      fence.move(
        replies.filter(({ ok }) => ok),
        sentAt,
      )
      return replies
    },
  }
}

function noAnswer(): never {
  throw new CcmError('SUPABASE_UNREACHABLE', 'Supabase did not answer in time.')
}

function listedOf(task: Task | null): ListedTask | null {
  return task === null ? null : toListed(task)
}

/** Hands a task over as one of this daemon's own. */
export function ownTask(kept: SharedTasks, arrivals: Arrivals): (task: Task, asked: NewTask) => void {
  return (task, asked) => {
    kept.putOwn(task.id, printOf(asked))
    arrivals.announce(task.id)
  }
}

function unlessAway(error: unknown): number {
  if (!isAway(error)) throw error
  return 0
}

/** What rights rest on, and what they are used for. */
function printOf(task: Task | NewTask): string {
  const { project, prompt, permissionMode, allowedTools, disallowedTools, inPlace } = task
  return createHash('sha256')
    .update(JSON.stringify([project, prompt, permissionMode, allowedTools, disallowedTools, inPlace]))
    .digest('hex')
}
