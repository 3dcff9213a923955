import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import type { Lease } from '../../core/task/queue.ts'

/**
 * Until when each agent may live without a word from the shared queue: 3/4 of the lease, counted from before the
 * claim or heartbeat was sent, by the clock that runs on while the machine sleeps. Others take the task at the end
 * of the lease at the earliest, so by then its agent is gone.
 */
export type Fence = {
  /** After that without a word from anybody no agent lives, for it has had a quarter of it to end. */
  leaseMs: number
  /** Milliseconds since the machine was started. */
  now: () => number
  /** The queue has confirmed these leases with an answer to what was sent at `sentAt` (of `now`). */
  move: (leases: readonly Lease[], sentAt: number) => void
  /** True once the deadline has passed; an attempt of which none is known has none. */
  isOver: (lease: Lease) => boolean
}

/**
 * Each deadline is kept in memory and in a file of its own, for whoever outlives this daemon: one line, milliseconds
 * since the machine was started.
 */
export function createFence(options: {
  leaseMs: number
  uptimeMs: () => number
  fileOf: (lease: Lease) => string
  logger: Logger
}): Fence {
  const { uptimeMs, fileOf, logger } = options
  const lifeMs = Math.floor((options.leaseMs * 3) / 4)
  const deadlines = new Map<string, number>()

  function deadlineOf(lease: Lease): number | null {
    return deadlines.get(fileOf(lease)) ?? readDeadline(fileOf(lease))
  }

  return {
    leaseMs: options.leaseMs,
    now: uptimeMs,
    move(leases, sentAt) {
      const deadline = Math.floor(sentAt + lifeMs)
      for (const lease of leases) {
        const file = fileOf(lease)
        // Two answers may come in the wrong order.
        if (deadline <= (deadlines.get(file) ?? 0)) continue
        deadlines.set(file, deadline)
        try {
          writeDeadline(file, deadline)
        } catch (err) {
          logger.warn({ err, taskId: lease.taskId }, 'the deadline of an agent could not be written')
        }
      }
      if (deadlines.size > 10_000) for (const [file, at] of deadlines) if (at < sentAt) deadlines.delete(file)
    },
    isOver(lease) {
      const deadline = deadlineOf(lease)
      return deadline !== null && uptimeMs() > deadline
    },
  }
}

/** In place: the block it stands in is there also when the disk is full. The guard reads until it reads it twice alike. */
function writeDeadline(file: string, deadline: number): void {
  const line = `${deadline}\n`
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const opened = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o600)
  try {
    writeSync(opened, line, 0)
    ftruncateSync(opened, line.length)
  } finally {
    closeSync(opened)
  }
}

function readDeadline(file: string): number | null {
  try {
    const text = readFileSync(file, 'utf8')
    return /^\d{1,15}\n$/.test(text) ? Number(text) : null
  } catch {
    return null
  }
}
