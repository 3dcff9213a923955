import type { NewTask, Task, TaskResult, TaskStatus } from './task.ts'

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
}

/**
 * What became of a report: the task's new status, or `duplicate` (this very report was taken before: safe to
 * resend for ever), `stale` (a newer attempt exists), `not_yours` or `unknown`. Only a new status changed anything.
 */
export type FinishReply = TaskStatus | 'duplicate' | 'stale' | 'not_yours' | 'unknown'

/** `cancelled`: it was queued and is over; `requested`: its worker will end it; `already_final`: too late. */
export type CancelReply = 'cancelled' | 'requested' | 'already_final' | 'unknown'

/**
 * The task queue. Every method is one atomic step on the store. Every write about an attempt is fenced: it
 * changes nothing unless worker, epoch, task and attempt are the ones of the newest claim.
 */
export type Queue = {
  /** Makes this process the worker; older epochs of the same worker are refused from now on. */
  register: () => Promise<number>
  /** Adds a task; with a dedupe key that is alive it returns that task instead, `inserted: false`. */
  insert: (task: NewTask) => Promise<{ task: Task; inserted: boolean }>
  get: (id: string) => Promise<Task | null>
  /** Newest first. */
  list: (filter: { status?: TaskStatus; limit: number }) => Promise<Task[]>
  /** Ids that start with `prefix`, at most 2: for ids by unique prefix. */
  idsByPrefix: (prefix: string) => Promise<string[]>
  count: (status: TaskStatus) => Promise<number>
  /** Claims up to `limit` tasks of these projects: status running, attempt + 1, a lease. Best first. */
  claim: (limit: number, projects: string[]) => Promise<Task[]>
  heartbeat: (leases: Lease[]) => Promise<LeaseReply[]>
  finish: (report: Report) => Promise<FinishReply>
  /** Idempotent. */
  cancel: (id: string, reason: string) => Promise<CancelReply>
  /** Running tasks this worker owns, under whatever epoch: for adoption after a restart. */
  mine: () => Promise<Task[]>
  /** Takes expired leases back: to queued, or to dead at the third lost lease. Returns the tasks it moved. */
  reap: () => Promise<Task[]>
}
