import { describe, expect, test } from 'vitest'
import { GRACE_MS, LEASE_MS, RESULT, from, newTask, reportOf, type BenchRunner } from './bench.ts'

/** How tasks end: reports and cancels. */
export function endContract(bench: BenchRunner): void {
  describe('finish', () => {
    test(
      'success stores the result and ends the task',
      bench(async ({ store, queue, running, read }) => {
        const task = await running()
        await store.advance(1_000)
        expect(await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))).toBe('succeeded')
        expect(await read(task.id)).toEqual({
          ...task,
          status: 'succeeded',
          result: RESULT,
          leaseExpiresAt: null,
          finishedAt: await store.now(),
        })
      }),
    )

    test(
      'three agent failures fail the task, each later than the one before',
      bench(async ({ store, queue, running, claimAgain, read }) => {
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
          waits.push(now.scheduledAt - (await store.now()))
          await store.advance(now.scheduledAt - (await store.now()))
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
        expect(over.finishedAt).toBe(await store.now())
      }),
    )

    test(
      'a permanent failure ends the task at once',
      bench(async ({ queue, running, read }) => {
        const task = await running()
        expect(await queue.finish(reportOf(task, 'failed_permanent', { error: 'Impossible.' }))).toBe(
          'failed',
        )
        expect(await read(task.id)).toMatchObject({ status: 'failed', error: 'Impossible.' })
      }),
    )

    test(
      'a task that is over says why even when its report did not',
      bench(async ({ queue, running, read }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed_permanent'))
        expect((await read(task.id)).error).toMatch(/^[A-Z].*\.$/)
      }),
    )

    test(
      'a release costs no budget and waits longer each time',
      bench(async ({ store, queue, running, claimAgain, read }) => {
        let task = await running()
        const waits: number[] = []
        for (let count = 0; count < 5; count += 1) {
          expect(await queue.finish(reportOf(task, 'released'))).toBe('queued')
          const now = await read(task.id)
          expect(now).toMatchObject({ failures: 0, lostLeases: 0, error: null })
          waits.push(now.scheduledAt - (await store.now()))
          await store.advance(now.scheduledAt - (await store.now()))
          task = await claimAgain(task)
        }
        expect(waits.every((wait, index) => wait >= 3_750 * 2 ** index && wait <= 6_250 * 2 ** index)).toBe(
          true,
        )
      }),
    )

    test(
      'a report decides itself when to try again',
      bench(async ({ store, queue, running, read }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 18_000_000 }))
        expect((await read(task.id)).scheduledAt).toBe((await store.now()) + 18_000_000)
      }),
    )

    test(
      'the same report may be sent for ever',
      bench(async ({ queue, running, claimAgain, unchangedBy }) => {
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
      }),
    )

    test(
      'a second, different report about one attempt changes nothing',
      bench(async ({ queue, running, unchangedBy }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))
        await unchangedBy(async () => {
          expect(await queue.finish(reportOf(task, 'failed'))).toBe('stale')
          expect(await queue.finish(reportOf(task, 'cancelled'))).toBe('stale')
        })
      }),
    )

    test(
      'an old attempt changes nothing while a newer one runs',
      bench(async ({ store, queue, other, running, claimAgain, unchangedBy }) => {
        const old = await running()
        await store.advance(LEASE_MS + GRACE_MS)
        await other.reap()
        await claimAgain(old, other)
        await unchangedBy(async () => {
          for (const outcome of ['succeeded', 'failed', 'released', 'cancelled'] as const) {
            expect(await queue.finish(reportOf(old, outcome))).toBe('stale')
          }
        })
      }),
    )

    test(
      'reports of others and about nothing change nothing',
      bench(async ({ queue, other, running, unchangedBy }) => {
        const task = await running()
        await unchangedBy(async () => {
          expect(await other.finish(reportOf(task, 'succeeded'))).toBe('not_yours')
          expect(await queue.finish({ ...reportOf(task, 'succeeded'), attempt: 2 })).toBe('unknown')
          expect(await queue.finish({ ...reportOf(task, 'succeeded'), taskId: 'nobody' })).toBe('unknown')
        })
      }),
    )

    test(
      'a result of more than a megabyte is stored without its bulk',
      bench(async ({ queue, running, read }) => {
        const task = await running()
        const result = { ...RESULT, text: 'x'.repeat(2 * 1024 * 1024) }
        expect(await queue.finish(reportOf(task, 'succeeded', { result }))).toBe('succeeded')
        const stored = (await read(task.id)).result
        expect(stored).toMatchObject({ truncated: true, claude_session_id: 'c0ffee', duration_ms: 12 })
        expect(JSON.stringify(stored).length).toBeLessThan(1024 * 1024)
      }),
    )
  })

  describe('cancel', () => {
    test(
      'a queued task is over at once',
      bench(async ({ store, queue, other, read, unchangedBy }) => {
        const { task } = await queue.insert(newTask())
        expect(await other.cancel(task.id, 'Not needed.')).toBe('cancelled')
        expect(await read(task.id)).toMatchObject({
          status: 'cancelled',
          error: 'Not needed.',
          finishedAt: await store.now(),
        })
        expect(await queue.claim(1, from(['app']))).toEqual([])
        await unchangedBy(async () => {
          expect(await other.cancel(task.id, 'Again.')).toBe('cancelled')
        })
      }),
    )

    test(
      'the worker of a running task hears of it at its next heartbeat and ends it',
      bench(async ({ queue, other, running, read }) => {
        const task = await running()
        expect(await other.cancel(task.id, 'Not needed.')).toBe('requested')
        expect(await other.cancel(task.id, 'Again.')).toBe('requested')
        expect(await read(task.id)).toMatchObject({ status: 'running', cancelRequested: true })
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([
          { ok: true, cancel: true },
        ])
        expect(await queue.finish(reportOf(task, 'cancelled', { error: 'Killed.' }))).toBe('cancelled')
        expect(await read(task.id)).toMatchObject({ status: 'cancelled', error: 'Not needed.' })
      }),
    )

    test(
      'a success that races with it wins',
      bench(async ({ queue, other, running, read }) => {
        const task = await running()
        await other.cancel(task.id, 'Not needed.')
        expect(await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))).toBe('succeeded')
        expect(await read(task.id)).toMatchObject({ status: 'succeeded', error: null, result: RESULT })
        expect(await other.cancel(task.id, 'Too late.')).toBe('already_final')
      }),
    )

    test.each(['failed', 'released'] as const)('a cancelled task is not tried again after %s', (outcome) =>
      bench(async ({ queue, other, running, read }) => {
        const task = await running()
        await other.cancel(task.id, '')
        expect(await queue.finish(reportOf(task, outcome))).toBe('cancelled')
        expect((await read(task.id)).error).not.toBeNull()
      })(),
    )

    test(
      'a cancelled task whose worker is lost is cancelled',
      bench(async ({ store, other, running }) => {
        const task = await running()
        await other.cancel(task.id, 'Not needed.')
        await store.advance(LEASE_MS + GRACE_MS)
        expect(await other.reap()).toMatchObject([{ id: task.id, status: 'cancelled', error: 'Not needed.' }])
      }),
    )

    test(
      'an unknown task is unknown',
      bench(async ({ queue }) => {
        expect(await queue.cancel('nobody', 'x')).toBe('unknown')
      }),
    )
  })
}
