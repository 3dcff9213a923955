import { PLAIN_TASK, type ListedTask, type Task } from '../../core/task/task.ts'
import type { NotedCancel } from '../../store/noted-cancels.ts'
import type { SharedTasks } from '../../store/shared-tasks.ts'
import type { HandOver } from './hand-over.ts'
import { createLastSeen } from './last-seen.ts'

/** What this machine knows of the queue's own tasks while the queue does not answer. */
export type KnownTasks = {
  /** The queue answered with these. */
  note: (tasks: readonly (Task | ListedTask)[]) => void
  get: (id: string) => Task | null
  /** Those that run here, and those that are to be cancelled. */
  list: () => Task[]
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => string[]
}

/** From what was claimed here, what was answered last, and the cancels that wait. */
export function createKnownTasks(
  kept: Pick<SharedTasks, 'newest' | 'running' | 'idsByPrefix'>,
  handOver: Pick<HandOver, 'noted' | 'allNoted'>,
): KnownTasks {
  const lastSeen = createLastSeen()

  function get(id: string): Task | null {
    const claimed = kept.newest(id)
    if (claimed !== null) return claimed
    const noted = handOver.noted(id)
    const listed = lastSeen.get(id) ?? noted?.task ?? null
    if (listed !== null) return { ...listed, result: null }
    return noted === null ? null : strangeTask(noted)
  }

  return {
    note: lastSeen.note,
    get,
    list() {
      const tasks = new Map(kept.running().map((task) => [task.id, task]))
      for (const { taskId } of handOver.allNoted()) {
        const task = tasks.has(taskId) ? null : get(taskId)
        if (task !== null) tasks.set(taskId, task)
      }
      return [...tasks.values()]
    },
    idsByPrefix(prefix, projects) {
      const noted = handOver
        .allNoted()
        .map(({ taskId }) => taskId)
        .filter((id) => id.startsWith(prefix))
        // Of one that is not known no project is.
        .filter((id) => projects?.includes(get(id)?.project ?? '') ?? true)
      return [...kept.idsByPrefix(prefix, projects), ...lastSeen.idsByPrefix(prefix, projects), ...noted]
    },
  }
}

/** A task of which this machine knows no more than that it is to be cancelled. */
function strangeTask({ taskId, at }: NotedCancel): Task {
  return {
    ...PLAIN_TASK,
    id: taskId,
    project: '',
    prompt: 'This machine does not know the task while Supabase does not answer.',
    source: 'api',
    status: 'queued',
    attempt: 0,
    worker: null,
    failures: 0,
    lostLeases: 0,
    scheduledAt: at,
    resumeWorker: null,
    resumeUntil: null,
    claudeSessionId: null,
    cancelRequested: true,
    leaseExpiresAt: null,
    result: null,
    error: null,
    createdAt: at,
    startedAt: null,
    finishedAt: null,
  }
}
