import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import { CcmError, messageOf, type ErrorCode } from '../../core/errors.ts'
import type { Queue } from '../../core/task/queue.ts'
import { planRun, runKey, type Schedule, type ScheduleRun } from '../../core/task/schedule.ts'
import { isFinal, type ListedTask, type Task } from '../../core/task/task.ts'
import type { Schedules } from '../../store/schedules.ts'
import type { StartPulse } from '../loops/beats.ts'
import { readCron } from './cron-times.ts'

/** A schedule as people see it. */
export type ScheduleView = { schedule: Schedule; next: number[]; runs: ScheduleRun[] }

/** The recurring tasks of this machine. */
export type Scheduler = {
  /** Deals with every time that is due, then waits for the next. Resolves after the first look. */
  begin: () => Promise<void>
  /** Throws BAD_INPUT for times that cannot be read or never come, CONFLICT for a name that is taken. */
  add: (
    schedule: Omit<Schedule, 'id' | 'createdAt' | 'settledUntil' | 'paused' | 'name'> & {
      name: string | null
    },
  ) => Schedule
  list: () => ScheduleView[]
  viewOf: (schedule: Schedule) => ScheduleView
  /** Throws CONFLICT while schedules add tasks to this project. */
  refuseRemoval: (project: string) => void
  setPaused: (schedule: Schedule, paused: boolean) => void
  remove: (schedule: Schedule) => void
  /** A run now, besides the times; whether the one before is over does not matter. */
  runNow: (schedule: Schedule) => Promise<Task>
  /** One look at what is due; many calls are one after the other. */
  tick: () => Promise<void>
  close: () => Promise<void>
}

/** A change of the clock and the end of a suspend are noticed within this time. */
const LOOK_MS = 30_000
/** Newest tasks of the project among which a run of before a crash is looked for. */
const LOOK_BACK = 1000
/** A later try would end the same way; everything else is tried again until the next time is due. */
const HOPELESS: ErrorCode[] = ['BAD_INPUT', 'NOT_FOUND', 'DIR_UNUSABLE', 'CONFLICT']

