import type { Task } from '../../core/task/task.ts'

/** Counts by whom new tasks are heard of: by an event of Realtime, or by looking. */
export type Arrivals = {
  announce: (taskId: string) => void
  /** `sentAt`: before they were asked for. */
  claimed: (tasks: readonly Task[], sentAt: number) => void
  swept: () => void
  counts: () => { sweeps: number; unannounced: number }
}

/** Older announcements than that are forgotten: their tasks were claimed by others. */
const REMEMBERED = 10_000

/** `onClaimed`: rows of the queue were changed by this daemon. */
export function createArrivals(onClaimed: (sentAt: number) => void = () => undefined): Arrivals {
  const announced = new Set<string>()
  const counts = { sweeps: 0, unannounced: 0 }
  return {
    announce(taskId) {
      announced.add(taskId)
      if (announced.size > REMEMBERED) for (const oldest of announced) return void announced.delete(oldest)
    },
    claimed(tasks, sentAt) {
      if (tasks.length > 0) onClaimed(sentAt)
      for (const { id, attempt } of tasks) if (!announced.delete(id) && attempt === 1) counts.unannounced += 1
    },
    swept: () => void (counts.sweeps += 1),
    counts: () => ({ ...counts }),
  }
}
