import { describe, expect, test } from 'vitest'
import type { Task } from '../../src/core/task/task.ts'
import { GRACE_MS, LEASE_MS, from, newTask, reportOf, type BenchRunner } from './bench.ts'

const projectsOf = (tasks: Task[]): string[] => tasks.map(({ project }) => project)
const idsOf = (tasks: Task[]): string[] => tasks.map(({ id }) => id)

/** What a claim leaves alone, and whom it serves first. */
export function claimContract(bench: BenchRunner): void {
  describe('schedule', () => {
    test(
      'a task waits for its time by the clock of the queue',
      bench(async ({ store, queue }) => {
        const at = (await store.now()) + 5_000
        const { task } = await queue.insert(newTask({ scheduledAt: at }))
        expect(task.scheduledAt).toBe(at)
        await store.advance(4_999)
        expect(await queue.claim(1, from(['app']))).toEqual([])
        await store.advance(1)
        expect(idsOf(await queue.claim(1, from(['app'])))).toEqual([task.id])
      }),
    )

    test(
      'a time that has passed is now, and jumps no queue',
      bench(async ({ store, queue }) => {
        const { task: first } = await queue.insert(newTask())
        await store.advance(1_000)
        const { task } = await queue.insert(newTask({ scheduledAt: 5 }))
        expect(task.scheduledAt).toBe(await store.now())
        expect(idsOf(await queue.claim(2, from(['app'])))).toEqual([first.id, task.id])
      }),
    )
  })

  describe('projects', () => {
    test(
      'a project never runs more than its max_running, whoever claims, in one claim or many',
      bench(async ({ queue, other }) => {
        await queue.configureProject({ name: 'x', maxRunning: 2, paused: false })
        for (let count = 0; count < 5; count += 1) await queue.insert(newTask({ project: 'x' }))
        expect(await queue.claim(1, from(['x']))).toHaveLength(1)
        const both = await Promise.all([queue.claim(5, from(['x'])), other.claim(5, from(['x']))])
        expect(both.flat()).toHaveLength(1)
        expect(await other.claim(5, from(['x']))).toEqual([])
        const [running] = both.flat()
        if (running === undefined) throw new Error('nothing runs')
        const owner = running.worker === 'a' ? queue : other
        await owner.finish(reportOf(running, 'succeeded'))
        expect(await other.claim(5, from(['x']))).toHaveLength(1)
      }),
    )

    test(
      'a project at its limit is skipped and blocks nobody, whatever its priority',
      bench(async ({ queue }) => {
        await queue.configureProject({ name: 'x', maxRunning: 1, paused: false })
        for (let count = 0; count < 3; count += 1)
          await queue.insert(newTask({ project: 'x', priority: 100 }))
        await queue.insert(newTask({ project: 'y' }))
        expect(projectsOf(await queue.claim(4, from(['x', 'y'])))).toEqual(['x', 'y'])
      }),
    )

    test(
      'a limit that is lifted or lowered counts from the next claim on',
      bench(async ({ queue }) => {
        for (let count = 0; count < 4; count += 1) await queue.insert(newTask({ project: 'x' }))
        await queue.configureProject({ name: 'x', maxRunning: 2, paused: false })
        expect(await queue.claim(9, from(['x']))).toHaveLength(2)
        await queue.configureProject({ name: 'x', maxRunning: 1, paused: false })
        expect(await queue.claim(9, from(['x']))).toHaveLength(0)
        await queue.configureProject({ name: 'x', maxRunning: null, paused: false })
        expect(await queue.claim(9, from(['x']))).toHaveLength(2)
      }),
    )

    test(
      'a paused project starts nothing, and goes on where it was',
      bench(async ({ queue, running, read }) => {
        const task = await running()
        await queue.configureProject({ name: 'run', maxRunning: null, paused: true })
        const { task: next } = await queue.insert(newTask({ project: 'run' }))
        expect(await queue.claim(9, from(['run']))).toEqual([])
        expect((await queue.heartbeat([{ taskId: task.id, attempt: 1 }]))[0]?.ok).toBe(true)
        expect((await read(task.id)).status).toBe('running')
        await queue.configureProject({ name: 'run', maxRunning: null, paused: false })
        expect(idsOf(await queue.claim(9, from(['run'])))).toEqual([next.id])
      }),
    )

    test.each([0, -1, 1.5])('max_running %d is refused', (maxRunning) =>
      bench(async ({ queue }) => {
        await expect(queue.configureProject({ name: 'x', maxRunning, paused: false })).rejects.toMatchObject({
          code: 'BAD_INPUT',
        })
      })(),
    )

    test(
      'projects of equal priority are served in turn within one claim too, also after a limit is set',
      bench(async ({ store, queue }) => {
        for (const project of ['x', 'x', 'x', 'y', 'y', 'z']) {
          await queue.insert(newTask({ project }))
          await store.advance(1)
        }
        await queue.configureProject({ name: 'y', maxRunning: 9, paused: false })
        const all = from(['x', 'y', 'z'])
        expect(projectsOf(await queue.claim(4, all))).toEqual(['x', 'y', 'z', 'x'])
        expect(projectsOf(await queue.claim(2, all))).toEqual(['y', 'x'])
      }),
    )
  })

  describe('order over projects', () => {
    test(
      'a higher priority goes first, whichever project was served last',
      bench(async ({ queue }) => {
        for (const project of ['x', 'y']) await queue.insert(newTask({ project, priority: 5 }))
        await queue.insert(newTask({ project: 'x', priority: 9 }))
        await queue.insert(newTask({ project: 'x', priority: 7 }))
        const all = from(['x', 'y'])
        expect(projectsOf(await queue.claim(1, all))).toEqual(['x'])
        expect((await queue.claim(3, all)).map(({ project, priority }) => [project, priority])).toEqual([
          ['x', 7],
          ['y', 5],
          ['x', 5],
        ])
      }),
    )

    test(
      'of two projects that were never served the one whose task has been due for longer goes first',
      bench(async ({ store, queue }) => {
        const now = await store.now()
        await queue.insert(newTask({ project: 'x', scheduledAt: now + 10 }))
        await store.advance(1)
        await queue.insert(newTask({ project: 'y', scheduledAt: now + 5 }))
        await store.advance(20)
        expect(projectsOf(await queue.claim(2, from(['x', 'y'])))).toEqual(['y', 'x'])
      }),
    )

    test(
      'a claim takes from one project what the others leave of it',
      bench(async ({ queue }) => {
        for (const project of ['x', 'x', 'x', 'x', 'y']) await queue.insert(newTask({ project }))
        expect(projectsOf(await queue.claim(5, from(['x', 'y', 'z'])))).toEqual(['x', 'y', 'x', 'x', 'x'])
      }),
    )
  })

  describe('workers', () => {
    test(
      'a claim passes over the tasks it is told to leave, and they hold up no other',
      bench(async ({ queue }) => {
        const { task: first } = await queue.insert(newTask({ project: 'x', priority: 5 }))
        const { task: second } = await queue.insert(newTask({ project: 'x' }))
        const { task: other } = await queue.insert(newTask({ project: 'y' }))
        const both = from(['x', 'y'], { except: [first.id, other.id] })
        expect(idsOf(await queue.claim(9, both))).toEqual([second.id])
        expect(await queue.claim(9, both)).toEqual([])
        expect(await queue.claim(9, from(['x'], { except: [first.id] }))).toEqual([])
        expect(idsOf(await queue.claim(9, from(['x', 'y'])))).toEqual([first.id, other.id])
      }),
    )

    test(
      'a task with labels needs all of them in the worker',
      bench(async ({ queue }) => {
        const { task } = await queue.insert(newTask({ labels: ['gpu', 'eu'] }))
        for (const labels of [[], ['gpu'], ['eu', 'us'], ['gpueu'], ["gpu','eu"]]) {
          expect(await queue.claim(1, from(['app'], { labels }))).toEqual([])
        }
        expect(idsOf(await queue.claim(1, from(['app'], { labels: ['us', 'eu', 'gpu'] })))).toEqual([task.id])
      }),
    )

    test(
      'a task with a role goes to a worker of that role, or of any; one without goes to all',
      bench(async ({ queue, other }) => {
        const { task: review } = await queue.insert(newTask({ role: 'reviewer' }))
        const { task: plain } = await queue.insert(newTask())
        expect(idsOf(await queue.claim(9, from(['app'], { roles: ['tester'] })))).toEqual([plain.id])
        expect(await queue.claim(9, from(['app'], { roles: [] }))).toEqual([])
        expect(idsOf(await queue.claim(9, from(['app'], { roles: ['tester', 'reviewer'] })))).toEqual([
          review.id,
        ])
        await queue.insert(newTask({ role: 'reviewer' }))
        expect(await other.claim(9, from(['app'], { roles: null }))).toHaveLength(1)
      }),
    )

    test(
      'a task for one worker goes to no other',
      bench(async ({ queue, other }) => {
        const { task } = await queue.insert(newTask({ onlyWorker: 'b' }))
        expect(await queue.claim(9, from(['app']))).toEqual([])
        expect(idsOf(await other.claim(9, from(['app'])))).toEqual([task.id])
      }),
    )
  })

  describe('resuming', () => {
    const resume = { claudeSessionId: 'c0ffee', forMs: 60_000 }

    test.each(['released', 'failed'] as const)(
      'a task that was %s with a session is reserved for its worker, which goes on with it',
      (outcome) =>
        bench(async ({ store, queue, other, running, read, claimAgain }) => {
          const task = await running()
          await queue.finish(reportOf(task, outcome, { retryAfterMs: 0, resume }))
          expect(await read(task.id)).toMatchObject({
            status: 'queued',
            worker: null,
            resumeWorker: 'a',
            resumeUntil: (await store.now()) + 60_000,
            claudeSessionId: 'c0ffee',
          })
          await store.advance(59_999)
          expect(await other.claim(1, from(['run']))).toEqual([])
          expect(await claimAgain(task)).toMatchObject({ attempt: 2, claudeSessionId: 'c0ffee' })
        })(),
    )

    test(
      'after that time anyone may have it, and starts it fresh',
      bench(async ({ store, queue, other, running, claimAgain }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0, resume }))
        await store.advance(60_000)
        expect(await claimAgain(task, other)).toMatchObject({
          attempt: 2,
          worker: 'b',
          resumeWorker: null,
          resumeUntil: null,
          claudeSessionId: null,
        })
      }),
    )

    test(
      'a reservation outlives the process of its worker',
      bench(async ({ store, queue, running, claimAgain }) => {
        const task = await running()
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0, resume }))
        const next = store.worker('a')
        await next.register()
        expect(await claimAgain(task, next)).toMatchObject({ claudeSessionId: 'c0ffee' })
      }),
    )

    test(
      'a session is gone on with once: a report without one, a lost lease and an end forget it',
      bench(async ({ store, queue, other, running, read, claimAgain }) => {
        const forgotten = { resumeWorker: null, resumeUntil: null, claudeSessionId: null }
        let task = await running()
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0, resume }))
        task = await claimAgain(task)
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0 }))
        expect(await read(task.id)).toMatchObject(forgotten)
        task = await claimAgain(task)
        await queue.finish(reportOf(task, 'released', { retryAfterMs: 0, resume }))
        task = await claimAgain(task)
        await store.advance(LEASE_MS + GRACE_MS)
        await other.reap()
        expect(await read(task.id)).toMatchObject({ status: 'queued', ...forgotten })
        task = await claimAgain(task)
        await queue.finish(reportOf(task, 'failed_permanent', { resume }))
        expect(await read(task.id)).toMatchObject({ status: 'failed', ...forgotten })
      }),
    )
  })
}
