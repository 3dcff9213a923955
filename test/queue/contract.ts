import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Outcome, Queue, Report } from '../../src/core/queue.ts'
import type { NewTask, Task, TaskResult } from '../../src/core/task.ts'

/** A store under test. All its queues share one system, one clock and one set of rows. */
export type QueueStore = {
  /** A new process that calls itself `worker`; it has not registered yet. */
  process: (worker: string) => Queue
  /** Milliseconds since 1970, as the store sees it; only `advance` moves it. */
  now: () => number
  advance: (ms: number) => void
  close: () => Promise<void>
}

/** What every store of the suite is built with. */
export const LEASE_MS = 600_000
export const GRACE_MS = 60_000
export const MAX_QUEUED = 6

/** A task as a caller asks for it. */
export function newTask(more: Partial<NewTask> = {}): NewTask {
  return {
    project: 'app',
    prompt: 'Fix it.',
    role: null,
    model: null,
    priority: 0,
    timeoutS: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    dedupeKey: null,
    ...more,
  }
}

/** A report about the attempt that `task` was claimed for. */
export function reportOf(task: Task, outcome: Outcome, more: Partial<Report> = {}): Report {
  const { id: taskId, attempt } = task
  return { taskId, attempt, outcome, result: null, error: null, retryAfterMs: null, ...more }
}

const RESULT: TaskResult = {
  text: 'Done: “ä😀”.',
  tools: [],
  files: [{ path: 'a.ts', change: 'modified', added: 1, removed: 2 }],
  usage: {},
  cost_usd: null,
  duration_ms: 12,
  attempts: 1,
  claude_session_id: 'c0ffee',
  resume_command: null,
  errors: [],
}