export function createScheduler(deps: {
  schedules: Schedules
  queue: Pick<Queue, 'get' | 'list'>
  /** Adds a task of the schedule under this dedupe key. */
  insert: (schedule: Schedule, dedupeKey: string) => Promise<Task>
  clock: Clock
  logger: Logger
  pulse?: StartPulse
}): Scheduler {
  const { schedules, queue, clock, logger } = deps
  let timer: NodeJS.Timeout | null = null
  let running: Promise<void> = Promise.resolve()
  let begun = false
  let closed = false
  const pulse = deps.pulse?.('schedules', () => running)

  async function look(): Promise<void> {
    for (const schedule of schedules.list()) {
      if (closed) return
      if (schedule.paused) continue
      await settle(schedule).catch((err: unknown) =>
        logger.warn(
          { err, project: schedule.project, code: 'SCHEDULE' },
          'a scheduled task could not be queued',
        ),
      )
    }
  }

  /**
   * Deals with the newest time that is due. The order makes one time one task: the task is queued under the
   * time's own key, then the time is noted. After a crash between the two the task is found by its key,
   * whatever became of it meanwhile.
   */
  async function settle(schedule: Schedule): Promise<void> {
    const now = clock()
    // The clock was set back: what was noted is not run again, and new times are not waited for in vain.
    if (schedule.settledUntil > now) schedules.setSettled(schedule.id, now)
    const due = readCron(schedule.cron, schedule.timeZone).between(schedule.settledUntil, now)
    if (due === null) return
    const dueAt = due.newest
    if (schedules.run(schedule.id, dueAt) !== null) return schedules.setSettled(schedule.id, dueAt)
    const note = (outcome: ScheduleRun['outcome'], taskId: string | null, reason: string | null) =>
      void schedules.settle(schedule.id, { dueAt, outcome, taskId, reason }, dueAt)

    const before = await queuedBefore(schedule, dueAt)
    if (before !== null) return note('queued', before.id, null)
    const { act, reason } = planRun(schedule, due, now)
    if (act === 'miss') return note('missed', null, reason)
    const alive = schedule.overlap ? null : await aliveTask(schedule)
    if (alive !== null) return note('skipped', null, `The run before it, ${alive}, was not over.`)
    try {
      note('queued', (await deps.insert(schedule, runKey(schedule.id, dueAt))).id, reason)
    } catch (error) {
      if (!(error instanceof CcmError) || !HOPELESS.includes(error.code)) throw error
      note('failed', null, messageOf(error))
    }
  }

  async function queuedBefore(schedule: Schedule, dueAt: number): Promise<ListedTask | null> {
    const key = runKey(schedule.id, dueAt)
    const tasks = await queue.list({ projects: [schedule.project], limit: LOOK_BACK })
    return tasks.find(({ dedupeKey }) => dedupeKey === key) ?? null
  }

  async function aliveTask(schedule: Schedule): Promise<string | null> {
    const id = schedules.lastTaskId(schedule.id)
    const task = id === null ? null : await queue.get(id)
    return task === null || isFinal(task.status) ? null : task.id
  }

  function viewOf(schedule: Schedule): ScheduleView {
    const next = schedule.paused ? [] : nextTimes(schedule, clock(), 5)
    return { schedule, next, runs: schedules.runs(schedule.id, 20) }
  }

  function tick(): Promise<void> {
    running = running.then(look).catch((err: unknown) => {
      logger.warn({ err, code: 'SCHEDULE' }, 'the schedules could not be looked at')
    })
    return running
  }

  function wait(): void {
    if (closed || !begun) return
    if (timer !== null) clearTimeout(timer)
    const now = clock()
    const nexts = schedules
      .list()
      .filter(({ paused }) => !paused)
      .map(({ cron, timeZone }) => readCron(cron, timeZone).nextAfter(now) ?? Number.POSITIVE_INFINITY)
    const waitMs = Math.min(LOOK_MS, Math.max(0, Math.min(...nexts) - now))
    timer = setTimeout(() => void tick().then(wait), waitMs)
    timer.unref()
  }

  return {
    async begin() {
      await tick()
      begun = true
      wait()
    },
    add({ name, ...rest }) {
      const now = clock()
      if (readCron(rest.cron, rest.timeZone).nextAfter(now) === null) {
        throw new CcmError('BAD_INPUT', `The times ${JSON.stringify(rest.cron)} never come.`, {
          remedy: 'See: ccm schedule add --help',
        })
      }
      const added = schedules.add({
        ...rest,
        name: name ?? freeName(schedules, rest.project),
        paused: false,
        createdAt: now,
        settledUntil: now,
      })
      wait()
      return added
    },
    list: () => schedules.list().map(viewOf),
    viewOf,
    refuseRemoval(project) {
      const names = schedules
        .list()
        .flatMap((schedule) => (schedule.project === project ? schedule.name : []))
      if (names.length === 0) return
      throw new CcmError('CONFLICT', `Schedules add tasks to the project ${project}: ${names.join(', ')}.`, {
        remedy: `Remove them first: ccm schedule remove ${names[0]}`,
      })
    },
    setPaused(schedule, paused) {
      // Times that passed while it was paused are not missed: nobody wanted them.
      schedules.setPaused(schedule.id, paused, clock())
      wait()
    },
    remove(schedule) {
      schedules.remove(schedule.id)
    },
    async runNow(schedule) {
      const now = clock()
      const task = await deps.insert(schedule, `${runKey(schedule.id, now)}:now`)
      schedules.settle(
        schedule.id,
        { dueAt: now, outcome: 'queued', taskId: task.id, reason: 'Asked for by a person.' },
        schedule.settledUntil,
      )
      return task
    },
    tick,
    async close() {
      closed = true
      pulse?.close()
      if (timer !== null) clearTimeout(timer)
      await running
    },
  }
}

function nextTimes(schedule: Schedule, now: number, count: number): number[] {
  const { nextAfter } = readCron(schedule.cron, schedule.timeZone)
  const times: number[] = []
  for (let at = nextAfter(now); at !== null && times.length < count; at = nextAfter(at)) times.push(at)
  return times
}

function freeName(schedules: Schedules, project: string): string {
  for (let number = 1; ; number++) {
    const name = `${project.slice(0, 30)}-${number}`
    if (schedules.byName(name) === null) return name
  }
}
