import { backoffMs } from '../core/backoff.ts'
import { boundedResult } from '../core/bounded-result.ts'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import { afterLostLease, afterReport, type NextStep } from '../core/lease.ts'
import type { Queue, Report } from '../core/queue.ts'
import { isFinal, type Task, type TaskStatus } from '../core/task.ts'
import { newRow, newTaskFault, toTask } from './sqlite-rows.ts'
import { prepareStatements, type QueueDatabase } from './sqlite-statements.ts'
import { nextTaskId } from './task-id.ts'

/** What the embedded queue is built from. `worker` is this daemon's name, `system` its fleet's. */
export type SqliteQueueOptions = {
  db: QueueDatabase
  system: string
  worker: string
  clock: Clock
  /** Numbers from 0 up to 1. */
  random: () => number
  /** How long a claim or a heartbeat holds; 10 minutes when left out. */
  leaseMs?: number
  /** How long after its end a lease may still be renewed before `reap` takes it; 1 minute when left out. */
  graceMs?: number
  /** How many tasks may be queued at once; 100 when left out. */
  maxQueued?: number
}

/**
 * The queue on the local database. claim, heartbeat, finish and mine throw CcmError STALE_LEASE once another
 * process has registered as the same worker, so that a report is never taken for delivered: it stays in the
 * outbox that the new process reads. insert throws BAD_INPUT or QUEUE_FULL.
 */
