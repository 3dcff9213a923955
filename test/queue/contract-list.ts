import { describe, expect, test } from 'vitest'
import { placeOf, TASK_SORTS, type TaskQuery, type TaskSort } from '../../src/core/task/task-list.ts'
import type { ListedTask, TaskStatus } from '../../src/core/task/task.ts'
import { RESULT, from, newTask, reportOf, type Bench, type BenchRunner } from './bench.ts'

const PROJECTS = ['x', 'y', 'z']
const LONG = 'ä😀'.repeat(200)

/** Thirty tasks of three projects, of every kind but dead, many alike in what they are ordered by. */
async function fill({ store, queue }: Bench): Promise<void> {
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 4; n++) {
      await queue.insert(newTask({ project: PROJECTS[n % 3] ?? '', priority: n % 2, prompt: LONG }))
    }
    const claimed = await queue.claim(4, from(PROJECTS))
    await store.advance(round % 2)
    for (const [n, task] of claimed.entries()) {
      if (n === 1) await queue.finish(reportOf(task, 'failed_permanent', { error: 'Impossible.' }))
      else if (n !== 0) await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))
    }
  }
  for (let n = 0; n < 6; n++)
    await queue.insert(newTask({ project: PROJECTS[n % 3] ?? '', priority: [5, -5, 0][n % 3] ?? 0 }))
}

/** The whole of a list by its promises alone, from all tasks. */
function expected(all: ListedTask[], sort: TaskSort, status?: TaskStatus, projects?: string[]): string[] {
  const way = sort.startsWith('-') ? -1 : 1
  const order = (a: ListedTask, b: ListedTask): number =>
    way * ((placeOf(a, sort).key ?? 0) - (placeOf(b, sort).key ?? 0) || (a.id < b.id ? -1 : 1))
  return all
    .filter((task) => status === undefined || task.status === status)
    .filter(({ project }) => projects === undefined || projects.includes(project))
    .filter((task) => !sort.endsWith('priority') || task.status === 'queued')
    .filter(({ finishedAt }) => !sort.endsWith('finished_at') || finishedAt !== null)
    .toSorted(order)
    .map(({ id }) => id)
}

/** Lists: their orders, their pages, and how little of each task they read. */
export function listContract(bench: BenchRunner): void {
  describe('lists', () => {
    test(
      'each order has each task that it promises, once, in pages of any size, whatever it is narrowed to',
      bench(async (stage) => {
        await fill(stage)
        const { other } = stage
        const all = await other.list({ limit: 1000 })
        const counts = Map.groupBy(all, ({ status }) => status)
        expect(
          ['queued', 'running', 'succeeded', 'failed'].map(
            (status) => counts.get(status as TaskStatus)?.length,
          ),
        ).toEqual([6, 5, 10, 5])
        for (const sort of TASK_SORTS) {
          for (const status of [undefined, 'queued', 'running', 'succeeded', 'failed'] as const) {
            for (const projects of [undefined, ['x'], ['z', 'x'], ['none']]) {
              const query: Omit<TaskQuery, 'limit'> = {
                sort,
                ...(status !== undefined && { status }),
                ...(projects !== undefined && { projects }),
              }
              const paged: string[] = []
              for (let after: TaskQuery['after'], more = true; more;) {
                const page = await other.list({ ...query, limit: 3, ...(after !== undefined && { after }) })
                paged.push(...page.map(({ id }) => id))
                const last = page.at(-1)
                more = page.length === 3
                if (last !== undefined) after = placeOf(last, sort)
              }
              expect({ ...query, paged }).toEqual({ ...query, paged: expected(all, sort, status, projects) })
            }
          }
        }
      }),
      // Hundreds of calls, to a real project each over the internet.
      300_000,
    )

    test(
      'a task of a list is the task without its result, and of its prompt only the beginning',
      bench(async ({ queue, running, read }) => {
        const task = await running(queue, { prompt: LONG })
        await queue.finish(reportOf(task, 'succeeded', { result: RESULT }))
        const { result, prompt, ...rest } = await read(task.id)
        expect([result, prompt]).toEqual([RESULT, LONG])
        expect(await queue.list({ limit: 1 })).toEqual([{ ...rest, prompt: 'ä😀'.repeat(100) }])
      }),
    )
  })
}
