import { expect, test } from 'vitest'
import type { Attempt, StateChange } from '../core/agent/attempt.ts'
import type { Report } from '../core/task/queue.ts'
import { endOfDone, endOfTime } from '../agent/agent-end.ts'
import { createRedactor } from '../core/redact.ts'
import { createAttempts } from './attempts.ts'
import { createOutbox } from './outbox.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

const WINDOW = { serverPid: 7, serverStartedAt: 8, windowId: '@1', paneId: '%2', windowName: 'agent-p-1' }

function attemptOf(taskId: string, attempt: number, more: Partial<Attempt> = {}): Attempt {
  return {
    taskId,
    attempt,
    phase: 'claimed',
    dir: '/code/app',
    folder: '/home/attempts/x',
    claudeSessionId: 'c0ffee',
    configDir: null,
    permissionMode: 'acceptEdits',
    serverPid: null,
    serverStartedAt: null,
    windowId: null,
    paneId: null,
    windowName: null,
    state: 'spawning',
    waitKind: null,
    stateReason: 'The task was claimed.',
    stateAt: 10,
    startedAt: 10,
    settledAt: null,
    resumed: false,
    pausedMs: 0,
    endKind: null,
    ...more,
  }
}

function changeOf(taskId: string, attempt: number, at: number): Omit<StateChange, 'id'> {
  return {
    taskId,
    attempt,
    at,
    from: 'working',
    to: 'waiting',
    cue: 'permission',
    reason: 'It asks to run a command.',
    source: 'hook',
    evidence: 'PermissionRequest Bash',
  }
}

function reportOf(taskId: string, attempt: number): Report {
  return {
    taskId,
    attempt,
    outcome: 'failed',
    result: null,
    error: 'It crashed.',
    retryAfterMs: 5,
    resume: null,
  }
}

test('an attempt is stored whole and goes through its phases', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const outbox = createOutbox(db)
  const lease = { taskId: 't1', attempt: 1 }
  const full = attemptOf('t1', 1, { configDir: '/c' })
  attempts.open(full)
  expect(attempts.get(lease)).toEqual(full)
  attempts.setStarting(lease)
  expect(attempts.get(lease)?.phase).toBe('starting')
  attempts.setStarted(lease, WINDOW)
  expect(attempts.get(lease)).toEqual({ ...full, phase: 'started', ...WINDOW })
  expect(attempts.settle(reportOf('t1', 1), 99)).toBe(true)
  expect(attempts.get(lease)).toEqual({
    ...full,
    phase: 'settled',
    endKind: 'failed',
    ...WINDOW,
    settledAt: 99,
  })
  outbox.markDelivered([lease], 100)
  expect(attempts.get(lease)?.phase).toBe('reported')
  db.close()
})

test('an attempt is opened once and starts once', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const lease = { taskId: 't1', attempt: 1 }
  const conflict = expect.objectContaining({ code: 'CONFLICT' })
  const missing = expect.objectContaining({ code: 'NOT_FOUND' })
  expect(() => attempts.setStarting(lease)).toThrow(conflict)
  expect(() => attempts.setStarted(lease, WINDOW)).toThrow(missing)
  expect(() => attempts.recordState({ ...changeOf('t1', 1, 1), stateAt: 1, waitKind: null })).toThrow(missing)
  expect(attempts.settle(reportOf('t1', 1), 1)).toBe(false)
  attempts.open(attemptOf('t1', 1))
  expect(() => attempts.open(attemptOf('t1', 1))).toThrow(conflict)
  attempts.setStarting(lease)
  expect(() => attempts.setStarting(lease)).toThrow(conflict)
  db.close()
})

test('a window that appears after the attempt was settled is still known', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('t1', 1))
  attempts.settle(reportOf('t1', 1), 20)
  attempts.setStarted({ taskId: 't1', attempt: 1 }, WINDOW)
  expect(attempts.get({ taskId: 't1', attempt: 1 })).toMatchObject({ phase: 'settled', paneId: '%2' })
  db.close()
})

test('settling puts one report into the outbox, however often it is asked for', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const outbox = createOutbox(db)
  attempts.open(attemptOf('t1', 1))
  expect(attempts.settle(reportOf('t1', 1), 20)).toBe(true)
  expect(attempts.settle({ ...reportOf('t1', 1), outcome: 'succeeded' }, 21)).toBe(false)
  expect(outbox.pending(10)).toEqual([reportOf('t1', 1)])
  db.close()
})

test('settling changes nothing when its report cannot be stored', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('t1', 1))
  db.prepare(`CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'no'); END`).run({})
  expect(() => attempts.settle(reportOf('t1', 1), 20)).toThrow('no')
  expect(attempts.get({ taskId: 't1', attempt: 1 })?.phase).toBe('claimed')
  db.close()
})

test('undelivered reports come oldest first until each is delivered', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const outbox = createOutbox(db)
  for (const id of ['t2', 't1', 't3']) {
    attempts.open(attemptOf(id, 1))
    attempts.settle(reportOf(id, 1), 20)
  }
  const ids = (): string[] => outbox.pending(2).map((report) => report.taskId)
  expect(ids()).toEqual(['t2', 't1'])
  outbox.markDelivered([{ taskId: 't2', attempt: 1 }], 30)
  outbox.markDelivered([{ taskId: 't2', attempt: 1 }], 31)
  expect(ids()).toEqual(['t1', 't3'])
  db.close()
})