export function createSqliteQueue(options: SqliteQueueOptions): Queue {
  const { db, system, worker, clock, random } = options
  const { leaseMs = 10 * 60_000, graceMs = 60_000, maxQueued = 100 } = options
  const sql = prepareStatements(db)
  let epoch: number | null = null

  /** One atomic write; its thrown error becomes a rejection. Reads go without: they work on a full disk too. */
  const step = async <T>(work: () => T): Promise<T> => db.transaction(work)
  /** A step that only the newest process of this worker may take. */
  const fencedStep = async <T>(work: (epoch: number) => T): Promise<T> =>
    db.transaction(() => {
      const newest = sql.epochOf.get({ system, worker })?.epoch
      if (epoch === null || newest !== epoch) {
        throw new CcmError(
          'STALE_LEASE',
          epoch === null
            ? `Worker ${worker} has not registered with the queue yet.`
            : `Another process has registered as worker ${worker} since; this one may not write any more.`,
        )
      }
      return work(epoch)
    })

  const taskOf = (id: string): Task | null => {
    const row = sql.get.get({ system, id })
    return row === undefined ? null : toTask(row)
  }

  const countOf = (status: TaskStatus): number => sql.count.get({ system, status })?.n ?? 0

  /** Ends the newest attempt and moves the task on; for every way an attempt can end. */
  const end = (
    task: Task,
    next: NextStep,
    ending: {
      outcome: Report['outcome'] | 'lost'
      result: Report['result']
      error: string | null
      waitMs: number
    },
  ): void => {
    const now = clock()
    const over = isFinal(next.status)
    sql.endAttempt.run({
      id: task.id,
      attempt: task.attempt,
      now,
      outcome: ending.outcome,
      error: ending.error,
    })
    sql.moveOn.run({
      id: task.id,
      status: next.status,
      failures: next.failures,
      lostLeases: next.lostLeases,
      scheduledAt: over ? task.scheduledAt : now + ending.waitMs,
      result: over && ending.result !== null ? JSON.stringify(boundedResult(ending.result)) : null,
      error:
        over && next.status !== 'succeeded'
          ? (ending.error ?? `The attempt ended: ${ending.outcome}.`)
          : null,
      finishedAt: over ? now : null,
    })
  }

  const waitAfter = (task: Task, report: Report): number => {
    if (report.retryAfterMs !== null) return Math.max(0, Math.round(report.retryAfterMs))
    const released = sql.countReleased.get({ id: task.id })?.n ?? 0
    return backoffMs(report.outcome === 'released' ? released : task.failures, random)
  }

  return {
    register: () =>
      step(() => {
        epoch = sql.register.get({ system, worker, now: clock() })?.epoch ?? null
        if (epoch === null) throw new CcmError('INTERNAL', 'SQLite returned no row for an insert.')
        return epoch
      }),

    insert: (task) =>
      step(() => {
        const fault = newTaskFault(task)
        if (fault !== null) throw new CcmError('BAD_INPUT', fault)
        const alive =
          task.dedupeKey === null ? undefined : sql.alive.get({ system, dedupeKey: task.dedupeKey })
        if (alive !== undefined) return { task: toTask(alive), inserted: false }
        if (countOf('queued') >= maxQueued) {
          throw new CcmError('QUEUE_FULL', `The queue is full: ${maxQueued} tasks are waiting.`, {
            remedy: 'Wait until some have started, cancel some, or raise the bound of queued tasks.',
          })
        }
        const now = clock()
        const id = nextTaskId(now, random, sql.newestId.get({})?.id ?? null)
        const row = newRow(id, system, task, now)
        sql.insert.run(row)
        return { task: toTask(row), inserted: true }
      }),

    get: async (id) => taskOf(id),

    list: async ({ status, limit }) =>
      (status === undefined
        ? sql.list.all({ system, limit })
        : sql.listOf.all({ system, status, limit })
      ).map(toTask),

    idsByPrefix: async (prefix) => sql.idsByPrefix.all({ system, prefix }).map(({ id }) => id),

    count: async (status) => countOf(status),

    claim: (limit, projects) =>
      fencedStep((epoch) => {
        const now = clock()
        const among = JSON.stringify(projects)
        const claimed: Task[] = []
        // One by one, because each claim changes whose turn it is. At most a hundred rows are queued.
        while (claimed.length < limit) {
          const id = sql.best.get({ system, now, projects: among })?.id
          const row =
            id === undefined ? undefined : sql.claim.get({ id, worker, now, expiresAt: now + leaseMs })
          if (row === undefined) break
          sql.openAttempt.run({ id: row.id, attempt: row.attempt, worker, epoch, now })
          sql.takeTurn.run({ system, project: row.project })
          claimed.push(toTask(row))
        }
        return claimed
      }),

    heartbeat: (leases) =>
      fencedStep(() => {
        const expiresAt = clock() + leaseMs
        return leases.map(({ taskId, attempt }) => {
          const row = sql.renew.get({ system, id: taskId, attempt, worker, expiresAt })
          return row === undefined
            ? { taskId, attempt, ok: false, cancel: false, expiresAt: null }
            : { taskId, attempt, ok: true, cancel: row.cancel_requested === 1, expiresAt }
        })
      }),

    finish: (report) =>
      fencedStep(() => {
        const task = taskOf(report.taskId)
        const claim = sql.attempt.get({ id: report.taskId, attempt: report.attempt })
        if (task === null || claim === undefined) return 'unknown'
        if (claim.worker !== worker) return 'not_yours'
        if (claim.outcome !== null) return claim.outcome === report.outcome ? 'duplicate' : 'stale'
        const next = afterReport(task, report.outcome)
        const cancelReason = sql.cancelReason.get({ id: task.id })?.reason ?? null
        end(task, next, {
          outcome: report.outcome,
          result: report.result,
          error: (next.status === 'cancelled' ? cancelReason : null) ?? report.error,
          waitMs: waitAfter(task, report),
        })
        return next.status
      }),

    cancel: (id, reason) =>
      step(() => {
        const task = taskOf(id)
        if (task === null) return 'unknown'
        if (task.status === 'cancelled') return 'cancelled'
        if (isFinal(task.status)) return 'already_final'
        const why = reason.trim() === '' ? 'Cancelled.' : reason
        if (task.status === 'running') {
          sql.requestCancel.run({ id, reason: why })
          return 'requested'
        }
        sql.cancelQueued.run({ id, reason: why, now: clock() })
        return 'cancelled'
      }),

    mine: () => fencedStep(() => sql.mine.all({ system, worker }).map(toTask)),

    reap: () =>
      step(() =>
        sql.expired.all({ system, before: clock() - graceMs }).map((row) => {
          const task = toTask(row)
          const next = afterLostLease(task)
          const error =
            next.status === 'dead'
              ? `Its worker was lost ${next.lostLeases} times; the last one was ${task.worker}.`
              : (row.cancel_reason ?? `Its worker ${task.worker} was lost.`)
          end(task, next, { outcome: 'lost', result: null, error, waitMs: 0 })
          const moved = sql.get.get({ system, id: task.id })
          return moved === undefined ? task : toTask(moved)
        }),
      ),
  }
}
