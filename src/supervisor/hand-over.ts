import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { CancelReply } from '../core/queue.ts'
import type { NewTask, Task } from '../core/task.ts'
import { nextTaskId } from '../queue/task-id.ts'
import { taskOf, type AcceptedTask, type AcceptedTasks } from '../store/accepted-tasks.ts'
import type { Pulse, StartPulse } from './beats.ts'
import { createInOrder } from './in-order.ts'
import { watchLoop } from './patience.ts'

/** Tasks that are accepted here while the shared queue does not answer, and brought there when it does. */
export type HandOver = {
  /** Durable once it has returned. Throws QUEUE_FULL. `sent`: the queue may have it already, by that request. */
  accept: (task: NewTask, requestKey: string, sent: boolean) => { task: Task; inserted: boolean }
  /** A task that waits here or never became one, as people see it; null: not here. */
  get: (id: string) => Task | null
  /** Newest first. */
  list: () => Task[]
  countQueued: () => number
  idsByPrefix: (prefix: string) => string[]
  /** What was asked for by those that wait: they may be claimed before it is known here that the queue has them. */
  asked: () => NewTask[]
  waits: (id: string) => boolean
  /** The id under which the queue has it. */
  queueId: (id: string) => string
  /** null: it does not wait here. */
  cancel: (id: string, reason: string) => CancelReply | null
  /** False: it is none that ended here. */
  retry: (id: string) => boolean
  /** Brings what an earlier daemon left. `onChange` hears of each that changed: whoever looks at it may look again. */
  begin: (onChange: (id: string) => void, pulse?: StartPulse) => void
  /** The queue answers, or may again: goes on at once. */
  hurry: () => void
  settled: () => Promise<void>
  close: () => Promise<void>
}

const AWAY_MS = 15_000
/** Rooms come free as agents end. */
const FULL_MS = 30_000

/**
 * In the order of arrival, each exactly once: the queue takes it under the id it was accepted with, and knows by its
 * request one that comes again after a lost answer or a crash. Only what the queue says is wrong with the task itself
 * ends one.
 */
export function createHandOver(deps: {
  store: AcceptedTasks
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
  const { store, clock, random, logger } = deps
  let { remote } = deps
  let notBefore = 0
  let newest = store.newestId()
  const line = createInOrder(step, logger)
  let onChange: (id: string) => void = () => undefined
  let pulse: Pulse | null = null

  async function step(): Promise<number | null> {
    const entry = deps.isDown() ? null : store.next()
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
    onChange(id)
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
    store.settle(id, state, reason, clock())
    if (state === 'refused') logger.warn({ taskId: id }, `an accepted task was refused: ${reason}`)
    onChange(id)
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
      // Greater than what it depends on, as the queue's own ids are.
      newest = [newest ?? '', ...task.dependsOn].toSorted().at(-1) ?? ''
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
    idsByPrefix: (prefix) => store.idsByPrefix(prefix),
    asked: () => store.waiting().map(({ task }) => task),
    waits: (id) => outside(id)?.state === 'waiting',
    queueId,
    cancel(id, reason) {
      const entry = outside(id)
      if (entry === null) return null
      const reply = store.cancel(id, reason, clock())
      onChange(id)
      if (reply === 'cancelled') dropDoomed()
      return reply ?? 'already_final'
    },
    retry(id) {
      const done = store.again(id)
      if (done) line.nudge()
      return done
    },
    begin(listener, start) {
      onChange = listener
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
