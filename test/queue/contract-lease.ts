import { describe, expect, test } from 'vitest'
import { GRACE_MS, LEASE_MS, from, newTask, reportOf, type BenchRunner } from './bench.ts'

/** The right to a task: claim, heartbeat, reap, and who may write. */
export function leaseContract(bench: BenchRunner): void {
  describe('claim', () => {
    test(
      'gives a task to one worker, with the next attempt and a lease',
      bench(async ({ store, queue, other, read }) => {
        const { task } = await queue.insert(newTask())
        await store.advance(1_000)
        const claims = await Promise.all([queue.claim(5, from(['app'])), other.claim(5, from(['app']))])
        expect(claims.flat()).toEqual([
          {
            ...task,
            status: 'running',
            attempt: 1,
            worker: claims[0]?.length === 1 ? 'a' : 'b',
            startedAt: await store.now(),
            leaseExpiresAt: (await store.now()) + LEASE_MS,
          },
        ])
        expect(await read(task.id)).toEqual(claims.flat()[0])
      }),
    )

    test(
      'takes only the given projects, up to the limit',
      bench(async ({ queue }) => {
        for (const project of ['x', 'y', 'z', 'x']) await queue.insert(newTask({ project }))
        expect(await queue.claim(9, from([]))).toEqual([])
        expect(await queue.claim(0, from(['x']))).toEqual([])
        expect((await queue.claim(9, from(['y', "z'"]))).map(({ project }) => project)).toEqual(['y'])
        expect(await queue.claim(1, from(['x', 'z']))).toHaveLength(1)
        expect(await queue.claim(9, from(['x', 'z']))).toHaveLength(2)
      }),
    )

    test(
      'goes by priority, then by the time of scheduling, then by age',
      bench(async ({ store, queue, running }) => {
        const add = async (priority: number): Promise<string> =>
          (await queue.insert(newTask({ project: 'run', priority }))).task.id
        const low = await add(-1)
        const later = await running(queue, { priority: 1 })
        await queue.finish(reportOf(later, 'released', { retryAfterMs: 30 }))
        await store.advance(20)
        const first = await add(0)
        const second = await add(0)
        const high = await add(100)
        await store.advance(20)
        const claimed = await queue.claim(9, from(['run']))
        expect(claimed.map(({ id }) => id)).toEqual([high, later.id, first, second, low])
      }),
    )

    test(
      'a task that was put back goes behind those that were scheduled before it',
      bench(async ({ store, queue, running }) => {
        const back = await running()
        await queue.finish(reportOf(back, 'released', { retryAfterMs: 50 }))
        await store.advance(20)
        const { task } = await queue.insert(newTask({ project: 'run' }))
        await store.advance(40)
        expect((await queue.claim(9, from(['run']))).map(({ id }) => id)).toEqual([task.id, back.id])
      }),
    )

    test(
      'serves projects of equal priority in turn',
      bench(async ({ store, queue }) => {
        const projects = ['x', 'x', 'x', 'y', 'y', 'z']
        for (const project of projects) {
          await queue.insert(newTask({ project }))
          await store.advance(1)
        }
        const order: string[] = []
        while (order.length < projects.length) {
          for (const task of await queue.claim(order.length === 0 ? 2 : 1, from(['x', 'y', 'z'])))
            order.push(task.project)
        }
        expect(order).toEqual(['x', 'y', 'z', 'x', 'y', 'x'])
      }),
    )

    test(
      'never starts a task before its time',
      bench(async ({ store, queue, running, claimAgain }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed', { retryAfterMs: 1_000 }))
        await store.advance(999)
        expect(await queue.claim(1, from(['run']))).toEqual([])
        await store.advance(1)
        expect(await claimAgain(task)).toMatchObject({ attempt: 2, startedAt: task.startedAt })
      }),
    )
  })

  describe('heartbeat', () => {
    test(
      'renews what is ours and refuses everything else',
      bench(async ({ store, queue, other, running, read }) => {
        const mine = await running()
        const theirs = await running(other)
        await store.advance(1_000)
        const leases = [
          { taskId: mine.id, attempt: 1 },
          { taskId: mine.id, attempt: 2 },
          { taskId: theirs.id, attempt: 1 },
          { taskId: 'nobody', attempt: 1 },
        ]
        const now = await store.now()
        const refused = { ok: false, cancel: false, expiresAt: null }
        expect(await queue.heartbeat(leases)).toEqual(
          leases.map((lease, index) => ({
            ...lease,
            ...(index === 0 ? { ok: true, cancel: false, expiresAt: now + LEASE_MS } : refused),
          })),
        )
        expect((await read(mine.id)).leaseExpiresAt).toBe((await store.now()) + LEASE_MS)
        expect((await read(theirs.id)).leaseExpiresAt).toBe(theirs.leaseExpiresAt)
      }),
    )

    test(
      'still renews a lease that has run out, as long as nobody took the task back',
      bench(async ({ store, queue, other, running }) => {
        const task = await running()
        await store.advance(LEASE_MS + GRACE_MS * 2)
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: true }])
        expect(await other.reap()).toEqual([])
      }),
    )

    test(
      'an attempt that was finished or taken back is not ours any more',
      bench(async ({ queue, running, claimAgain }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'failed', { retryAfterMs: 0 }))
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: false }])
        await claimAgain(task)
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: false }])
        expect(await queue.heartbeat([{ taskId: task.id, attempt: 2 }])).toMatchObject([{ ok: true }])
      }),
    )
  })

  describe('reap', () => {
    test(
      'takes a task back when its lease and the grace are over, not before',
      bench(async ({ store, other, running, claimAgain, read }) => {
        const task = await running()
        await store.advance(LEASE_MS + GRACE_MS - 1)
        expect(await other.reap()).toEqual([])
        await store.advance(1)
        const [back] = await other.reap()
        expect(back).toEqual({
          ...task,
          status: 'queued',
          worker: null,
          lostLeases: 1,
          leaseExpiresAt: null,
          scheduledAt: await store.now(),
        })
        expect(await read(task.id)).toEqual(back)
        expect(await other.reap()).toEqual([])
        expect(await claimAgain(task, other)).toMatchObject({ attempt: 2, worker: 'b' })
      }),
    )

    test(
      'a heartbeat in time keeps the task',
      bench(async ({ store, queue, other, running }) => {
        const task = await running()
        await store.advance(LEASE_MS)
        await queue.heartbeat([{ taskId: task.id, attempt: 1 }])
        await store.advance(LEASE_MS)
        expect(await other.reap()).toEqual([])
      }),
    )

    test(
      'the third lost lease makes the task dead',
      bench(async ({ store, queue, other, running, claimAgain, read }) => {
        let task = await running()
        for (const status of ['queued', 'queued', 'dead']) {
          await store.advance(LEASE_MS + GRACE_MS)
          expect(await other.reap()).toMatchObject([{ id: task.id, status, failures: 0 }])
          if (status === 'queued') task = await claimAgain(task)
        }
        const dead = await read(task.id)
        expect(dead).toMatchObject({
          status: 'dead',
          lostLeases: 3,
          attempt: 3,
          finishedAt: await store.now(),
        })
        expect(dead.error).toContain('lost 3 times')
        expect(await queue.claim(1, from(['run']))).toEqual([])
      }),
    )
  })

  describe('register and mine', () => {
    test(
      'each process of a worker is newer than the one before',
      bench(async ({ store }) => {
        const first = await store.worker('c').register()
        const second = await store.worker('c').register()
        expect(second).toBe(first + 1)
      }),
    )

    test(
      'an older process may not write, and its refusal is never an answer',
      bench(async ({ store, queue, other, running, unchangedBy }) => {
        const task = await running()
        await queue.insert(newTask({ project: 'run' }))
        await store.worker('a').register()
        const stale = expect.objectContaining({ code: 'STALE_LEASE' })
        await unchangedBy(async () => {
          await expect(queue.claim(1, from(['run']))).rejects.toThrow(stale)
          await expect(queue.heartbeat([{ taskId: task.id, attempt: 1 }])).rejects.toThrow(stale)
          await expect(queue.finish(reportOf(task, 'succeeded'))).rejects.toThrow(stale)
          await expect(queue.finishMany([reportOf(task, 'succeeded')])).rejects.toThrow(stale)
          await expect(queue.mine()).rejects.toThrow(stale)
        })
        expect(await other.claim(1, from(['run']))).toHaveLength(1)
      }),
    )

    test(
      'a process that never registered may not write',
      bench(async ({ store, queue }) => {
        await queue.insert(newTask())
        // A shared queue that was not reached yet is asked again; the embedded one is always there.
        await expect(store.worker('a').claim(1, from(['app']))).rejects.toThrow(/has not registered/)
      }),
    )

    test(
      'the next process finds what the last one left, keeps it and reports it',
      bench(async ({ store, other, running }) => {
        const task = await running()
        const theirs = await running(other)
        const next = store.worker('a')
        await next.register()
        expect(await next.mine()).toEqual([task])
        expect(await next.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: true }])
        expect(await next.finish(reportOf(task, 'succeeded'))).toBe('succeeded')
        expect(await next.finish(reportOf(task, 'succeeded'))).toBe('duplicate')
        expect(await next.mine()).toEqual([])
        expect((await other.mine()).map(({ id }) => id)).toEqual([theirs.id])
      }),
    )
  })
}
