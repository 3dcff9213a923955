import { describe, expect, test } from 'vitest'
import type { CcmError } from '../../src/core/errors.ts'
import type { Task } from '../../src/core/task/task.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, from, newTask, reportOf, type BenchRunner } from './bench.ts'

/** Adding and reading tasks. */
export function insertContract(bench: BenchRunner): void {
  describe('insert', () => {
    test(
      'stores what was asked for and nothing the caller cannot know',
      bench(async ({ store, queue, other }) => {
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
          labels: ['gpu', 'eu-1'],
          maxTokens: 200_000,
          maxCostUsd: 2.5,
          inPlace: false,
          source: 'github',
          onlyWorker: 'a',
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
          scheduledAt: await store.now(),
          resumeWorker: null,
          resumeUntil: null,
          claudeSessionId: null,
          cancelRequested: false,
          leaseExpiresAt: null,
          result: null,
          error: null,
          createdAt: await store.now(),
          startedAt: null,
          finishedAt: null,
        })
        expect(await other.get(task.id)).toEqual(task)
      }),
    )

    test.each([
      [{ prompt: ' \n' }, /empty/],
      [{ prompt: 'x'.repeat(100 * 1024 + 1) }, /100 KiB/],
      [{ prompt: 'a\0b' }, /NUL/],
      [{ priority: 101 }, /-100 to 100/],
      [{ priority: 0.5 }, /-100 to 100/],
      [{ role: 'A b' }, /role/],
      [{ labels: ['A b'] }, /labels/],
      [{ labels: Array.from({ length: 21 }, (_, index) => `l${index}`) }, /labels/],
      [{ maxTokens: 0 }, /tokens/],
      [{ maxTokens: 1.5 }, /tokens/],
      [{ maxCostUsd: 0 }, /dollars/],
      [{ maxCostUsd: Number.NaN }, /dollars/],
      [{ source: 'Some where' }, /source/],
      [{ scheduledAt: -1 }, /time/],
      [{ scheduledAt: 1e18 }, /time/],
      [{ prompt: '', priority: 1000, source: '' }, /empty.*1000.*source/],
    ])('refuses %o with a sentence', (more, message) =>
      bench(async ({ queue }) => {
        const refusal = expect.objectContaining({
          code: 'BAD_INPUT',
          message: expect.stringMatching(message),
        })
        await expect(queue.insert(newTask(more))).rejects.toThrow(refusal)
        expect(await queue.count('queued')).toBe(0)
      })(),
    )

    test(
      'keeps the bound exactly, also when many insert at once',
      bench(async ({ queue, other }) => {
        const tries = Array.from({ length: MAX_QUEUED * 2 }, (_, index) =>
          (index % 2 === 0 ? queue : other).insert(newTask({ dedupeKey: `k${index}` })),
        )
        const answers = await Promise.allSettled(tries)
        const refused = answers.filter((answer) => answer.status === 'rejected')
        const full = { reason: { code: 'QUEUE_FULL' } }
        expect(refused).toMatchObject(Array.from({ length: MAX_QUEUED }, () => full))
        expect(await queue.count('queued')).toBe(MAX_QUEUED)
        await queue.claim(1, from(['app']))
        await queue.insert(newTask())
        const refusal = await queue.insert(newTask()).catch((error: unknown) => error)
        expect(refusal).toMatchObject({ code: 'QUEUE_FULL' })
        expect((refusal as CcmError).retryAfterMs).toBeGreaterThan(0)
      }),
    )

    test(
      'never refuses a retry, a release or a reap for want of room',
      bench(async ({ store, queue, other, running }) => {
        const tasks = [await running(), await running(), await running(other)]
        for (let count = 0; count < MAX_QUEUED; count += 1) await queue.insert(newTask())
        const [failing, releasing] = tasks
        if (failing === undefined || releasing === undefined) throw new Error('no tasks')
        expect(await queue.finish(reportOf(failing, 'failed'))).toBe('queued')
        expect(await queue.finish(reportOf(releasing, 'released'))).toBe('queued')
        await store.advance(LEASE_MS + GRACE_MS)
        expect(await queue.reap()).toHaveLength(1)
        expect(await queue.count('queued')).toBe(MAX_QUEUED + 3)
      }),
    )

    test(
      'returns the living task of the same dedupe key, even when the queue is full',
      bench(async ({ queue, other }) => {
        const { task } = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        for (let count = 1; count < MAX_QUEUED; count += 1) await queue.insert(newTask())
        const again = await other.insert(newTask({ dedupeKey: 'gh:1', prompt: 'Other words.' }))
        expect(again).toEqual({ task, inserted: false })
        const [claimed] = await queue.claim(1, from(['app']))
        expect(claimed?.id).toBe(task.id)
        expect(await other.insert(newTask({ dedupeKey: 'gh:1' }))).toMatchObject({ inserted: false })
      }),
    )

    test(
      'takes a dedupe key again once its task is over',
      bench(async ({ queue }) => {
        const { task } = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        await queue.cancel(task.id, 'no')
        const again = await queue.insert(newTask({ dedupeKey: 'gh:1' }))
        expect(again.inserted).toBe(true)
        expect(again.task.id).not.toBe(task.id)
      }),
    )
  })

  describe('reading', () => {
    test(
      'lists newest first, by status, up to a limit',
      bench(async ({ queue, other }) => {
        const ids: string[] = []
        for (let count = 0; count < 4; count += 1) ids.unshift((await queue.insert(newTask())).task.id)
        await queue.claim(1, from(['app']))
        const listed = async (status: Task['status'] | undefined, limit: number): Promise<string[]> =>
          (await other.list(status === undefined ? { limit } : { status, limit })).map(({ id }) => id)
        expect(await listed(undefined, 9)).toEqual(ids)
        expect(await listed('queued', 2)).toEqual(ids.slice(0, 2))
        expect(await listed('running', 9)).toEqual(ids.slice(3))
        expect([await queue.count('queued'), await queue.count('running')]).toEqual([3, 1])
      }),
    )

    test(
      'lists by project, and page by page',
      bench(async ({ queue }) => {
        const ids: string[] = []
        for (const project of ['x', 'y', 'x', 'x'])
          ids.unshift((await queue.insert(newTask({ project }))).task.id)
        const [fourth = '', third = '', second = '', first = ''] = ids
        const listed = async (query: Parameters<typeof queue.list>[0]): Promise<string[]> =>
          (await queue.list(query)).map(({ id }) => id)
        const after = { key: null, id: third }
        expect(await listed({ projects: ['x'], limit: 9 })).toEqual([fourth, third, first])
        expect(await listed({ projects: ['x', 'y'], limit: 9 })).toEqual(ids)
        expect(await listed({ projects: ['x', 'y'], sort: 'created_at', limit: 2 })).toEqual([first, second])
        expect(await listed({ projects: [], limit: 9 })).toEqual([])
        expect(await listed({ projects: ['x'], status: 'running', limit: 9 })).toEqual([])
        expect(await listed({ after, limit: 1 })).toEqual([second])
        expect(await listed({ after, projects: ['x'], status: 'queued', limit: 9 })).toEqual([first])
        expect(await listed({ after: { key: null, id: first }, limit: 9 })).toEqual([])
      }),
    )

    test(
      'finds at most two ids by their beginning, and takes no character as a pattern',
      bench(async ({ queue }) => {
        const ids: string[] = []
        for (let count = 0; count < 3; count += 1) ids.push((await queue.insert(newTask())).task.id)
        const [first = ''] = ids
        expect(await queue.idsByPrefix(first, null)).toEqual([first])
        expect(await queue.idsByPrefix(first.slice(0, 2), null)).toHaveLength(2)
        for (const odd of ['%', '_', '*', `${first}x`, "'"])
          expect(await queue.idsByPrefix(odd, null)).toEqual([])
      }),
    )

    test(
      'finds the ids of some projects behind any number of others that begin alike',
      bench(async ({ queue }) => {
        const add = async (project: string) => (await queue.insert(newTask({ project }))).task.id
        for (let count = 0; count < 3; count += 1) await add('foreign')
        const own = await add('own')
        await add('foreign')
        const second = await add('second')
        const prefix = own.slice(0, 2)
        expect(await queue.idsByPrefix(prefix, ['own'])).toEqual([own])
        expect(await queue.idsByPrefix(prefix, ['second', 'own'])).toEqual([own, second])
        expect(await queue.idsByPrefix(prefix, ['foreign', 'second', 'own'])).toHaveLength(2)
        expect(await queue.idsByPrefix(second, ['second', 'own'])).toEqual([second])
        expect(await queue.idsByPrefix(own, ['second', 'own'])).toEqual([own])
        expect(await queue.idsByPrefix(prefix, ['none'])).toEqual([])
        expect(await queue.idsByPrefix(prefix, [])).toEqual([])
      }),
    )

    test(
      'an unknown id is null',
      bench(async ({ queue }) => {
        expect(await queue.get('nobody')).toBeNull()
      }),
    )
  })
}
