import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { Attempt } from '../../core/agent/attempt.ts'
import { createAttempts } from '../../store/attempts.ts'
import { createExpiry } from '../../store/expiry.ts'
import { createHookEvents } from '../../store/hook-events.ts'
import { createOutbox } from '../../store/outbox.ts'
import { createSearch } from '../../store/search.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createExpirer } from './expire.ts'

const DAY = 86_400_000
const NOW = 100 * DAY

function stage(file: string, options: Partial<Parameters<typeof createExpirer>[0]> = {}) {
  const db = openForTest(file)
  const home = dirname(file)
  const attempts = createAttempts(db)
  const hookEvents = createHookEvents(db)
  const outbox = createOutbox(db)
  let serial = 0
  const task = db.prepare<{ id: string; status: string }>(
    `INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt,
       failures, lost_leases, scheduled_at, cancel_requested, created_at)
     VALUES (:id, 'local', 'a', 'x', 0, '[]', '[]', :status, 0, 0, 0, 1, 0, 1)`,
  )
  /** An attempt with events, a folder and a config folder of its own. */
  const add = (
    taskId: string,
    settledAt: number | null,
    more: {
      events?: number
      delivered?: boolean
      resumeMs?: number
      text?: (event: number) => string
      /** Where its folders are, if not in the home. */
      of?: string
      attempt?: number
    } = {},
  ) => {
    const number = more.attempt ?? 1
    const folder = join(more.of ?? home, 'attempts', `${taskId}.${number}`)
    const configDir = join(more.of ?? home, 'claude', taskId)
    for (const made of [folder, configDir]) mkdirSync(made, { recursive: true })
    writeFileSync(join(folder, 'screen.txt'), 'x')
    const attempt: Attempt = {
      taskId,
      attempt: number,
      phase: 'claimed',
      dir: '/',
      folder,
      claudeSessionId: 's',
      configDir,
      permissionMode: 'manual',
      serverPid: null,
      serverStartedAt: null,
      windowId: null,
      paneId: null,
      windowName: null,
      state: 'spawning',
      waitKind: null,
      stateReason: '',
      stateAt: 1,
      startedAt: 1,
      settledAt: null,
      resumed: false,
      pausedMs: 0,
      endKind: null,
    }
    attempts.open(attempt)
    hookEvents.insertBatch(
      Array.from({ length: more.events ?? 3 }, (_, event) => ({
        fileName: `f${++serial}`,
        taskId,
        attempt: number,
        claudeSessionId: null,
        hookEventName: 'Stop',
        at: settledAt ?? NOW,
        payload: { hook_event_name: 'Stop', last_assistant_message: more.text?.(event) ?? 'x'.repeat(2000) },
      })),
    )
    attempts.recordState({
      taskId,
      attempt: number,
      at: 2,
      from: 'spawning',
      to: 'working',
      cue: 'active',
      reason: 'r',
      source: 'hook',
      evidence: '',
      stateAt: 2,
      waitKind: null,
    })
    if (settledAt !== null) {
      attempts.settle(
        {
          taskId,
          attempt: number,
          outcome: 'succeeded',
          result: null,
          error: null,
          retryAfterMs: null,
          resume: more.resumeMs === undefined ? null : { claudeSessionId: 's', forMs: more.resumeMs },
        },
        settledAt,
      )
      if (more.delivered !== false)
        db.prepare('UPDATE outbox SET delivered_at = created_at WHERE delivered_at IS NULL').run({})
    }
    return { folder, configDir }
  }
  const search = createSearch(db)
  /** The longest that any step of it kept the processor, in ms; the most rows of a step, and how many steps. */
  const most = { tookMs: 0, rows: 0, removeCalls: 0, strayCalls: 0 }
  const timed =
    <Given extends unknown[], Answer>(step: (...given: Given) => Answer) =>
    (...given: Given): Answer => {
      const before = process.cpuUsage()
      const answer = step(...given)
      const { user, system } = process.cpuUsage(before)
      most.tookMs = Math.max(most.tookMs, (user + system) / 1000)
      return answer
    }
  const expiry = createExpiry(db)
  const removeSome = timed(expiry.removeSome)
  const removeStrays = timed(expiry.removeStrays)
  const expirer = createExpirer({
    db: { ...db, shrink: timed(db.shrink) },
    expiry: {
      ...expiry,
      before: timed(expiry.before),
      removeSome: (lease, rows) => {
        most.removeCalls++
        most.rows = Math.max(most.rows, rows)
        return removeSome(lease, rows)
      },
      removeStrays: (...given) => {
        most.strayCalls++
        return removeStrays(...given)
      },
    },
    tidy: timed(search.tidy),
    attempts,
    home,
    keepMs: 30 * DAY,
    maxBytes: 0,
    clock: () => NOW,
    logger: pino({ level: 'silent' }),
    ...options,
  })
  const count = (table: string) =>
    db.prepare<Record<string, never>, { n: number }>(`SELECT count(*) AS n FROM ${table}`).get({})?.n
  const addTask = (id: string, status: string) => {
    db.prepare('DROP TRIGGER IF EXISTS tasks_begin').run({})
    task.run({ id, status })
  }
  return { db, home, attempts, hookEvents, outbox, add, addTask, expirer, count, search, most }
}

