import { backoffMs } from '../core/backoff.ts'
import { boundedResult } from '../core/task/bounded-result.ts'
import type { Clock } from '../core/clock.ts'
import { afterLostLease, afterReport, type NextStep } from '../core/task/lease.ts'
import type { FinishReply, Report } from '../core/task/queue.ts'
import type { Standing } from './sqlite-rows.ts'
import type { prepareStatements } from './sqlite-statements.ts'

/** How a task that can help nobody any more ended, as the end of a sentence. */
export const ENDED: Partial<Record<string, string>> = {
  failed: 'failed',
  cancelled: 'was cancelled',
  dead: 'is dead',
}

/** How attempts end; each call belongs into a transaction. */
export type Endings = {
  /** Takes a report in once; a second one of the same attempt changes nothing. */
  finish: (report: Report) => FinishReply
  /** Ends a running attempt whose lease is over; its task goes back, or is dead when it was lost too often. */
  lose: (row: Standing) => void
  /** Whatever waited for a task that ended without success can never start: it is over too, all the way down. */
  cancelDependents: (endedId: string, endedAs: string) => void
}

/** The endings of one system's tasks, as this worker may bring them about. */
export function createEndings(of: {
  sql: ReturnType<typeof prepareStatements>
  system: string
  worker: string
  clock: Clock
  /** Numbers from 0 up to 1. */
  random: () => number
}): Endings {
  const { sql, system, worker, clock, random } = of

  const cancelDependents = (endedId: string, endedAs: string): void => {
    const ended = [{ id: endedId, status: endedAs }]
    for (const { id: causeId, status } of ended) {
      for (const { id } of sql.waitingFor.all({ id: causeId })) {
        const reason = `Task ${causeId}, which it depends on, ${ENDED[status] ?? status}.`
        sql.cancelQueued.run({ id, reason, now: clock() })
        ended.push({ id, status: 'cancelled' })
      }
    }
  }

  /** Ends the newest attempt and moves the task on; for every way an attempt can end. */
  const end = (
    row: Standing,
    next: NextStep,
    ending: Pick<Report, 'result' | 'error' | 'resume'> & {
      outcome: Report['outcome'] | 'lost'
      waitMs: number
    },
  ): void => {
    const now = clock()
    const { id, attempt } = row
    const { outcome, result } = ending
    const { status, ...counts } = next
    const moved = { id, ...counts, released: outcome === 'released' ? 1 : 0 }
    sql.endAttempt.run({ id, attempt, now, outcome, error: ending.error })
    if (status === 'queued') {
      const { resume } = ending
      sql.putBack.run({
        ...moved,
        scheduledAt: now + ending.waitMs,
        resumeWorker: resume === null ? null : worker,
        resumeUntil: resume === null ? null : now + Math.max(0, Math.round(resume.forMs)),
        claudeSessionId: resume?.claudeSessionId ?? null,
      })
      return
    }
    sql.close.run({
      ...moved,
      status,
      result: result === null ? null : JSON.stringify(boundedResult(result)),
      error: status === 'succeeded' ? null : (ending.error ?? `The attempt ended: ${outcome}.`),
      now,
    })
    if (status !== 'succeeded') cancelDependents(id, status)
  }

  const waitAfter = (row: Standing, report: Report): number => {
    if (report.retryAfterMs !== null) return Math.max(0, Math.round(report.retryAfterMs))
    return backoffMs(report.outcome === 'released' ? row.releases : row.failures, random)
  }

  const finish = (report: Report): FinishReply => {
    const row = sql.standing.get({ system, id: report.taskId })
    if (row === undefined) return 'unknown'
    const { status, attempt } = row
    // Only what is not the newest claim of ours needs to be looked up.
    if (status !== 'running' || attempt !== report.attempt || row.worker !== worker) {
      const claim = sql.attempt.get({ id: report.taskId, attempt: report.attempt })
      if (claim === undefined) return 'unknown'
      if (claim.worker !== worker) return 'not_yours'
      return claim.outcome === report.outcome ? 'duplicate' : 'stale'
    }
    const next = afterReport(countsOf(row), report.outcome)
    end(row, next, {
      outcome: report.outcome,
      result: report.result,
      error: (next.status === 'cancelled' ? row.cancel_reason : null) ?? report.error,
      resume: report.resume,
      waitMs: waitAfter(row, report),
    })
    return next.status
  }

  const lose = (row: Standing): void => {
    const next = afterLostLease(countsOf(row))
    const error =
      next.status === 'dead'
        ? `Its worker was lost ${next.lostLeases} times; the last one was ${row.worker}.`
        : (row.cancel_reason ?? `Its worker ${row.worker} was lost.`)
    end(row, next, { outcome: 'lost', result: null, error, resume: null, waitMs: 0 })
  }

  return { finish, lose, cancelDependents }
}

function countsOf(row: Standing): Parameters<typeof afterReport>[0] {
  const { failures, lost_leases: lostLeases } = row
  return { failures, lostLeases, cancelRequested: row.cancel_requested === 1 }
}
