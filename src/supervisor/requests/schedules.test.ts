import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { Schedule } from '../../core/task/schedule.ts'
import type { Task } from '../../core/task/task.ts'
import { createSqliteQueue } from '../../queue/sqlite.ts'
import { createSchedules } from '../../store/schedules.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createScheduler } from './schedules.ts'

const SEVEN = new Date('2026-11-20T07:00:00Z').getTime()
const DAY = 86_400_000
const MINUTE = 60_000

/** A scheduler over the real tables with a clock of the test; `restart` is what a new daemon does. */
async function prepare(given: { crashAfterInsert?: boolean } = {}) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  let now = SEVEN - 3_600_000
  let refusal: Error | null = null
  let crash = given.crashAfterInsert === true
  const clock = () => now
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock, random: () => 0.5, maxQueued: 3 })
  await queue.register()
  const schedules = createSchedules(db)
  const insert = async (schedule: Schedule, dedupeKey: string): Promise<Task> => {
    if (refusal !== null) throw refusal
    const { task } = await queue.insert({
      ...schedule.task,
      project: schedule.project,
      priority: 0,
      dedupeKey,
      dependsOn: [],
      scheduledAt: null,
      labels: [],
      maxTokens: null,
      maxCostUsd: null,
      inPlace: null,
      source: 'schedule',
      onlyWorker: null,
    })
    if (crash) {
      crash = false
      throw new Error('killed between the insert and the note')
    }
    return task
  }
  const start = () => createScheduler({ schedules, queue, insert, clock, logger: pino({ level: 'silent' }) })
  let scheduler = start()
  const add = (more: Partial<Schedule> = {}) =>
    scheduler.add({
      name: 'morning',
      project: 'app',
      cron: '0 7 * * *',
      timeZone: 'UTC',
      missed: 'skip',
      overlap: false,
      task: {
        prompt: 'Look around.',
        role: null,
        model: null,
        priority: null,
        timeoutS: null,
        permissionMode: null,
        allowedTools: [],
        disallowedTools: [],
      },
      ...more,
    })
  return {
    queue,
    schedules,
    add,
    scheduler: () => scheduler,
    refuse: (error: Error | null) => void (refusal = error),
    restart: () => void (scheduler = start()),
    /** The clock is set, and the scheduler looks. */
    at: async (time: number) => {
      now = time
      await scheduler.tick()
    },
    tasks: () => queue.list({ limit: 100 }),
    runs: () => scheduler.list().flatMap(({ runs }) => runs.map(({ outcome }) => outcome)),
    finish: async () => {
      for (const { id, attempt } of await queue.claim(10, { projects: ['app'], roles: null, labels: [] })) {
        await queue.finish({
          taskId: id,
          attempt,
          outcome: 'succeeded',
          result: null,
          error: null,
          retryAfterMs: null,
          resume: null,
        })
      }
    },
  }
}

test('a task is queued at its time and not a second before, once', async () => {
  const { add, at, tasks, runs } = await prepare()
  add()
  await at(SEVEN - 1)
  expect(await tasks()).toEqual([])
  await at(SEVEN)
  await at(SEVEN + 1)
  await at(SEVEN + MINUTE)
  expect(await tasks()).toMatchObject([
    { prompt: 'Look around.', source: 'schedule', dedupeKey: `cron:1:${SEVEN}` },
  ])
  expect(runs()).toEqual(['queued'])
})

test.each([['alive'], ['over']])(
  'killed between the insert and the note, the next start finds the task by its key: one task, %s or not',
  async (state) => {
    const { add, at, tasks, runs, restart, finish } = await prepare({ crashAfterInsert: true })
    add()
    await at(SEVEN)
    expect(runs()).toEqual([])
    if (state === 'over') await finish()
    restart()
    await at(SEVEN + MINUTE)
    expect(await tasks()).toHaveLength(1)
    expect(runs()).toEqual(['queued'])
  },
)

test('a run is skipped while the one before is alive, and with overlap it is not', async () => {
  const { add, at, tasks, runs, finish } = await prepare()
  add()
  await at(SEVEN)
  await at(SEVEN + DAY)
  expect(await tasks()).toHaveLength(1)
  await finish()
  await at(SEVEN + 2 * DAY)
  expect(runs()).toEqual(['queued', 'skipped', 'queued'])
  const other = await prepare()
  other.add({ overlap: true })
  await other.at(SEVEN)
  await other.at(SEVEN + DAY)
  expect(other.runs()).toEqual(['queued', 'queued'])
})

