import type { Queue } from '../core/task/queue.ts'

/** More than are ever queued at once, unless somebody raised the bound far. */
const LOOKED_AT = 1000

/**
 * The tasks that the queue cancelled because `id`, which they depend on, ended without success, also those that
 * depend on them; [] while it lives and after a success. For notices only: the queue has ended them already.
 */
export async function cancelledWith(queue: Pick<Queue, 'get' | 'list'>, id: string): Promise<string[]> {
  const status = (await queue.get(id))?.status
  if (status !== 'failed' && status !== 'cancelled' && status !== 'dead') return []
  const cancelled = await queue.list({ status: 'cancelled', limit: LOOKED_AT })
  const ended = new Set([id])
  // Oldest first: a task is always newer than what it depends on.
  for (const task of cancelled.toReversed()) {
    if (task.dependsOn.some((dependency) => ended.has(dependency))) ended.add(task.id)
  }
  ended.delete(id)
  return [...ended]
}
