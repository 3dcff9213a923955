import type { TaskStatus } from '../core/task/task.ts'
import type { AppDeps } from './deps.ts'

/** As the queue gives at once. */
const PAGE = 1000

/** Tasks by what counts for a credential of some projects. `byWorker`: those that run. */
export type OwnCounts = { queued: number; running: number; byWorker: ReadonlyMap<string, number> }

/** Counts the tasks of these projects, which takes longer than the count of all. */
export async function countOwn(
  { tasks }: Pick<AppDeps, 'tasks'>,
  projects: readonly string[],
): Promise<OwnCounts> {
  const each = async (status: TaskStatus, see: (worker: string | null) => void): Promise<number> => {
    let count = 0
    for (let after: string | undefined; ;) {
      const place = after === undefined ? {} : { after: { key: null, id: after } }
      const page = await tasks.list({ status, projects, limit: PAGE, ...place })
      for (const { task } of page) see(task.worker)
      count += page.length
      after = page.at(-1)?.task.id
      if (page.length < PAGE || after === undefined) return count
    }
  }
  const byWorker = new Map<string, number>()
  const [queued, running] = await Promise.all([
    each('queued', () => undefined),
    each('running', (worker) => worker !== null && byWorker.set(worker, (byWorker.get(worker) ?? 0) + 1)),
  ])
  return { queued, running, byWorker }
}