/** The promises that every store of the queue keeps, as tests. */
export function queueContract(name: string, open: () => Promise<QueueStore>): void {
  describe(`${name}: the queue contract`, () => {
    let store: QueueStore
    let queue: Queue
    let other: Queue

    beforeEach(async () => {
      store = await open()
      queue = store.process('a')
      other = store.process('b')
      await queue.register()
      await other.register()
    })
    afterEach(async () => {
      await store.close()
    })

    /** Inserts a task and claims it for `worker`. */
    const running = async (worker: Queue = queue, more: Partial<NewTask> = {}): Promise<Task> => {
      const { task } = await queue.insert(newTask({ project: 'run', ...more }))
      const claimed = await worker.claim(1, ['run'])
      expect(claimed.map(({ id }) => id)).toEqual([task.id])
      return claimed[0] ?? task
    }
    const claimAgain = async (task: Task, worker: Queue = queue): Promise<Task> => {
      const [claimed] = await worker.claim(1, [task.project])
      expect(claimed?.id).toBe(task.id)
      return claimed ?? task
    }
    const read = async (id: string): Promise<Task> => {
      const task = await other.get(id)
      if (task === null) throw new Error(`task ${id} is gone`)
      return task
    }
    /** What `work` leaves changed of all the rows. */
    const unchangedBy = async (work: () => Promise<unknown>): Promise<void> => {
      const before = await other.list({ limit: 1_000 })
      await work()
      expect(await other.list({ limit: 1_000 })).toEqual(before)
    }

    describe('insert', () => {
      test('stores what was asked for and nothing the caller cannot know', async () => {
        const asked = newTask({
          prompt: '/run ; $(x) “ä😀”\n',
          role: 'reviewer',
          model: 'claude-sonnet-4-5',
          priority: -7,
          timeoutS: 60,
          permissionMode: 'plan',
          allowedTools: ['Bash(git log:*)'],
          disallowedTools: ['WebFetch'],
          dedupeKey: 'gh:1',
        })
        const { task, inserted } = await queue.insert(asked)
        expect(inserted).toBe(true)
        expect(task).toEqual({
          ...asked,
          id: expect.stringMatching(/^[0-9a-z]{10,12}$/),
          status: 'queued',
          attempt: 0,
          worker: null,
          failures: 0,
          lostLeases: 0,
          scheduledAt: store.now(),
          cancelRequested: false,
          leaseExpiresAt: null,
          result: null,
          error: null,
          createdAt: store.now(),
          startedAt: null,
          finishedAt: null,
        })
        expect(await other.get(task.id)).toEqual(task)
      })

      test.each([
        [{ prompt: ' \n' }, /empty/],
        [{ prompt: 'x'.repeat(100 * 1024 + 1) }, /100 KiB/],
        [{ prompt: 'a\0b' }, /NUL/],
        [{ priority: 101 }, /-100 to 100/],
        [{ priority: 0.5 }, /-100 to 100/],
        [{ role: 'A b' }, /role/],
      ])('refuses %o with a sentence', async (more, message) => {
        const refusal = expect.objectContaining({
          code: 'BAD_INPUT',
          message: expect.stringMatching(message),
        })
        await expect(queue.insert(newTask(more))).rejects.toThrow(refusal)
        expect(await queue.count('queued')).toBe(0)
      })

      test('keeps the bound exactly, also when many insert at once', async () => {
        const tries = Array.from({ length: MAX_QUEUED * 2 }, (_, index) =>
          (index % 2 === 0 ? queue : other).insert(newTask({ dedupeKey: `k${index}` })),
        )
        const answers = await Promise.allSettled(tries)
        const refused = answers.filter((answer) => answer.status === 'rejected')
        const full = { reason: { code: 'QUEUE_FULL' } }
        expect(refused).toMatchObject(Array.from({ length: MAX_QUEUED }, () => full))
        expect(await queue.count('queued')).toBe(MAX_QUEUED)
        await queue.claim(1, ['app'])
        await queue.insert(newTask())
        await expect(queue.insert(newTask())).rejects.toMatchObject({ code: 'QUEUE_FULL' })
      })

      test('never refuses a retry, a release or a reap for want of room', async () => {
        const tasks = [await running(), await running(), await running(other)]
        for (let count = 0; count < MAX_QUEUED; count += 1) await queue.insert(newTask())
        const [failing, releasing] = tasks
        if (failing === undefined || releasing === undefined) throw new Error('no tasks')
        expect(await queue.finish(reportOf(failing, 'failed'))).toBe('queued')
        expect(await queue.finish(reportOf(releasing, 'released'))).toBe('queued')
        store.advance(LEASE_MS + GRACE_MS)
        expect(await queue.reap()).toHaveLength(1)
        expect(await queue.count('queued')).toBe(MAX_QUEUED + 3)
      })

      test('returns the living task of the same dedupe key, even when the queue is full', async () => {
        const { task } = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        for (let count = 1; count < MAX_QUEUED; count += 1) await queue.insert(newTask())
        const again = await other.insert(newTask({ dedupeKey: 'gh:1', prompt: 'Other words.' }))
        expect(again).toEqual({ task, inserted: false })
        const [claimed] = await queue.claim(1, ['app'])
        expect(claimed?.id).toBe(task.id)
        expect(await other.insert(newTask({ dedupeKey: 'gh:1' }))).toMatchObject({ inserted: false })
      })

      test('takes a dedupe key again once its task is over', async () => {
        const { task } = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        await queue.cancel(task.id, 'no')
        const again = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        expect(again.inserted).toBe(true)
        expect(again.task.id).not.toBe(task.id)
      })
    })

    describe('reading', () => {
      test('lists newest first, by status, up to a limit', async () => {
        const ids: string[] = []
        for (let count = 0; count < 4; count += 1) ids.unshift((await queue.insert(newTask())).task.id)
        await queue.claim(1, ['app'])
        const listed = async (status: Task['status'] | undefined, limit: number): Promise<string[]> =>
          (await other.list(status === undefined ? { limit } : { status, limit })).map(({ id }) => id)
        expect(await listed(undefined, 9)).toEqual(ids)
        expect(await listed('queued', 2)).toEqual(ids.slice(0, 2))
        expect(await listed('running', 9)).toEqual(ids.slice(3))
        expect([await queue.count('queued'), await queue.count('running')]).toEqual([3, 1])
      })

      test('finds at most two ids by their beginning, and takes no character as a pattern', async () => {
        const ids: string[] = []
        for (let count = 0; count < 3; count += 1) ids.push((await queue.insert(newTask())).task.id)
        const [first = ''] = ids
        expect(await queue.idsByPrefix(first)).toEqual([first])
        expect(await queue.idsByPrefix(first.slice(0, 2))).toHaveLength(2)
        for (const odd of ['%', '_', '*', `${first}x`, "'"]) expect(await queue.idsByPrefix(odd)).toEqual([])
      })

      test('an unknown id is null', async () => {
        expect(await queue.get('nobody')).toBeNull()
      })
    })

    describe('claim', () => {
      test('gives a task to one worker, with the next attempt and a lease', async () => {
        const { task } = await queue.insert(newTask())
        store.advance(1_000)
        const claims = await Promise.all([queue.claim(5, ['app']), other.claim(5, ['app'])])
        expect(claims.flat()).toEqual([
          {
            ...task,
            status: 'running',
            attempt: 1,
            worker: claims[0]?.length === 1 ? 'a' : 'b',
            startedAt: store.now(),
            leaseExpiresAt: store.now() + LEASE_MS,
          },
        ])
        expect(await read(task.id)).toEqual(claims.flat()[0])
      })

      test('takes only the given projects, up to the limit', async () => {
        for (const project of ['x', 'y', 'z', 'x']) await queue.insert(newTask({ project }))
        expect(await queue.claim(9, [])).toEqual([])
        expect(await queue.claim(0, ['x'])).toEqual([])
        expect((await queue.claim(9, ['y', "z'"])).map(({ project }) => project)).toEqual(['y'])
        expect(await queue.claim(1, ['x', 'z'])).toHaveLength(1)
        expect(await queue.claim(9, ['x', 'z'])).toHaveLength(2)
      })

      test('goes by priority, then by the time of scheduling, then by age', async () => {
        const add = async (priority: number): Promise<string> =>
          (await queue.insert(newTask({ project: 'run', priority }))).task.id
        const low = await add(-1)
        const later = await running(queue, { priority: 1 })
        await queue.finish(reportOf(later, 'released', { retryAfterMs: 30 }))
        store.advance(20)
        const first = await add(0)
        const second = await add(0)
        const high = await add(100)
        store.advance(20)
        const claimed = await queue.claim(9, ['run'])
        expect(claimed.map(({ id }) => id)).toEqual([high, later.id, first, second, low])
      })

      test('a task that was put back goes behind those that were scheduled before it', async () => {
        const back = await running()
        await queue.finish(reportOf(back, 'released', { retryAfterMs: 50 }))
        store.advance(20)
        const { task } = await queue.insert(newTask({ project: 'run' }))
        store.advance(40)
        expect((await queue.claim(9, ['run'])).map(({ id }) => id)).toEqual([task.id, back.id])
      })

      test('serves projects of equal priority in turn', async () => {
        const projects = ['x', 'x', 'x', 'y', 'y', 'z']
        for (const project of projects) {
          await queue.insert(newTask({ project }))
          store.advance(1)
        }
        const order: string[] = []
        while (order.length < projects.length) {
          for (const task of await queue.claim(order.length === 0 ? 2 : 1, ['x', 'y', 'z']))
            order.push(task.project)
        }
        expect(order).toEqual(['x', 'y', 'z', 'x', 'y', 'x'])
      })

      test('never starts a task before its time', async () => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed', { retryAfterMs: 1_000 }))
        store.advance(999)
        expect(await queue.claim(1, ['run'])).toEqual([])
        store.advance(1)
        expect(await claimAgain(task)).toMatchObject({ attempt: 2, startedAt: task.startedAt })
      })
    })

    describe('heartbeat', () => {
      test('renews what is ours and refuses everything else', async () => {
        const mine = await running()
        const theirs = await running(other)
        store.advance(1_000)
        const leases = [
          { taskId: mine.id, attempt: 1 },
          { taskId: mine.id, attempt: 2 },
          { taskId: theirs.id, attempt: 1 },
          { taskId: 'nobody', attempt: 1 },
        ]
        const refused = { ok: false, cancel: false, expiresAt: null }
        expect(await queue.heartbeat(leases)).toEqual(
          leases.map((lease, index) => ({
            ...lease,
            ...(index === 0 ? { ok: true, cancel: false, expiresAt: store.now() + LEASE_MS } : refused),
          })),
        )
        expect((await read(mine.id)).leaseExpiresAt).toBe(store.now() + LEASE_MS)
        expect((await read(theirs.id)).leaseExpiresAt).toBe(theirs.leaseExpiresAt)
      })

      test('still renews a lease that has run out, as long as nobody took the task back', async () => {
        const task = await running()
        store.advance(LEASE_MS + GRACE_MS * 2)
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: true }])
        expect(await other.reap()).toEqual([])
      })

      test('an attempt that was finished or taken back is not ours any more', async () => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed', { retryAfterMs: 0 }))
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: false }])
        await claimAgain(task)
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: false }])
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 2 }])).toMatchObject([{ ok: true }])
      })
    })

    describe('finish', () => {
      test('success stores the result and ends the task', async () => {
        const task = await running()
        store.advance(1_000)
        expect(await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))).toBe('succeeded')
        expect(await read(task.id)).toEqual({
          ...task,
          status: 'succeeded',
          result: RESULT,
          leaseExpiresAt: null,
          finishedAt: store.now(),
        })
      })

      test('three agent failures fail the task, each later than the one before', async () => {
        let task = await running()
        const waits: number[] = []
        for (const expected of ['queued', 'queued', 'failed']) {
          expect(await queue.finish(reportOf(task, 'failed', { error: 'It crashed.', result: RESULT }))).toBe(
            expected,
          )
          const now = await read(task.id)
          expect(now.status).toBe(expected)
          if (expected !== 'queued') continue
          expect(now).toMatchObject({ worker: null, leaseExpiresAt: null, error: null, result: null })
          waits.push(now.scheduledAt - store.now())
          store.advance(now.scheduledAt - store.now())
          task = await claimAgain(task)
        }
        const [first = 0, second = 0] = waits
        expect(first).toBeGreaterThanOrEqual(3_750)
        expect(first).toBeLessThanOrEqual(6_250)
        expect(second).toBeGreaterThanOrEqual(7_500)
        expect(second).toBeLessThanOrEqual(12_500)
        const over = await read(task.id)
        expect(over).toMatchObject({
          failures: 3,
          lostLeases: 0,
          attempt: 3,
          error: 'It crashed.',
          result: RESULT,
        })
        expect(over.finishedAt).toBe(store.now())
      })

      test('a permanent failure ends the task at once', async () => {
        const task = await running()
        expect(await queue.finish(reportOf(task, 'failed_permanent', { error: 'Impossible.' }))).toBe(
          'failed',
        )
        expect(await read(task.id)).toMatchObject({ status: 'failed', error: 'Impossible.' })
      })

      test('a task that is over says why even when its report did not', async () => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed_permanent'))
        expect((await read(task.id)).error).toMatch(/^[A-Z].*\.$/)
      })

      test('a release costs no budget and waits longer each time', async () => {
        let task = await running()
        const waits: number[] = []
        for (let count = 0; count < 5; count += 1) {
          expect(await queue.finish(reportOf(task, 'released'))).toBe('queued')
          const now = await read(task.id)
          expect(now).toMatchObject({ failures: 0, lostLeases: 0, error: null })
          waits.push(now.scheduledAt - store.now())
          store.advance(now.scheduledAt - store.now())
          task = await claimAgain(task)
        }
        expect(waits.every((wait, index) => wait >= 3_750 * 2 ** index && wait <= 6_250 * 2 ** index)).toBe(
          true,
        )
      })

      test('a report decides itself when to try again', async () => {
        const task = await running()
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 18_000_000 }))
        expect((await read(task.id)).scheduledAt).toBe(store.now() + 18_000_000)
      })

      test('the same report may be sent for ever', async () => {
        let task = await running()
        for (const outcome of ['released', 'failed', 'succeeded'] as const) {
          const report = reportOf(task, outcome, { retryAfterMs: 0, result: RESULT })
          await queue.finish(report)
          await unchangedBy(async () => {
            expect(await queue.finish(report)).toBe('duplicate')
          })
          if (outcome !== 'succeeded') task = await claimAgain(task)
        }
        await unchangedBy(async () => {
          expect(await queue.finish({ ...reportOf(task, 'released'), attempt: 1 })).toBe('duplicate')
        })
      })

      test('a second, different report about one attempt changes nothing', async () => {
        const task = await running()
        await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))
        await unchangedBy(async () => {
          expect(await queue.finish(reportOf(task, 'failed'))).toBe('stale')
          expect(await queue.finish(reportOf(task, 'cancelled'))).toBe('stale')
        })
      })

      test('an old attempt changes nothing while a newer one runs', async () => {
        const old = await running()
        store.advance(LEASE_MS + GRACE_MS)
        await other.reap()
        await claimAgain(old, other)
        await unchangedBy(async () => {
          for (const outcome of ['succeeded', 'failed', 'released', 'cancelled'] as const) {
            expect(await queue.finish(reportOf(old, outcome))).toBe('stale')
          }
        })
      })

      test('reports of others and about nothing change nothing', async () => {
        const task = await running()
        await unchangedBy(async () => {
          expect(await other.finish(reportOf(task, 'succeeded'))).toBe('not_yours')
          expect(await queue.finish({ ...reportOf(task, 'succeeded'), attempt: 2 })).toBe('unknown')
          expect(await queue.finish({ ...reportOf(task, 'succeeded'), taskId: 'nobody' })).toBe('unknown')
        })
      })

      test('a result of more than a megabyte is stored without its bulk', async () => {
        const task = await running()
        const result = { ...RESULT, text: 'x'.repeat(2 * 1024 * 1024) }
        expect(await queue.finish(reportOf(task, 'succeeded', { result }))).toBe('succeeded')
        const stored = (await read(task.id)).result
        expect(stored).toMatchObject({ truncated: true, claude_session_id: 'c0ffee', duration_ms: 12 })
        expect(JSON.stringify(stored).length).toBeLessThan(1024 * 1024)
      })
    })

    describe('cancel', () => {
      test('a queued task is over at once', async () => {
        const { task } = await queue.insert(newTask())
        expect(await other.cancel(task.id, 'Not needed.')).toBe('cancelled')
        expect(await read(task.id)).toMatchObject({
          status: 'cancelled',
          error: 'Not needed.',
          finishedAt: store.now(),
        })
        expect(await queue.claim(1, ['app'])).toEqual([])
        await unchangedBy(async () => {
          expect(await other.cancel(task.id, 'Again.')).toBe('cancelled')
        })
      })

      test('the worker of a running task hears of it at its next heartbeat and ends it', async () => {
        const task = await running()
        expect(await other.cancel(task.id, 'Not needed.')).toBe('requested')
        expect(await other.cancel(task.id, 'Again.')).toBe('requested')
        expect(await read(task.id)).toMatchObject({ status: 'running', cancelRequested: true })
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([
          { ok: true, cancel: true },
        ])
        expect(await queue.finish(reportOf(task, 'cancelled', { error: 'Killed.' }))).toBe('cancelled')
        expect(await read(task.id)).toMatchObject({ status: 'cancelled', error: 'Not needed.' })
      })

      test('a success that races with it wins', async () => {
        const task = await running()
        await other.cancel(task.id, 'Not needed.')
        expect(await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))).toBe('succeeded')
        expect(await read(task.id)).toMatchObject({ status: 'succeeded', error: null, result: RESULT })
        expect(await other.cancel(task.id, 'Too late.')).toBe('already_final')
      })

      test.each(['failed', 'released'] as const)(
        'a cancelled task is not tried again after %s',
        async (outcome) => {
          const task = await running()
          await other.cancel(task.id, '')
          expect(await queue.finish(reportOf(task, outcome))).toBe('cancelled')
          expect((await read(task.id)).error).not.toBeNull()
        },
      )

      test('a cancelled task whose worker is lost is cancelled', async () => {
        const task = await running()
        await other.cancel(task.id, 'Not needed.')
        store.advance(LEASE_MS + GRACE_MS)
        expect(await other.reap()).toMatchObject([{ id: task.id, status: 'cancelled', error: 'Not needed.' }])
      })

      test('an unknown task is unknown', async () => {
        expect(await queue.cancel('nobody', 'x')).toBe('unknown')
      })
    })

    describe('reap', () => {
      test('takes a task back when its lease and the grace are over, not before', async () => {
        const task = await running()
        store.advance(LEASE_MS + GRACE_MS - 1)
        expect(await other.reap()).toEqual([])
        store.advance(1)
        const [back] = await other.reap()
        expect(back).toEqual({
          ...task,
          status: 'queued',
          worker: null,
          lostLeases: 1,
          leaseExpiresAt: null,
          scheduledAt: store.now(),
        })
        expect(await read(task.id)).toEqual(back)
        expect(await other.reap()).toEqual([])
        expect(await claimAgain(task, other)).toMatchObject({ attempt: 2, worker: 'b' })
      })

      test('a heartbeat in time keeps the task', async () => {
        const task = await running()
        store.advance(LEASE_MS)
        await queue.heartbeat([{ taskId: task.id, attempt: 1 }])
        store.advance(LEASE_MS)
        expect(await other.reap()).toEqual([])
      })

      test('the third lost lease makes the task dead', async () => {
        let task = await running()
        for (const status of ['queued', 'queued', 'dead']) {
          store.advance(LEASE_MS + GRACE_MS)
          expect(await other.reap()).toMatchObject([{ id: task.id, status, failures: 0 }])
          if (status === 'queued') task = await claimAgain(task)
        }
        const dead = await read(task.id)
        expect(dead).toMatchObject({ status: 'dead', lostLeases: 3, attempt: 3, finishedAt: store.now() })
        expect(dead.error).toContain('lost 3 times')
        expect(await queue.claim(1, ['run'])).toEqual([])
      })
    })

    describe('register and mine', () => {
      test('each process of a worker is newer than the one before', async () => {
        const first = await store.process('c').register()
        const second = await store.process('c').register()
        expect(second).toBe(first + 1)
      })

      test('an older process may not write, and its refusal is never an answer', async () => {
        const task = await running()
        await queue.insert(newTask({ project: 'run' }))
        await store.process('a').register()
        const stale = expect.objectContaining({ code: 'STALE_LEASE' })
        await unchangedBy(async () => {
          await expect(queue.claim(1, ['run'])).rejects.toThrow(stale)
          await expect(queue.heartbeat([{ taskId: task.id, attempt: 1 }])).rejects.toThrow(stale)
          await expect(queue.finish(reportOf(task, 'succeeded'))).rejects.toThrow(stale)
          await expect(queue.mine()).rejects.toThrow(stale)
        })
        expect(await other.claim(1, ['run'])).toHaveLength(1)
      })

      test('a process that never registered may not write', async () => {
        await queue.insert(newTask())
        await expect(store.process('a').claim(1, ['app'])).rejects.toMatchObject({ code: 'STALE_LEASE' })
      })

      test('the next process finds what the last one left, keeps it and reports it', async () => {
        const task = await running()
        const theirs = await running(other)
        const next = store.process('a')
        await next.register()
        expect(await next.mine()).toEqual([task])
        expect(await next.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: true }])
        expect(await next.finish(reportOf(task, 'succeeded'))).toBe('succeeded')
        expect(await next.finish(reportOf(task, 'succeeded'))).toBe('duplicate')
        expect(await next.mine()).toEqual([])
        expect((await other.mine()).map(({ id }) => id)).toEqual([theirs.id])
      })
    })
  })
}