test('large reports come in portions of 4 MB, and one that is larger comes alone', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  const outbox = createOutbox(db)
  for (const [id, size] of [
    ['t1', 5e6],
    ['t2', 2e6],
    ['t3', 1.9e6],
    ['t4', 2e6],
  ] as const) {
    attempts.open(attemptOf(id, 1))
    attempts.settle({ ...reportOf(id, 1), error: 'x'.repeat(size) }, 20)
  }
  const portions: string[][] = []
  for (let waiting = outbox.pending(10); waiting.length > 0; waiting = outbox.pending(10)) {
    portions.push(waiting.map(({ taskId }) => taskId))
    outbox.markDelivered(waiting, 30)
  }
  expect(portions).toEqual([['t1'], ['t2', 't3'], ['t4']])
  db.close()
})

test('a change of state is stored with its proof, and the attempt shows it', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('t1', 1))
  const change = changeOf('t1', 1, 40)
  const stored = attempts.recordState({ ...change, stateAt: 35, waitKind: 'permission' })
  expect(stored).toEqual({ ...change, id: expect.any(Number) })
  expect(attempts.get({ taskId: 't1', attempt: 1 })).toMatchObject({
    state: 'waiting',
    waitKind: 'permission',
    stateReason: 'It asks to run a command.',
    stateAt: 35,
  })
  expect(attempts.chain('t1')).toEqual([stored])
  db.close()
})

test('time that counts for no deadline adds up', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('t1', 1))
  attempts.open(attemptOf('t1', 2))
  for (const ms of [1000, 3_600_000, -500]) attempts.addPaused({ taskId: 't1', attempt: 1 }, ms)
  expect(attempts.ofTask('t1').map(({ pausedMs }) => pausedMs)).toEqual([3_600_500, 0])
  db.close()
})

test('a state is not shown when its proof cannot be stored', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('t1', 1))
  db.prepare(`CREATE TRIGGER no BEFORE INSERT ON state_changes BEGIN SELECT raise(ABORT, 'no'); END`).run({})
  expect(() => attempts.recordState({ ...changeOf('t1', 1, 40), stateAt: 40, waitKind: null })).toThrow('no')
  expect(attempts.get({ taskId: 't1', attempt: 1 })?.state).toBe('spawning')
  db.close()
})

test('changes are read in order, by task and after a cursor', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  expect(attempts.lastChangeId()).toBe(0)
  for (const [id, attempt] of [
    ['t1', 1],
    ['t2', 1],
    ['t1', 2],
  ] as const)
    attempts.open(attemptOf(id, attempt))
  const ids = [changeOf('t1', 1, 5), changeOf('t2', 1, 4), changeOf('t1', 2, 3)].map(
    (change) => attempts.recordState({ ...change, stateAt: 1, waitKind: null }).id,
  )
  const [first = 0, second = 0, third = 0] = ids
  expect(attempts.chain('t1').map(({ id }) => id)).toEqual([first, third])
  expect(attempts.changesAfter(0, null, 2).map(({ id }) => id)).toEqual([first, second])
  expect(attempts.changesAfter(first, null, 9).map(({ id }) => id)).toEqual([second, third])
  expect(attempts.changesAfter(first, 't1', 9).map(({ id }) => id)).toEqual([third])
  expect(attempts.lastChangeId()).toBe(third)
  db.close()
})

test('open attempts are those whose outcome is not decided, oldest first', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db)
  attempts.open(attemptOf('a', 1, { startedAt: 30 }))
  attempts.open(attemptOf('b', 1, { startedAt: 10 }))
  attempts.open(attemptOf('c', 1, { startedAt: 20 }))
  attempts.open(attemptOf('c', 2, { startedAt: 40 }))
  attempts.setStarting({ taskId: 'a', attempt: 1 })
  attempts.setStarted({ taskId: 'b', attempt: 1 }, WINDOW)
  attempts.settle(reportOf('c', 1), 50)
  expect(attempts.openOnes().map((one) => `${one.taskId}${one.attempt}`)).toEqual(['b1', 'a1', 'c2'])
  expect(attempts.newestOf('c')?.attempt).toBe(2)
  expect(attempts.newestOf('nobody')).toBeNull()
  db.close()
})

test('no report goes out with a secret', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db, createRedactor())
  attempts.open(attemptOf('t1', 1))
  attempts.settle({ ...reportOf('t1', 1), error: 'It said: PASSWORD: S3cretPass' }, 50)
  const [report] = createOutbox(db).pending(1)
  expect(report?.error).toContain('It said: ')
  expect(report?.error).not.toContain('S3cretPass')
  db.close()
})

test('of a long message its end is kept, and no half of a secret', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const attempts = createAttempts(db, createRedactor())
  attempts.open(attemptOf('t1', 1))
  for (let length = 560; length < 800; length += 5) {
    const said = `The PASSWORD: S3cretPass ${'x'.repeat(length)} [DONE]`
    for (const { evidence } of [
      endOfDone(said),
      endOfTime('late', { message: '', screen: said, hasBegun: true }),
    ]) {
      const stored = attempts.recordState({ ...changeOf('t1', 1, 11), evidence, waitKind: null, stateAt: 10 })
      expect(stored.evidence).toMatch(/xx \[DONE\]$/)
      expect(stored.evidence).not.toMatch(/etPass/)
    }
  }
  const { evidence } = attempts.recordState({
    ...changeOf('t1', 1, 11),
    evidence: 'x'.repeat(9000),
    waitKind: null,
    stateAt: 10,
  })
  expect(evidence).toHaveLength(800)
  db.close()
})
