import type { Outcome } from './queue.ts'
import type { Task, TaskStatus } from './task.ts'

/** How many agent failures make a task failed, and how many lost leases make it dead. */
const MAX_FAILURES = 3
const MAX_LOST_LEASES = 3

/** What a running task becomes; `queued` means that it will be tried again. */
export type NextStep = { status: Exclude<TaskStatus, 'running'>; failures: number; lostLeases: number }

type Counted = Pick<Task, 'failures' | 'lostLeases' | 'cancelRequested'>

/**
 * What a valid report makes of a running task. A requested cancel ends what would have been tried again;
 * an attempt that came to its own end, good or bad, wins the race against it.
 */
export function afterReport(task: Counted, outcome: Outcome): NextStep {
  const { failures, lostLeases, cancelRequested } = task
  if (outcome === 'succeeded' || outcome === 'cancelled') return { status: outcome, failures, lostLeases }
  if (outcome === 'released') {
    return { status: cancelRequested ? 'cancelled' : 'queued', failures, lostLeases }
  }
  const counted = { failures: failures + 1, lostLeases }
  if (outcome === 'failed_permanent') return { status: 'failed', ...counted }
  if (cancelRequested) return { status: 'cancelled', ...counted }
  return { status: counted.failures < MAX_FAILURES ? 'queued' : 'failed', ...counted }
}

/** What a lost lease makes of a running task. */
export function afterLostLease(task: Counted): NextStep {
  const lostLeases = task.lostLeases + 1
  const again = lostLeases < MAX_LOST_LEASES ? 'queued' : 'dead'
  return { status: task.cancelRequested ? 'cancelled' : again, failures: task.failures, lostLeases }
}
