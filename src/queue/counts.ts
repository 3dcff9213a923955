import type { Queue } from '../core/task/queue.ts'
import type { ProjectCounts } from '../core/task/task-list.ts'
import type { ListedTask, TaskStatus } from '../core/task/task.ts'
import type { QueueDatabase } from './sqlite-statements.ts'

/** Numbers about a queue, for its metrics and for whoever may see some of it. */
export type QueueCounts = {
  byProject: () => Promise<{ project: string; status: string; count: number }[]>
  /** Since when the oldest queued task could be claimed, ms since 1970; null when none can. */
  oldestQueuedAt: (now: number) => Promise<number | null>
  ofProjects: (projects: readonly string[]) => Promise<ProjectCounts>
}

/** Of the embedded queue: counted from indexes, without reading any task but those that run. */
export function createQueueCounts(db: QueueDatabase, system: string): QueueCounts {
  const byProject = db.prepare<{ system: string }, { project: string; status: string; count: number }>(
    `SELECT project, status, count(*) AS count FROM tasks WHERE system = :system AND status = 'queued' GROUP BY project
     UNION ALL
     SELECT project, status, count(*) FROM tasks WHERE system = :system AND status = 'running' GROUP BY project
     UNION ALL
     SELECT project, status, count(*) FROM tasks
     WHERE system = :system AND status IN ('failed', 'cancelled', 'dead') GROUP BY project, status
     UNION ALL
     SELECT project, 'all', count(*) FROM tasks WHERE system = :system GROUP BY project`,
  )
  const oldest = db.prepare<{ system: string; now: number }, { at: number | null }>(
    `SELECT min(max(created_at, scheduled_at)) AS at FROM tasks
     WHERE system = :system AND status = 'queued' AND scheduled_at <= :now`,
  )
  const some = 'project IN (SELECT value FROM json_each(:projects))'
  const queuedOf = db.prepare<{ system: string; projects: string }, { n: number }>(
    `SELECT count(*) AS n FROM tasks WHERE system = :system AND status = 'queued' AND ${some}`,
  )
  const runningOf = db.prepare<{ system: string; projects: string }, { worker: string | null; n: number }>(
    `SELECT worker, count(*) AS n FROM tasks WHERE system = :system AND status = 'running' AND ${some} GROUP BY worker`,
  )
  return {
    async ofProjects(projects) {
      const asked = { system, projects: JSON.stringify(projects) }
      const running = runningOf.all(asked)
      return {
        queued: queuedOf.get(asked)?.n ?? 0,
        running: running.reduce((sum, { n }) => sum + n, 0),
        byWorker: new Map(running.flatMap(({ worker, n }) => (worker === null ? [] : [[worker, n]]))),
      }
    },
    byProject: async () => {
      const rows = byProject.all({ system })
      const sumOf = (name: string): number =>
        rows.reduce((sum, { project, status, count }) => {
          if (project !== name) return sum
          return status === 'all' ? sum + count : sum - count
        }, 0)
      // What succeeded is most of all, and counted as the rest.
      return rows
        .map((row) =>
          row.status === 'all' ? { ...row, status: 'succeeded', count: sumOf(row.project) } : row,
        )
        .filter(({ count }) => count > 0)
    },
    oldestQueuedAt: async (now) => oldest.get({ system, now })?.at ?? null,
  }
}

/** So many are looked through for the one that waits longest, from the oldest on. */
const LOOKED_AT = 1000
/** As the queue gives at once. */
const PAGE = 1000

/** Of a shared queue: what is alive, over all projects; what is over is its database's matter. */
export function countsOfShared(queue: Pick<Queue, 'count' | 'list'>): QueueCounts {
  return {
    byProject: () =>
      Promise.all(
        (['queued', 'running'] as const).map(async (status) => {
          return { project: 'all', status, count: await queue.count(status) }
        }),
      ),
    async ofProjects(projects) {
      const byWorker = new Map<string, number>()
      const [queued, running] = await Promise.all([
        walk(queue, 'queued', projects, () => undefined),
        walk(queue, 'running', projects, ({ worker }) => {
          if (worker !== null) byWorker.set(worker, (byWorker.get(worker) ?? 0) + 1)
        }),
      ])
      return { queued, running, byWorker }
    },
    async oldestQueuedAt(now) {
      const queued = await queue.list({ status: 'queued', sort: 'created_at', limit: LOOKED_AT })
      const since = queued.map(({ createdAt, scheduledAt }) => Math.max(createdAt, scheduledAt))
      return since.reduce<number | null>(
        (oldest, at) => (at <= now && at < (oldest ?? now) ? at : oldest),
        null,
      )
    },
  }
}

/** Sees every task of these projects with this status; answers how many there are. */
async function walk(
  queue: Pick<Queue, 'list'>,
  status: TaskStatus,
  projects: readonly string[],
  see: (task: ListedTask) => void,
): Promise<number> {
  let count = 0
  for (let after: string | undefined; ;) {
    const place = after === undefined ? {} : { after: { key: null, id: after } }
    const page = await queue.list({ status, projects, limit: PAGE, ...place })
    for (const task of page) see(task)
    count += page.length
    after = page.at(-1)?.id
    if (page.length < PAGE || after === undefined) return count
  }
}
