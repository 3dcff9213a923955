import type { TaskQuery } from './task-list.ts'
import type { ListedTask, NewTask, Task, TaskResult, TaskStatus } from './task.ts'

/** How an attempt ended, as the queue counts it. */
export type Outcome =
  | 'succeeded'
  /** An agent failure that a retry may heal: crash, network, overloaded. Three of them fail the task. */
  | 'failed'
  /** A retry would end the same way: `[ERROR]`, deadline, invalid request, billing. */
  | 'failed_permanent'
  /** Not the task's fault: drain, tmux death, spawn failure, usage limit. Costs no budget. */
  | 'released'
  | 'cancelled'

/** The right to write about one attempt. */
export type Lease = { taskId: string; attempt: number }

/** `ok: false`: the attempt is no longer ours; kill its agent and write nothing more for it. */
export type LeaseReply = Lease & { ok: boolean; cancel: boolean; expiresAt: number | null }

export type Report = Lease & {
  outcome: Outcome
  result: TaskResult | null
  error: string | null
  /** For released and failed: not before this many milliseconds from now; null: the queue's own backoff. */
  retryAfterMs: number | null
  /**
   * For released and failed, when the task is tried again: this worker alone may claim it for `forMs` from
   * now, and goes on with the session. null: whoever claims it starts it fresh.
   */
  resume: { claudeSessionId: string; forMs: number } | null
}

/**
 * What became of a report: the task's new status, or `duplicate` (this very report was taken before: safe to
 * resend for ever), `stale` (a newer attempt exists), `not_yours` or `unknown`. Only a new status changed anything.
 */
export type FinishReply = TaskStatus | 'duplicate' | 'stale' | 'not_yours' | 'unknown'

/** `queued`: tried again, with fresh budgets; `queued_already`, `running`, `succeeded`: nothing to retry. */
export type RetryReply =
  | 'queued'
  | 'queued_already'
  | 'running'
  | 'succeeded'
  | 'unknown'
  /** A sentence: its dedupe key is taken by a living task, or a dependency can never succeed. */
  | { refused: string }

/** What a worker can take. A task without a role goes to any; one with labels needs all of them. */
export type ClaimFilter = {
  projects: string[]
  roles: string[] | null
  labels: string[]
  /** Ids of tasks that this worker cannot start now, because their directory is taken say. */
  except?: string[]
}

/** What the queue itself must know of a project; `maxRunning` counts over all workers, null: no limit. */
export type ProjectLimits = { name: string; maxRunning: number | null; paused: boolean }

/** `cancelled`: it was queued and is over; `requested`: its worker will end it; `already_final`: too late. */
export type CancelReply = 'cancelled' | 'requested' | 'already_final' | 'unknown'

/**
 * The task queue. Every method is one atomic step on the store. Every write about an attempt is fenced: it
 * changes nothing unless worker, epoch, task and attempt are the ones of the newest claim.
 */
export type Queue = {
  /** Makes this process the worker; older epochs of the same worker are refused from now on. */
  register: () => Promise<number>
  /**
   * Adds a task; with a dedupe key that is alive it returns that task instead, `inserted: false`. Throws
   * CcmError BAD_INPUT with a sentence for each bad field, or QUEUE_FULL with `retryAfterMs`. `held`: the queue
   * does not answer; the task is accepted on this machine, durably, and handed over when it does.
   */
  insert: (task: NewTask) => Promise<{ task: Task; inserted: boolean; held?: boolean }>
  get: (id: string) => Promise<Task | null>
  list: (filter: TaskQuery) => Promise<ListedTask[]>
  /** Ids that start with `prefix`, at most 2, of tasks of these projects; null: of all. */
  idsByPrefix: (prefix: string, projects: readonly string[] | null) => Promise<string[]>
  count: (status: TaskStatus) => Promise<number>
  /** What a task waits for or waited for; [] for an unknown task. */
  dependencies: (id: string) => Promise<{ id: string; status: TaskStatus }[]>
  configureProject: (project: ProjectLimits) => Promise<void>
  /**
   * Claims up to `limit` tasks: status running, attempt + 1, a lease. By priority, then projects in turn, then
   * scheduledAt, createdAt, id. Never: a paused project or one at its limit (skipped, not blocking), before its
   * time, an unmet dependency, what another worker has reserved or is alone to have.
   */
  claim: (limit: number, filter: ClaimFilter) => Promise<Task[]>
  heartbeat: (leases: Lease[]) => Promise<LeaseReply[]>
  /** A task that ends without success cancels all that depend on it, and what depends on those. */
  finish: (report: Report) => Promise<FinishReply>
  /** Many reports in one step; answers in their order. */
  finishMany: (reports: Report[]) => Promise<FinishReply[]>
  /** Idempotent. */
  cancel: (id: string, reason: string) => Promise<CancelReply>
  /** Running tasks this worker owns, under whatever epoch: for adoption after a restart. */
  mine: () => Promise<Task[]>
  /** Takes expired leases back: to queued, or to dead at the third lost lease. Returns the tasks it moved. */
  reap: () => Promise<Task[]>
  /** Puts a failed, cancelled or dead task back, bound or not; its attempt goes on counting. */
  retry: (id: string) => Promise<RetryReply>
  /**
   * Deletes final tasks that ended longer ago than this, at most 1000 in one call; one with a dedupe key only
   * after 7 days, one that a living task depends on never. Answers how many.
   */
  prune: (olderThanMs: number) => Promise<number>
}