test('what is older goes with its folders; what is younger, alive or not yet reported stays', async () => {
  using home = temporaryHome()
  const { add, addTask, expirer, attempts, hookEvents, count } = stage(home.file)
  const old = add('old', NOW - 31 * DAY, { events: 450 })
  const young = add('young', NOW - 29 * DAY)
  add('open', null)
  add('retried', NOW - 60 * DAY)
  addTask('retried', 'queued')
  const unreported = add('unreported', NOW - 60 * DAY, { delivered: false })
  utimesSync(unreported.folder, 0, 0)
  expect(await expirer.round()).toBe(1)
  expect(attempts.get({ taskId: 'old', attempt: 1 })).toBeNull()
  expect(hookEvents.ofTask('old', { limit: 9 })).toEqual([])
  expect([existsSync(old.folder), existsSync(old.configDir)]).toEqual([false, false])
  expect([existsSync(young.folder), existsSync(young.configDir)]).toEqual([true, true])
  expect(existsSync(unreported.folder)).toBe(true)
  for (const taskId of ['young', 'open', 'retried', 'unreported']) {
    expect(attempts.get({ taskId, attempt: 1 })).not.toBeNull()
    expect(hookEvents.ofTask(taskId, { limit: 9 })).toHaveLength(3)
  }
  expect(count('state_changes')).toBe(4)
  await expirer.close()
})

test("of folders outside the home none goes: another home's that this one was copied from, a user's own", async () => {
  using home = temporaryHome()
  const { add, expirer, attempts } = stage(home.file)
  const { folder, configDir } = add('old', NOW - 31 * DAY, { of: join(home.folder, 'original') })
  expect(await expirer.round()).toBe(1)
  expect(attempts.get({ taskId: 'old', attempt: 1 })).toBeNull()
  expect([existsSync(folder), existsSync(configDir)]).toEqual([true, true])
  await expirer.close()
})

test('what a task has its sessions in stays as long as one of its attempts', async () => {
  using home = temporaryHome()
  const { add, expirer } = stage(home.file)
  const old = add('tried', NOW - 31 * DAY)
  add('tried', NOW - 29 * DAY, { attempt: 2 })
  expect(await expirer.round()).toBe(1)
  expect([existsSync(old.folder), existsSync(old.configDir)]).toEqual([false, true])
  await expirer.close()
})

test('one that is closed in the middle of a round ends there', async () => {
  using home = temporaryHome()
  const { add, expirer, count } = stage(home.file)
  for (let index = 0; index < 20; index++) add(`t${index}`, NOW - 31 * DAY)
  const round = expirer.round()
  await expirer.close()
  expect(await round).toBeLessThan(20)
  expect(count('attempts')).toBeGreaterThan(0)
})

test('a round that fails is told, and ends nothing else', async () => {
  using home = temporaryHome()
  const logged: string[] = []
  const { expirer } = stage(home.file, {
    firstMs: 0,
    pruneAudit: () => {
      throw new Error('disk full')
    },
    logger: pino({}, { write: (line: string) => void logged.push(line) }),
  })
  await expect.poll(() => logged.join()).toContain('old records could not be removed')
  await expirer.close()
})

test('while the database is larger than it may be, the oldest go first, and the file becomes smaller', async () => {
  using home = temporaryHome()
  const { db, add, expirer, attempts } = stage(home.file, { maxBytes: 1_500_000 })
  for (let age = 5; age > 0; age--) add(`t${age}`, NOW - age * DAY, { events: 200 })
  expect(db.usedBytes()).toBeGreaterThan(1_500_000)
  expect(await expirer.round()).toBeGreaterThan(0)
  expect(db.usedBytes()).toBeLessThanOrEqual(1_500_000)
  expect(attempts.get({ taskId: 't5', attempt: 1 })).toBeNull()
  expect(attempts.get({ taskId: 't1', attempt: 1 })).not.toBeNull()
  const free = db.prepare<Record<string, never>, { freelist_count: number }>('PRAGMA freelist_count').get({})
  expect(free?.freelist_count).toBeLessThan(200)
  await expirer.close()
})