test('times that passed without a daemon are skipped, and said so', async () => {
  const { add, at, tasks, scheduler, restart } = await prepare()
  add({ missed: 'skip' })
  restart()
  await at(SEVEN + 3 * DAY + 3_600_000)
  expect(await tasks()).toEqual([])
  expect(scheduler().list()[0]?.runs).toMatchObject([
    { outcome: 'missed', dueAt: SEVEN + 3 * DAY, reason: '4 times passed while ccm could not act.' },
  ])
})

test('with run-once one run makes up for all that passed', async () => {
  const { add, at, tasks, scheduler, restart } = await prepare()
  add({ missed: 'run-once' })
  restart()
  await at(SEVEN + 3 * DAY + 3_600_000)
  await at(SEVEN + 3 * DAY + 7_200_000)
  expect(await tasks()).toHaveLength(1)
  expect(scheduler().list()[0]?.runs).toMatchObject([
    { outcome: 'queued', reason: 'Made up for later. 3 times before it passed unused.' },
  ])
})

test('a daemon that was away for a restart only is on time', async () => {
  const { add, at, tasks, restart } = await prepare()
  add({ missed: 'skip' })
  restart()
  await at(SEVEN + 4 * MINUTE)
  expect(await tasks()).toHaveLength(1)
})

test('a clock that is set back runs nothing twice and nothing late', async () => {
  const { add, at, tasks, finish } = await prepare()
  add()
  await at(SEVEN)
  await finish()
  await at(SEVEN - 3_600_000)
  await at(SEVEN)
  await at(SEVEN + MINUTE)
  expect(await tasks()).toHaveLength(1)
  await at(SEVEN + DAY)
  expect(await tasks()).toHaveLength(2)
})

test('a time that was skipped stays skipped after the clock was set back', async () => {
  const { add, at, tasks, finish, runs } = await prepare()
  add()
  await at(SEVEN)
  await at(SEVEN + DAY)
  await finish()
  await at(SEVEN + DAY - 3_600_000)
  await at(SEVEN + DAY)
  expect(await tasks()).toHaveLength(1)
  expect(runs()).toEqual(['skipped', 'queued'])
})

test('after a jump ten years ahead and back the times go on', async () => {
  const { add, at, runs } = await prepare()
  add()
  await at(SEVEN + 3650 * DAY + 3_600_000)
  expect(runs()).toEqual(['missed'])
  await at(SEVEN - MINUTE)
  await at(SEVEN)
  expect(runs()).toEqual(['missed', 'queued'])
})

test('a full queue is tried again, a directory that is gone is not', async () => {
  const { add, at, runs, refuse, scheduler } = await prepare()
  add()
  refuse(new CcmError('QUEUE_FULL', 'The queue is full.'))
  await at(SEVEN)
  expect(runs()).toEqual([])
  refuse(null)
  await at(SEVEN + MINUTE)
  expect(runs()).toEqual(['queued'])
  refuse(new CcmError('DIR_UNUSABLE', 'There is no directory "/x".'))
  add({ name: 'other', cron: '30 7 * * *' })
  await at(SEVEN + 30 * MINUTE)
  refuse(null)
  await at(SEVEN + 31 * MINUTE)
  expect(scheduler().list()[1]?.runs).toMatchObject([
    { outcome: 'failed', reason: 'There is no directory "/x".' },
  ])
})

test('what passes while it is paused is nobody’s loss', async () => {
  const { add, at, runs, scheduler } = await prepare()
  const schedule = add({ missed: 'run-once' })
  scheduler().setPaused(schedule, true)
  await at(SEVEN + 5 * DAY)
  expect(scheduler().list()[0]?.next).toEqual([])
  scheduler().setPaused(schedule, false)
  await at(SEVEN + 5 * DAY + MINUTE)
  expect(runs()).toEqual([])
  await at(SEVEN + 6 * DAY)
  expect(runs()).toEqual(['queued'])
})

test('a run that is asked for comes besides the times', async () => {
  const { add, at, tasks, scheduler, runs } = await prepare()
  const schedule = add({ overlap: true })
  const task = await scheduler().runNow(schedule)
  expect(task.dedupeKey).toMatch(/^cron:1:\d+:now$/)
  await at(SEVEN)
  expect(await tasks()).toHaveLength(2)
  expect(runs()).toEqual(['queued', 'queued'])
})

test('an id is never given twice, so that no old key stands in the way of a new schedule', async () => {
  const { add, scheduler } = await prepare()
  scheduler().remove(add())
  expect(add().id).toBe(2)
  expect(() => add()).toThrow('There is a schedule morning already.')
  expect(add({ ...add({ name: 'x' }), name: undefined as never }).name).toBe('app-1')
})

test('times that never come are refused', async () => {
  const { add } = await prepare()
  expect(() => add({ cron: '0 0 31 2 *' })).toThrow('never come')
})
