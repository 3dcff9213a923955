import type { Queue } from '../core/task/queue.ts'
import type { QueueDatabase } from './sqlite-statements.ts'

/** Numbers about a queue, for its metrics. */
export type QueueCounts = {
  byProject: () => Promise<{ project: string; status: string; count: number }[]>
  /** Since when the oldest queued task could be claimed, ms since 1970; null when none can. */
  oldestQueuedAt: (now: number) => Promise<number | null>
}

/** Of the embedded queue: counted from indexes, without reading any task. */
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
  return {
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

/** Of a shared queue: what is alive, over all projects; what is over is its database's matter. */
export function countsOfShared(queue: Pick<Queue, 'count' | 'list'>): QueueCounts {
  return {
    byProject: () =>
      Promise.all(
        (['queued', 'running'] as const).map(async (status) => {
          return { project: 'all', status, count: await queue.count(status) }
        }),
      ),
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
