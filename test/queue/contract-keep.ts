import { describe, expect, test } from 'vitest'
import type { Outcome } from '../../src/core/task/queue.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, RESULT, from, newTask, reportOf, type BenchRunner } from './bench.ts'

const DAY_MS = 86_400_000

/** What becomes of tasks that are over. */
export function keepContract(bench: BenchRunner): void {
  describe('retry', () => {
    test(
      'a failed task is queued again with fresh budgets, and its attempts go on counting',
      bench(async ({ store, queue, other, running, claimAgain, read }) => {
        let task = await running()
        for (const outcome of ['failed', 'released', 'failed', 'failed'] as const) {
          await queue.finish(
            reportOf(task, outcome, { retryAfterMs: 0, error: 'It crashed.', result: RESULT }),
          )
          if (outcome === 'released' || (await read(task.id)).status === 'queued')
            task = await claimAgain(task)
        }
        expect(await read(task.id)).toMatchObject({ status: 'failed', failures: 3, attempt: 4 })
        await store.advance(1_000)
        expect(await other.retry(task.id)).toBe('queued')
        expect(await read(task.id)).toMatchObject({
          status: 'queued',
          attempt: 4,
          failures: 0,
          lostLeases: 0,
          worker: null,
          result: null,
          error: null,
          finishedAt: null,
          scheduledAt: await store.now(),
          cancelRequested: false,
        })
        task = await claimAgain(task)
        expect(task.attempt).toBe(5)
        await queue.finish(reportOf(task, 'failed'))
        const again = await read(task.id)
        expect(again).toMatchObject({ status: 'queued', failures: 1 })
        expect(again.scheduledAt - (await store.now())).toBeLessThanOrEqual(6_250)
      }),
    )

    test(
      'the wait after a release begins anew too',
      bench(async ({ store, queue, running, claimAgain, read }) => {
        let task = await running()
        for (let count = 0; count < 4; count += 1) {
          await queue.finish(reportOf(task, 'released', { retryAfterMs: 0 }))
          task = await claimAgain(task)
        }
        await queue.finish(reportOf(task, 'failed_permanent'))
        await queue.retry(task.id)
        task = await claimAgain(task)
        await queue.finish(reportOf(task, 'released'))
        expect((await read(task.id)).scheduledAt - (await store.now())).toBeLessThanOrEqual(6_250)
      }),
    )

    test(
      'a cancelled and a dead task can be retried, and can be cancelled or lost again',
      bench(async ({ store, queue, running, claimAgain, read }) => {
        const cancelled = await running()
        await queue.cancel(cancelled.id, 'Not needed.')
        await queue.finish(reportOf(cancelled, 'cancelled'))
        expect(await queue.retry(cancelled.id)).toBe('queued')
        const [lease] = await queue.heartbeat([
          { taskId: cancelled.id, attempt: (await claimAgain(cancelled)).attempt },
        ])
        expect(lease).toMatchObject({ ok: true, cancel: false })
        await queue.finish({ ...reportOf(cancelled, 'succeeded'), attempt: 2 })

        let dead = await running()
        for (let count = 0; count < 3; count += 1) {
          await store.advance(LEASE_MS + GRACE_MS)
          await queue.reap()
          if (count < 2) dead = await claimAgain(dead)
        }
        expect((await read(dead.id)).status).toBe('dead')
        expect(await queue.retry(dead.id)).toBe('queued')
        await claimAgain(dead)
        await store.advance(LEASE_MS + GRACE_MS)
        expect(await queue.reap()).toMatchObject([{ status: 'queued', lostLeases: 1 }])
      }),
    )

    test(
      'what waits, runs or succeeded is left as it is',
      bench(async ({ queue, running, unchangedBy }) => {
        const { task } = await queue.insert(newTask())
        const active = await running()
        const done = await running()
        await queue.finish(reportOf(done, 'succeeded', { result: RESULT }))
        await unchangedBy(async () => {
          expect(await queue.retry(task.id)).toBe('queued_already')
          expect(await queue.retry(active.id)).toBe('running')
          expect(await queue.retry(done.id)).toBe('succeeded')
          expect(await queue.retry('nobody')).toBe('unknown')
        })
      }),
    )

    test(
      'it is not refused by the bound',
      bench(async ({ queue, running }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed_permanent'))
        for (let count = 0; count < MAX_QUEUED; count += 1) await queue.insert(newTask())
        expect(await queue.retry(task.id)).toBe('queued')
      }),
    )

    test(
      'a dedupe key that another task has by now refuses it, with that task',
      bench(async ({ queue, running, unchangedBy }) => {
        const task = await running(queue, { dedupeKey: 'k' })
        await queue.finish(reportOf(task, 'failed_permanent'))
        const { task: heir } = await queue.insert(newTask({ dedupeKey: 'k' }))
        await unchangedBy(async () => {
          expect(await queue.retry(task.id)).toEqual({ refused: expect.stringContaining(heir.id) })
        })
        await queue.cancel(heir.id, '')
        expect(await queue.retry(task.id)).toBe('queued')
        expect(await queue.insert(newTask({ dedupeKey: 'k' }))).toMatchObject({ inserted: false })
      }),
    )

    test(
      'a dependency that cannot succeed refuses it; one that is tried again does not',
      bench(async ({ queue, running, claimAgain, read }) => {
        let first = await running()
        const { task: last } = await queue.insert(newTask({ dependsOn: [first.id] }))
        await queue.finish(reportOf(first, 'failed_permanent'))
        expect(await queue.retry(last.id)).toEqual({ refused: expect.stringContaining(first.id) })
        expect(await queue.retry(first.id)).toBe('queued')
        expect(await queue.retry(last.id)).toBe('queued')
        expect(await queue.claim(9, from(['app']))).toEqual([])
        first = await claimAgain(first)
        await queue.finish(reportOf(first, 'succeeded'))
        expect((await queue.claim(9, from(['app']))).map(({ id }) => id)).toEqual([last.id])
        expect((await read(last.id)).error).toBeNull()
      }),
    )
  })

  describe('prune', () => {
    test(
      'deletes what has been over for longer, whatever its end, and nothing that lives',
      bench(async ({ store, queue, other, running }) => {
        for (const outcome of ['succeeded', 'failed_permanent', 'cancelled'] satisfies Outcome[]) {
          await queue.finish(reportOf(await running(), outcome))
        }
        const alive = [(await queue.insert(newTask())).task.id, (await running()).id]
        await store.advance(1_000)
        expect(await other.prune(1_000)).toBe(0)
        await store.advance(1)
        expect(await other.prune(1_000)).toBe(3)
        expect((await other.list({ limit: 9 })).map(({ id }) => id).sort()).toEqual(alive.sort())
        expect(await other.prune(0)).toBe(0)
      }),
    )

    test(
      'a task with a dedupe key is kept for seven days at least',
      bench(async ({ store, queue, running, read }) => {
        const task = await running(queue, { dedupeKey: 'gh:1' })
        await queue.finish(reportOf(task, 'succeeded'))
        await store.advance(7 * DAY_MS)
        expect(await queue.prune(1_000)).toBe(0)
        expect((await read(task.id)).status).toBe('succeeded')
        await store.advance(1)
        expect(await queue.prune(8 * DAY_MS)).toBe(0)
        expect(await queue.prune(1_000)).toBe(1)
      }),
    )

    test(
      'what a living task depends on stays, and is met for ever once it is gone',
      bench(async ({ store, queue, running, claimAgain }) => {
        const first = await running()
        const { task: last } = await queue.insert(newTask({ project: 'run', dependsOn: [first.id] }))
        await queue.finish(reportOf(first, 'succeeded'))
        await store.advance(DAY_MS)
        expect(await queue.prune(1_000)).toBe(0)
        const claimed = await claimAgain(last)
        expect(await queue.prune(1_000)).toBe(0)
        await queue.finish(reportOf(claimed, 'failed_permanent'))
        expect(await queue.prune(1_000)).toBe(1)
        expect(await queue.get(first.id)).toBeNull()
        expect(await queue.retry(last.id)).toBe('queued')
        await claimAgain(last)
      }),
    )

    test(
      'a dependency that is gone without success refuses a retry',
      bench(async ({ store, queue, running }) => {
        const first = await running()
        await queue.finish(reportOf(first, 'released', { retryAfterMs: 0 }))
        const { task: last } = await queue.insert(newTask({ dependsOn: [first.id], dedupeKey: 'kept' }))
        await queue.cancel(first.id, '')
        await store.advance(DAY_MS)
        expect(await queue.prune(1_000)).toBe(1)
        expect(await queue.retry(last.id)).toEqual({ refused: expect.stringContaining(first.id) })
      }),
    )
  })

  describe('systems', () => {
    test(
      'two systems in one store do not see each other',
      bench(async ({ store, queue, running }) => {
        // Twice: its worker of that name is another one, and does not end this one's time.
        await store.worker('a', 'elsewhere').register()
        const elsewhere = store.worker('a', 'elsewhere')
        await elsewhere.register()
        const task = await running(queue, { dedupeKey: 'k' })
        const { task: queued } = await queue.insert(newTask({ dedupeKey: 'q' }))
        const lease = { taskId: task.id, attempt: 1 }
        expect(await elsewhere.get(task.id)).toBeNull()
        expect(await elsewhere.list({ limit: 9 })).toEqual([])
        expect(await elsewhere.idsByPrefix(queued.id, null)).toEqual([])
        expect(await elsewhere.idsByPrefix(queued.id, ['app'])).toEqual([])
        expect(await elsewhere.count('queued')).toBe(0)
        const { task: later } = await queue.insert(newTask({ project: 'later', dependsOn: [queued.id] }))
        expect(await queue.dependencies(later.id)).toMatchObject([{ id: queued.id }])
        expect(await elsewhere.dependencies(later.id)).toEqual([])
        expect(await elsewhere.claim(9, from(['app', 'run']))).toEqual([])
        expect(await elsewhere.cancel(queued.id, '')).toBe('unknown')
        expect(await elsewhere.retry(queued.id)).toBe('unknown')
        expect(await elsewhere.mine()).toEqual([])
        expect(await elsewhere.heartbeat([lease])).toMatchObject([{ ok: false }])
        expect(await elsewhere.finish(reportOf(task, 'succeeded'))).toBe('unknown')
        for (const dedupeKey of ['k', 'q']) {
          expect(await elsewhere.insert(newTask({ dedupeKey }))).toMatchObject({ inserted: true })
        }
        await queue.configureProject({ name: 'app', maxRunning: 1, paused: true })
        expect(await elsewhere.claim(9, from(['app']))).toHaveLength(2)
        await queue.configureProject({ name: 'app', maxRunning: 1, paused: false })
        expect(await queue.claim(9, from(['app']))).toMatchObject([{ id: queued.id }])
        await store.advance(LEASE_MS + GRACE_MS)
        expect(await elsewhere.reap()).toHaveLength(2)
        expect((await queue.get(task.id))?.status).toBe('running')
        await queue.finish(reportOf(task, 'succeeded'))
        await store.advance(30 * DAY_MS)
        expect(await elsewhere.prune(0)).toBe(0)
        expect(await queue.get(task.id)).not.toBeNull()
      }),
    )
  })
}
