import { once } from 'node:events'
import type { Logger } from 'pino'
import { endedBy } from '../../agent/agent-end.ts'
import { CcmError } from '../../core/errors.ts'
import type { Queue } from '../../core/task/queue.ts'
import type { StartPulse } from '../loops/beats.ts'
import type { Fence } from '../shared/fence.ts'
import type { Runner } from './runner.ts'

/** How many looks at the fence there are in the time between two renewals, at least. */
const LOOKS = 6
const LOOK_MS = 5000
/** How long agents whose deadline has passed live on for the answer to a last renewal; of the quarter left for their end. */
const ANSWER_MS = 10_000
const ANSWER_SHARE = 0.1

/**
 * Renews the leases of all running agents in one call, and ends those that the queue has given away or
 * cancelled. A renewal that fails kills nobody: with an embedded queue nobody else can have the task, and with a
 * shared one (`fence`) an agent ends once its deadline has passed and a last renewal has failed.
 */
export function createLeaseKeeper(options: {
  queue: Queue
  runner: Runner
  everyMs: number
  logger: Logger
  fence?: Fence | undefined
  /** The queue gave a task of ours to another attempt. */
  lost?: () => void
  /** This process is the worker no more; a sentence. */
  replaced?: (why: string) => void
  pulse?: StartPulse
}): { renew: () => Promise<void>; close: () => void } {
  const { queue, runner, logger, fence } = options

  let running: Promise<void> = Promise.resolve()
  const pulse = options.pulse?.('leases', () => running)

  function renew(): Promise<void> {
    const work = renewAll()
    // What they came to is dropped: each would hold that of all before, 2 MB in 25 minutes of renewals.
    running = Promise.allSettled([running, work]).then(() => undefined)
    return work
  }

  async function renewAll(): Promise<void> {
    const leases = [...runner.agents.values()].map(({ task }) => ({ taskId: task.id, attempt: task.attempt }))
    // Others see by it that this worker lives.
    if (leases.length === 0 && fence === undefined) return
    const replies = await queue.heartbeat(leases).catch((error: unknown) => {
      // Another daemon has taken this worker's name and everything it held.
      if (error instanceof CcmError && error.code === 'STALE_LEASE') {
        options.replaced?.(error.message)
        for (const { taskId } of leases)
          runner.end(taskId, endedBy('lost_lease', 'Another daemon works under the name of this worker.'))
      }
      throw error
    })
    for (const { taskId, attempt, ok, cancel } of replies) {
      // Another attempt of the task may run by now.
      if (runner.agents.get(taskId)?.attempt.attempt !== attempt) continue
      if (!ok) options.lost?.()
      if (!ok) runner.end(taskId, endedBy('lost_lease', 'The queue gave the task to another attempt.'))
      else if (cancel) runner.end(taskId, endedBy('cancelled', 'Cancelled.'))
    }
  }

  let renewing: Promise<void> | null = null
  /** A call that waits for its answer is not helped by a second one. */
  function beat(): Promise<void> {
    renewing ??= renew()
      .catch((err: unknown) => logger.warn({ err }, 'the leases could not be renewed; it is tried again'))
      .finally(() => (renewing = null))
    return renewing
  }

  async function look(): Promise<void> {
    if (fence === undefined) return
    const over = () => [...runner.agents.values()].filter(({ attempt }) => fence.isOver(attempt))
    if (over().length === 0) return
    // After a sleep of the machine its leases may still be ours; what was asked before the sleep does not tell.
    const renewed = async () => {
      await renewing
      if (over().length > 0) await beat()
    }
    const late = AbortSignal.timeout(Math.min(ANSWER_MS, fence.leaseMs * ANSWER_SHARE))
    await Promise.race([renewed(), once(late, 'abort')])
    for (const { task } of over())
      runner.end(
        task.id,
        endedBy('lost_lease', 'Supabase did not answer for so long that another worker may take the task.'),
      )
  }

  const timer = setInterval(() => void beat(), options.everyMs)
  const looks = setInterval(() => void look(), Math.min(LOOK_MS, options.everyMs / LOOKS))
  return {
    renew,
    close: () => {
      pulse?.close()
      clearInterval(timer)
      clearInterval(looks)
    },
  }
}
