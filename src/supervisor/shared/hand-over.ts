import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { CcmError, messageOf } from '../../core/errors.ts'
import type { CancelReply } from '../../core/task/queue.ts'
import type { ListedTask, NewTask, Task } from '../../core/task/task.ts'
import { nextTaskId } from '../../queue/task-id.ts'
import { taskOf, type AcceptedTask, type AcceptedTasks } from '../../store/accepted-tasks.ts'
import type { NotedCancel, NotedCancels } from '../../store/noted-cancels.ts'
import type { Pulse, StartPulse } from '../loops/beats.ts'
import { createInOrder } from '../loops/in-order.ts'
import { watchLoop } from '../loops/patience.ts'
import { isAway } from './away.ts'

/** Tasks and cancels that are accepted here while the shared queue does not answer, and brought there when it does. */
export type HandOver = {
  /** Durable once it has returned. Throws QUEUE_FULL. `sent`: the queue may have it already, by that request. */
  accept: (task: NewTask, requestKey: string, sent: boolean) => { task: Task; inserted: boolean }
  /** A task that waits here or never became one, as people see it; null: not here. */
  get: (id: string) => Task | null
  /** Newest first. */
  list: () => Task[]
  countQueued: () => number
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => string[]
  /** What was asked for by those that wait: they may be claimed before it is known here that the queue has them. */
  asked: () => NewTask[]
  waits: (id: string) => boolean
  /** The id under which the queue has it. */
  queueId: (id: string) => string
  /** null: it does not wait here. */
  cancel: (id: string, reason: string) => CancelReply | null
  /** Notes a cancel of a task that the queue has, for when it answers; durable once it has returned. */
  cancelLater: (taskId: string, reason: string, task: ListedTask | null) => void
  /** Such a cancel that the queue has not heard of; null: there is none. */
  noted: (taskId: string) => NotedCancel | null
  allNoted: () => NotedCancel[]
  /** False: it is none that ended here. */
  retry: (id: string) => boolean
  /**
   * Brings what an earlier daemon left. `changed` hears of each that changed: whoever looks at it may look again;
   * `refused` of what was accepted and came to nothing, before anything else shows it.
   */
  begin: (hears: HandOverHears, pulse?: StartPulse) => void
  /** The queue answers, or may again: goes on at once. */
  hurry: () => void
  settled: () => Promise<void>
  close: () => Promise<void>
}

export type HandOverHears = {
  changed: (taskId: string) => void
  refused: (taskId: string, what: string) => void
}

const DAY_MS = 86_400_000
const AWAY_MS = 15_000
/** Rooms come free as agents end. */
const FULL_MS = 30_000

/**
 * In the order of arrival, each exactly once: the queue takes it under the id it was accepted with, and knows by its
 * request one that comes again after a lost answer or a crash. Only what the queue says is wrong with the task itself
 * ends one. Cancels go before tasks: they make room in a full queue and free keys, and a task that depends on what was
 * cancelled is refused either way.
 */
