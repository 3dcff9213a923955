import { describe, expect, test } from 'vitest'
import type { NewTask, Task } from '../../src/core/task/task.ts'
import type { Queue } from '../../src/core/task/queue.ts'
import { GRACE_MS, LEASE_MS, from, newTask, reportOf, type BenchRunner } from './bench.ts'

const APP = from(['app'])
const add = async (queue: Queue, more: Partial<NewTask> = {}): Promise<Task> =>
  (await queue.insert(newTask(more))).task

/** Tasks that wait for other tasks. */
export function dependencyContract(bench: BenchRunner): void {
  describe('dependencies', () => {
    test(
      'a task starts only when all it depends on succeeded, and blocks nobody meanwhile',
      bench(async ({ queue }) => {
        const [first, second] = [await add(queue), await add(queue)]
        const last = await add(queue, { dependsOn: [first.id, second.id], priority: 100 })
        expect(last.dependsOn).toEqual([first.id, second.id])
        const claimed = await queue.claim(9, APP)
        expect(claimed.map(({ id }) => id)).toEqual([first.id, second.id])
        for (const task of claimed) {
          expect(await queue.claim(9, APP)).toEqual([])
          await queue.finish(reportOf(task, 'succeeded'))
        }
        expect((await queue.claim(9, APP)).map(({ id }) => id)).toEqual([last.id])
      }),
    )

    test(
      'a dependency that is tried again keeps its dependents waiting',
      bench(async ({ queue, read }) => {
        const first = await add(queue)
        const last = await add(queue, { dependsOn: [first.id] })
        for (const outcome of ['failed', 'released'] as const) {
          const [claimed] = await queue.claim(9, APP)
          if (claimed === undefined) throw new Error('nothing was claimed')
          await queue.finish(reportOf(claimed, outcome, { retryAfterMs: 0 }))
          expect((await read(last.id)).status).toBe('queued')
        }
        expect((await queue.claim(9, APP)).map(({ id }) => id)).toEqual([first.id])
      }),
    )

    test(
      'one that had succeeded before keeps nobody waiting',
      bench(async ({ queue, running }) => {
        const first = await running()
        await queue.finish(reportOf(first, 'succeeded'))
        const last = await add(queue, { dependsOn: [first.id] })
        expect((await queue.claim(9, APP)).map(({ id }) => id)).toEqual([last.id])
      }),
    )

    const ends: Record<string, (queue: Queue, task: Task, advance: () => Promise<void>) => Promise<void>> = {
      'fails for good': async (queue, task) =>
        void (await queue.finish(reportOf(task, 'failed_permanent', { error: 'Impossible.' }))),
      'is cancelled at once': async (queue, task) => {
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0 }))
        expect(await queue.cancel(task.id, 'Not needed.')).toBe('cancelled')
      },
      'is cancelled while it runs': async (queue, task) => {
        await queue.cancel(task.id, 'Not needed.')
        await queue.finish(reportOf(task, 'cancelled'))
      },
      'is dead': async (queue, task, advance) => {
        for (let count = 0; count < 3; count += 1) {
          await advance()
          await queue.reap()
          if (count < 2) await queue.claim(1, from([task.project]))
        }
      },
    }
    test.each(Object.keys(ends))(
      'a dependency that %s cancels all that wait for it, all the way down',
      (how) =>
        bench(async ({ store, queue, running, read }) => {
          const first = await running()
          const second = await add(queue, { dependsOn: [first.id], scheduledAt: (await store.now()) + 1e9 })
          const third = await add(queue, { dependsOn: [second.id] })
          const fourth = await add(queue, { dependsOn: [third.id, second.id] })
          const free = await add(queue)
          await ends[how]?.(queue, first, () => store.advance(LEASE_MS + GRACE_MS))
          expect(['failed', 'cancelled', 'dead']).toContain((await read(first.id)).status)
          const now = await store.now()
          for (const [task, cause] of [
            [second, [first]],
            [third, [second]],
            [fourth, [second, third]],
          ] as const) {
            const over = await read(task.id)
            expect(over).toMatchObject({ status: 'cancelled', finishedAt: now })
            expect(cause.some(({ id }) => over.error?.includes(id))).toBe(true)
          }
          expect((await read(free.id)).status).toBe('queued')
        })(),
    )

    test(
      'a requested cancel cancels nobody yet: a success that wins the race still counts',
      bench(async ({ queue, running, read }) => {
        const first = await running()
        const last = await add(queue, { dependsOn: [first.id] })
        await queue.cancel(first.id, 'Not needed.')
        expect((await read(last.id)).status).toBe('queued')
        await queue.finish(reportOf(first, 'succeeded'))
        expect((await queue.claim(9, APP)).map(({ id }) => id)).toEqual([last.id])
      }),
    )

    test(
      'they are told with how each stands',
      bench(async ({ queue, other, running }) => {
        const first = await running()
        const second = await add(queue)
        const last = await add(queue, { dependsOn: [second.id, first.id, first.id] })
        const told = await other.dependencies(last.id)
        expect(told.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
          { id: first.id, status: 'running' },
          { id: second.id, status: 'queued' },
        ])
        expect(await other.dependencies(first.id)).toEqual([])
        expect(await other.dependencies('nobody')).toEqual([])
      }),
    )

    test(
      'fifty are taken and fifty-one refused',
      bench(async ({ queue, running }) => {
        const ids: string[] = []
        for (let count = 0; count < 51; count += 1) {
          const task = await running()
          await queue.finish(reportOf(task, 'succeeded'))
          ids.push(task.id)
        }
        const refusal = { code: 'BAD_INPUT', message: expect.stringContaining('51 tasks') as string }
        await expect(queue.insert(newTask({ dependsOn: ids }))).rejects.toMatchObject(refusal)
        const { task } = await queue.insert(newTask({ dependsOn: ids.slice(0, 50) }))
        expect(await queue.dependencies(task.id)).toHaveLength(50)
      }),
    )

    test(
      'a task that does not exist, of another system, or that can never succeed is refused by name',
      bench(async ({ store, queue, running }) => {
        const foreign = store.worker('a', 'elsewhere')
        await foreign.register()
        const failed = await running()
        await queue.finish(reportOf(failed, 'failed_permanent'))
        for (const id of ['nobody', (await add(foreign)).id, failed.id]) {
          const refusal = { code: 'BAD_INPUT', message: expect.stringContaining(id) as string }
          await expect(queue.insert(newTask({ dependsOn: [id] }))).rejects.toMatchObject(refusal)
        }
        expect(await queue.count('queued')).toBe(0)
        // However often another one is named before it.
        const good = (await add(queue)).id
        const dependsOn = [...Array.from({ length: 50 }, () => good), failed.id]
        await expect(queue.insert(newTask({ dependsOn }))).rejects.toMatchObject({ code: 'BAD_INPUT' })
      }),
    )
  })
}
