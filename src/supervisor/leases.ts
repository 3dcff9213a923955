import type { Logger } from 'pino'
import type { Queue } from '../core/queue.ts'
import type { StartPulse } from './beats.ts'
import type { Runner } from './runner.ts'

/**
 * Renews the leases of all running agents in one call, and ends those that the queue has given away or
 * cancelled. A renewal that fails kills nobody: with an embedded queue nobody else can have the task.
 */
export function createLeaseKeeper(options: {
  queue: Queue
  runner: Runner
  everyMs: number
  logger: Logger
  pulse?: StartPulse
}): { renew: () => Promise<void>; close: () => void } {
  const { queue, runner, logger } = options

  let running: Promise<unknown> = Promise.resolve()
  const pulse = options.pulse?.('leases', () => running)

  function renew(): Promise<void> {
    const work = renewAll()
    running = Promise.allSettled([running, work])
    return work
  }

  async function renewAll(): Promise<void> {
    const leases = [...runner.agents.values()].map(({ task }) => ({ taskId: task.id, attempt: task.attempt }))
    if (leases.length === 0) return
    for (const { taskId, attempt, ok, cancel } of await queue.heartbeat(leases)) {
      // Another attempt of the task may run by now.
      if (runner.agents.get(taskId)?.attempt.attempt !== attempt) continue
      if (!ok) runner.end(taskId, endedBy('lost_lease', 'The queue gave the task to another attempt.'))
      else if (cancel) runner.end(taskId, endedBy('cancelled', 'Cancelled.'))
    }
  }

  const timer = setInterval(() => {
    renew().catch((err: unknown) =>
      logger.warn({ err }, 'the leases could not be renewed; it is tried again'),
    )
  }, options.everyMs)
  return {
    renew,
    close: () => {
      pulse?.close()
      clearInterval(timer)
    },
  }
}

/** The end of an attempt that a person or the queue decided. */
export function endedBy(
  kind: 'cancelled' | 'lost_lease' | 'drain' | 'budget',
  error: string,
): {
  outcome: 'cancelled' | 'released' | 'failed_permanent'
  kind: string
  error: string
  message: string
  retryAfterMs: number | null
} {
  const outcomes = { cancelled: 'cancelled', budget: 'failed_permanent' } as const
  const outcome = kind === 'cancelled' || kind === 'budget' ? outcomes[kind] : 'released'
  return { outcome, kind, error, message: '', retryAfterMs: kind === 'drain' ? 0 : null }
}
