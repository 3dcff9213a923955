import { expect } from 'vitest'
import type { ClaimFilter, Outcome, Queue, Report } from '../../src/core/task/queue.ts'
import { PLAIN_TASK, type NewTask, type Task, type TaskResult } from '../../src/core/task/task.ts'

/** A store under test. All its queues share one clock and one set of rows. */
export type QueueStore = {
  /**
   * A new process that calls itself `name`; it has not registered yet. With a name that was used before it is
   * that worker's restart. Of the system `s` unless told.
   */
  worker: (name: string, system?: string) => Queue
  /**
   * Milliseconds since 1970 by the clock of the store itself, which stands still: only `advance` moves it, for
   * every process at once. A SQL store lets a function of the test take the place of its clock.
   */
  now: () => Promise<number>
  advance: (ms: number) => Promise<void>
  close: () => Promise<void>
}

/** What every store of the suite is built with. */
export const LEASE_MS = 600_000
export const GRACE_MS = 60_000
export const MAX_QUEUED = 6

/** A task as a caller asks for it. */
export function newTask(more: Partial<NewTask> = {}): NewTask {
  return {
    project: 'app',
    prompt: 'Fix it.',
    ...PLAIN_TASK,
    source: 'api',
    ...more,
  }
}

/** What a worker of these projects claims, without roles and labels of its own unless told. */
export function from(projects: string[], more: Partial<ClaimFilter> = {}): ClaimFilter {
  return { projects, roles: null, labels: [], ...more }
}

/** A report about the attempt that `task` was claimed for. */
export function reportOf(task: Task, outcome: Outcome, more: Partial<Report> = {}): Report {
  const { id: taskId, attempt } = task
  return { taskId, attempt, outcome, result: null, error: null, retryAfterMs: null, resume: null, ...more }
}

/** A result as an agent would give it. */
export const RESULT: TaskResult = {
  text: 'Done: “ä😀”.',
  tools: [],
  files: [{ path: 'a.ts', change: 'modified', added: 1, removed: 2 }],
  usage: {},
  cost_usd: null,
  duration_ms: 12,
  attempts: 1,
  claude_session_id: 'c0ffee',
  resume_command: null,
  errors: [],
}

/** A store with two registered workers, `queue` (worker a) and `other` (worker b). */
export type Bench = {
  store: QueueStore
  queue: Queue
  other: Queue
  /** Inserts a task of project `run` and claims it, for `queue` unless told otherwise. */
  running: (worker?: Queue, more?: Partial<NewTask>) => Promise<Task>
  /** Claims the same task once more. */
  claimAgain: (task: Task, worker?: Queue) => Promise<Task>
  /** The task as it is stored; throws when there is none. */
  read: (id: string) => Promise<Task>
  /** Fails when `work` leaves any row changed. */
  unchangedBy: (work: () => Promise<unknown>) => Promise<void>
}

/** Turns a test that needs a bench into one that a runner can call. */
export type BenchRunner = (work: (bench: Bench) => Promise<void>) => () => Promise<void>

/** Gives every test a store of its own, and closes it whatever happens. */
export function benchOf(open: () => Promise<QueueStore>): BenchRunner {
  return (work) => async () => {
    const store = await open()
    try {
      await work(await setUp(store))
    } finally {
      await store.close()
    }
  }
}

async function setUp(store: QueueStore): Promise<Bench> {
  const queue = store.worker('a')
  const other = store.worker('b')
  await queue.register()
  await other.register()
  const claimAgain = async (task: Task, worker: Queue = queue): Promise<Task> => {
    const [claimed] = await worker.claim(1, from([task.project]))
    expect(claimed?.id).toBe(task.id)
    return claimed ?? task
  }
  return {
    store,
    queue,
    other,
    running: async (worker = queue, more = {}) => {
      const { task } = await queue.insert(newTask({ project: 'run', ...more }))
      return claimAgain(task, worker)
    },
    claimAgain,
    read: async (id) => {
      const task = await other.get(id)
      if (task === null) throw new Error(`task ${id} is gone`)
      return task
    },
    unchangedBy: async (work) => {
      const ids = (await other.list({ limit: 1_000 })).map(({ id }) => id)
      const readAll = async (of: string[]) => Promise.all(of.map(async (id) => other.get(id)))
      const before = await readAll(ids)
      await work()
      const after = (await other.list({ limit: 1_000 })).map(({ id }) => id)
      expect(await readAll(after)).toEqual(before)
    },
  }
}
