import type { ProjectLimits, RetryReply } from '../../src/core/task/queue.ts'
import { isFinal, type Task } from '../../src/core/task/task.ts'
import { MAX_QUEUED } from './bench.ts'

const DAY_MS = 86_400_000

/** The queue's rules said a second time, as plainly as can be: over all tasks, one at a time. */
export type Model = {
  tasks: Map<string, Task>
  limits: Map<string, ProjectLimits>
  /** When each project was served last. */
  turns: Map<string, number>
  /** What was pruned, with how it had ended. */
  gone: Map<string, Task['status']>
}

/** How a task stands, also after it was pruned; undefined: there was never such a task. */
export function standingOf({ tasks, gone }: Model, id: string): Task['status'] | undefined {
  return tasks.get(id)?.status ?? gone.get(id)
}

/** True for a task that ended, but not well: what depends on it can never start. */
export function isHopeless(status: Task['status'] | undefined): boolean {
  return status !== undefined && isFinal(status) && status !== 'succeeded'
}

/** What becomes of an insert: the task that has the key, or the code of the refusal, or null: it is added. */
export function insertOutcome(
  { tasks }: Model,
  asked: { dedupeKey: string | null; dependsOn: string[] },
): { alive: Task } | 'BAD_INPUT' | 'QUEUE_FULL' | null {
  const all = [...tasks.values()]
  const alive = all.find(({ dedupeKey, status }) => dedupeKey === asked.dedupeKey && !isFinal(status))
  if (asked.dedupeKey !== null && alive !== undefined) return { alive }
  if (asked.dependsOn.some((id) => !tasks.has(id) || isHopeless(tasks.get(id)?.status))) return 'BAD_INPUT'
  return all.filter(({ status }) => status === 'queued').length >= MAX_QUEUED ? 'QUEUE_FULL' : null
}

/** The ids a claim must take, in their order; `turns` moves on with them. */
export function claimOutcome(
  model: Model,
  asked: { worker: string; limit: number; projects: string[]; labels: string[]; now: number },
): string[] {
  const { tasks, limits, turns } = model
  const all = [...tasks.values()]
  const running = new Map<string, number>()
  for (const { project, status } of all) {
    if (status === 'running') running.set(project, (running.get(project) ?? 0) + 1)
  }
  const left = all.filter(
    (task) =>
      task.status === 'queued' &&
      asked.projects.includes(task.project) &&
      task.scheduledAt <= asked.now &&
      limits.get(task.project)?.paused !== true &&
      task.labels.every((label) => asked.labels.includes(label)) &&
      (task.onlyWorker === null || task.onlyWorker === asked.worker) &&
      (task.resumeWorker === null ||
        task.resumeWorker === asked.worker ||
        (task.resumeUntil ?? 0) <= asked.now) &&
      task.dependsOn.every((id) => standingOf(model, id) === 'succeeded'),
  )
  const ids: string[] = []
  while (ids.length < asked.limit) {
    const turnOf = ({ project }: Task): number => turns.get(project) ?? 0
    const [best] = left
      .filter(({ project }) => (running.get(project) ?? 0) < (limits.get(project)?.maxRunning ?? Infinity))
      .sort(
        (a, b) =>
          b.priority - a.priority ||
          turnOf(a) - turnOf(b) ||
          a.scheduledAt - b.scheduledAt ||
          a.createdAt - b.createdAt ||
          (a.id < b.id ? -1 : 1),
      )
    if (best === undefined) break
    left.splice(left.indexOf(best), 1)
    ids.push(best.id)
    turns.set(best.project, Math.max(0, ...turns.values()) + 1)
    running.set(best.project, (running.get(best.project) ?? 0) + 1)
  }
  return ids
}

/** What a retry is answered with. */
export function retryOutcome(model: Model, task: Task): Exclude<RetryReply, object> | 'refused' {
  if (task.status === 'queued') return 'queued_already'
  if (task.status === 'running' || task.status === 'succeeded') return task.status
  const taken = [...model.tasks.values()].some(
    ({ dedupeKey, status }) => dedupeKey !== null && dedupeKey === task.dedupeKey && !isFinal(status),
  )
  if (taken || task.dependsOn.some((id) => isHopeless(standingOf(model, id)))) return 'refused'
  return 'queued'
}

/** The ids that a prune must delete. */
export function pruneOutcome({ tasks }: Model, olderThanMs: number, now: number): string[] {
  const all = [...tasks.values()]
  const needed = new Set(all.filter(({ status }) => !isFinal(status)).flatMap(({ dependsOn }) => dependsOn))
  return all
    .filter(({ id, finishedAt, dedupeKey }) => {
      if (finishedAt === null || needed.has(id)) return false
      return finishedAt < now - (dedupeKey === null ? olderThanMs : Math.max(olderThanMs, 7 * DAY_MS))
    })
    .map(({ id }) => id)
}