test('what a task of a shared queue is to go on with stays, however large the database is, and what ended just now', async () => {
  using home = temporaryHome()
  const { add, expirer, attempts } = stage(home.file, { maxBytes: 1 })
  const parked = add('parked', NOW - DAY, { resumeMs: 2 * DAY })
  add('once-parked', NOW - 3 * DAY, { resumeMs: 2 * DAY })
  const recent = add('recent', NOW - DAY / 24)
  add('old', NOW - DAY)
  await expirer.round()
  for (const [taskId, stays] of Object.entries({
    parked: true,
    'once-parked': false,
    recent: true,
    old: false,
  }))
    expect([taskId, attempts.get({ taskId, attempt: 1 }) !== null]).toEqual([taskId, stays])
  for (const { folder, configDir } of [parked, recent])
    expect([existsSync(folder), existsSync(configDir)]).toEqual([true, true])
  await expirer.close()
})

test('what is older than it is kept goes also while the database is too large, however young it is', async () => {
  using home = temporaryHome()
  const { add, expirer, attempts } = stage(home.file, { keepMs: DAY / 24, maxBytes: 1 })
  add('old', NOW - DAY / 12)
  add('young', NOW - DAY / 48)
  expect(await expirer.round()).toBe(1)
  expect(attempts.get({ taskId: 'old', attempt: 1 })).toBeNull()
  await expirer.close()
})

test('records that are not what makes the database large stay', async () => {
  using home = temporaryHome()
  const { db, add, expirer, count } = stage(home.file, { maxBytes: 1_000_000 })
  db.prepare('CREATE TABLE large AS SELECT zeroblob(2000000)').run({})
  for (let index = 0; index < 60; index++) add(`t${index}`, NOW - DAY, { events: 0 })
  await expirer.round()
  expect(count('attempts')).toBeGreaterThan(30)
  await expirer.close()
})

test('events and folders that belong to no attempt go by their own age', async () => {
  using home = temporaryHome()
  const { hookEvents, expirer, home: folder, count } = stage(home.file)
  const event = (fileName: string, at: number) => ({
    fileName,
    taskId: 'lost',
    attempt: 1,
    claudeSessionId: null,
    hookEventName: 'Stop',
    at,
    payload: {},
  })
  hookEvents.insertBatch([event('a', NOW - 31 * DAY), event('b', NOW)])
  const [old, young] = [join(folder, 'attempts', 'gone.1'), join(folder, 'attempts', 'gone.2')]
  for (const made of [old, young]) mkdirSync(made, { recursive: true })
  utimesSync(old, 0, (NOW - 31 * DAY) / 1000)
  utimesSync(young, 0, NOW / 1000)
  await expirer.round()
  expect(count('hook_events')).toBe(1)
  expect([existsSync(old), existsSync(young)]).toEqual([false, true])
  await expirer.close()
})

test('events of attempts that stay are gone past in portions, to those that belong to nobody', async () => {
  using home = temporaryHome()
  const { add, hookEvents, expirer, count, most } = stage(home.file)
  add('unreported', NOW - 60 * DAY, { events: 900, delivered: false })
  const stray = { taskId: 'lost', attempt: 1, claudeSessionId: null, hookEventName: 'Stop', payload: {} }
  hookEvents.insertBatch([{ ...stray, fileName: 'stray', at: NOW - 31 * DAY }])
  await expirer.round()
  expect(hookEvents.ofTask('lost', { limit: 9 })).toEqual([])
  expect(count('hook_events')).toBe(900)
  // 200 at a time, and fewer where they take long.
  expect(most.strayCalls).toBeGreaterThan(5)
  await expirer.close()
})

// The longest of a hundred steps had 74 ms in one whole run, and less than 60 in four of four alone: what is slow is slow each time.
test(
  '12,000 events that can be searched for go in steps that hold nobody up',
  { timeout: 120_000, retry: 2 },
  async () => {
    using home = temporaryHome()
    const { add, expirer, count, search, most } = stage(home.file)
    const words = Array.from({ length: 40 }, (_, index) => `word${index}`)
    for (let task = 0; task < 4; task++)
      add(`t${task}`, NOW - 40 * DAY, {
        events: 3000,
        text: (event) => words.map((word) => `${word}${(event * 7919 + task) % 997}`).join(' '),
      })
    while (search.index());
    while (search.tidy());
    const searchable = () => count('event_search_docsize')
    expect(searchable()).toBe(12_000)
    expect(await expirer.round()).toBe(4)
    expect([count('hook_events'), searchable()]).toEqual([0, 0])
    expect(most.rows).toBeLessThanOrEqual(200)
    expect(most.removeCalls).toBeGreaterThanOrEqual(60)
    // The machine decides how long these take, so this bound is far above what it should be.
    expect(most.tookMs, 'ms of processor').toBeLessThan(60)
    await expirer.close()
  },
)