export function createHandOver(deps: {
  store: AcceptedTasks
  cancels: NotedCancels
  remote: {
    handOver: (task: NewTask, id: string, requestKey: string) => Promise<{ task: Task; inserted: boolean }>
    cancel: (id: string, reason: string) => Promise<CancelReply>
  }
  /** The queue has it now; before anything else is sent. */
  onHanded: (task: Task, asked: NewTask) => void
  /** The queue did not answer the last call; whoever sees it answer again says `hurry`. */
  isDown: () => boolean
  /** How many may wait here. */
  maxWaiting: () => number
  clock: Clock
  random: () => number
  logger: Logger
}): HandOver {
  const { store, cancels, clock, random, logger } = deps
  let { remote } = deps
  let notBefore = 0
  let newest = store.newestId()
  const line = createInOrder(step, logger)
  let hears: HandOverHears = { changed: () => undefined, refused: () => undefined }
  let pulse: Pulse | null = null

  async function step(): Promise<number | null> {
    if (deps.isDown()) return null
    const cancel = cancels.next()
    if (cancel !== null) return tellCancel(cancel)
    const entry = store.next()
    if (entry === null) return null
    const waitMs = notBefore - clock()
    if (waitMs > 0) return waitMs
    const doomed = whyDoomed(entry)
    if (doomed !== null) {
      drop(entry.id, 'cancelled', doomed)
      return 0
    }
    try {
      await send(entry)
      return 0
    } catch (error) {
      if (error instanceof CcmError && error.code === 'BAD_INPUT') {
        drop(entry.id, 'refused', `The queue refused it: ${messageOf(error)}`)
        return 0
      }
      const isFull = error instanceof CcmError && error.code === 'QUEUE_FULL'
      if (error instanceof CcmError && error.code !== 'SUPABASE_UNREACHABLE' && !isFull)
        logger.warn({ err: error, taskId: entry.id }, 'an accepted task could not be handed over yet')
      notBefore = clock() + (isFull ? FULL_MS : AWAY_MS)
      return notBefore - clock()
    }
  }

  async function tellCancel({ taskId, reason }: NotedCancel): Promise<number> {
    let reply: CancelReply
    try {
      reply = await remote.cancel(taskId, reason)
    } catch (err) {
      if (!isAway(err)) logger.warn({ err, taskId }, 'the queue could not be told of a cancel yet')
      return AWAY_MS
    }
    if (reply === 'unknown')
      hears.refused(taskId, `The queue knows no task ${taskId}, which was to be cancelled.`)
    // Not before the queue has heard of it; a second time changes nothing more.
    cancels.remove(taskId)
    logger.info({ taskId }, `the queue was told of a cancel, and answered: ${reply}`)
    hears.changed(taskId)
    return 0
  }

  async function send(entry: AcceptedTask): Promise<void> {
    const { id, requestKey } = entry
    store.setSent(id)
    const dependsOn = entry.task.dependsOn.map(queueId)
    const { task, inserted } = await remote.handOver({ ...entry.task, dependsOn }, id, requestKey)
    if (inserted) deps.onHanded(task, entry.task)
    for (;;) {
      const told = store.get(id)?.cancelReason ?? null
      // Its key's living task is somebody else's.
      if (told !== null && !inserted) return drop(id, 'cancelled', told)
      if (told !== null) await remote.cancel(task.id, told)
      if (store.setHanded(id, task.id, told, clock())) break
    }
    logger.info({ taskId: task.id }, 'an accepted task was handed over to the queue')
    hears.changed(id)
  }

  /** A task that waits for one which ended here can never start. */
  function whyDoomed({ task, sent }: AcceptedTask): string | null {
    if (sent) return null
    for (const id of task.dependsOn) {
      const before = store.get(id)
      if (before?.state === 'refused') return `Task ${id}, which it depends on, was refused.`
      if (before?.state === 'cancelled') return `Task ${id}, which it depends on, was cancelled.`
    }
    return null
  }

  function drop(id: string, state: 'cancelled' | 'refused', reason: string): void {
    // First: a daemon that dies in between is refused again, and says so again.
    if (state === 'refused') hears.refused(id, `Task ${id} was refused. ${reason}`)
    store.settle(id, state, reason, clock())
    if (state === 'refused') logger.warn({ taskId: id }, `an accepted task was refused: ${reason}`)
    hears.changed(id)
    dropDoomed()
  }

  function dropDoomed(): void {
    for (const entry of store.waiting()) {
      const doomed = whyDoomed(entry)
      // Each may take others with it.
      if (doomed !== null) return drop(entry.id, 'cancelled', doomed)
    }
  }

  function queueId(id: string): string {
    return store.get(id)?.taskId ?? id
  }

  const outside = (id: string): AcceptedTask | null => {
    const entry = store.get(id)
    return entry === null || entry.state === 'handed' ? null : entry
  }

  return {
    accept(task, requestKey, sent) {
      if (store.countWaiting() >= deps.maxWaiting())
        throw new CcmError('QUEUE_FULL', `${deps.maxWaiting()} tasks wait here for Supabase to answer.`, {
          remedy: 'Try again when it does, or cancel some.',
          retryAfterMs: FULL_MS,
        })
      // Greater than what it depends on, as the queue's own ids are. An id that nobody has looked up may be made up, and
      // one of far ahead would draw all later ids after it.
      const ahead = nextTaskId(clock() + DAY_MS, random, null)
      newest = [newest ?? '', ...task.dependsOn.filter((id) => id < ahead)].toSorted().at(-1) ?? ''
      newest = nextTaskId(clock(), random, newest === '' ? null : newest)
      const { entry, isNew } = store.add({ id: newest, requestKey, task, sent }, clock())
      if (isNew)
        logger.info({ taskId: entry.id }, 'a task was accepted; it is handed over when the queue answers')
      line.nudge()
      return { task: taskOf(entry), inserted: isNew }
    },
    get(id) {
      const entry = outside(id)
      return entry === null ? null : taskOf(entry)
    },
    list: () => store.outside().map(taskOf),
    countQueued: () => store.countWaiting(),
    idsByPrefix: (prefix, projects) => store.idsByPrefix(prefix, projects),
    asked: () => store.waiting().map(({ task }) => task),
    waits: (id) => outside(id)?.state === 'waiting',
    queueId,
    cancel(id, reason) {
      const entry = outside(id)
      if (entry === null) return null
      const reply = store.cancel(id, reason, clock())
      hears.changed(id)
      if (reply === 'cancelled') dropDoomed()
      return reply ?? 'already_final'
    },
    cancelLater(taskId, reason, task) {
      cancels.add({ taskId, reason, task, at: clock() })
      logger.info({ taskId }, 'a cancel was noted; the queue is told of it when it answers')
      hears.changed(taskId)
      line.nudge()
    },
    noted: (taskId) => cancels.get(taskId),
    allNoted: () => cancels.list(),
    retry(id) {
      const done = store.again(id)
      if (done) line.nudge()
      return done
    },
    begin(listener, start) {
      hears = listener
      const loop = watchLoop(remote, start, true)
      remote = loop.api
      pulse = loop.watched.pulse?.('hand-over', line.settled) ?? null
      line.nudge()
    },
    hurry() {
      notBefore = 0
      line.nudge()
    },
    settled: line.settled,
    async close() {
      pulse?.close()
      await line.close()
    },
  }
}
