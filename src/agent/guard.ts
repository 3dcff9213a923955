import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lease } from '../core/queue.ts'
import { shellQuote } from './shell.ts'
import { scopeName } from './scope.ts'

/**
 * Keeps promise 4 of a shared queue, at most one living agent a task: beside each agent stands a process of its own
 * that kills it once a deadline has passed, whether this daemon lives or not. Not for the embedded queue, where the
 * home's lock keeps every other worker out.
 */
export type Guard = {
  /** Seconds on the machine's boot-time clock: taken before a lease is asked for, given to `renewed` after it was granted. */
  now: () => number
  /** Moves the deadline of an attempt: its lease was granted by a request that was sent at `sentAt`. Throws what the disk does. */
  renewed: (attempt: { folder: string }, sentAt: number) => void
  /** The line of the attempt's start script that starts its guard; the deadline has to be there before. */
  line: (attempt: Lease & { folder: string }, hasScope: boolean) => string
}

/** Names of the guard's files in an attempt's folder; `fenced` is there once it has acted. */
export function guardFiles(folder: string): { deadline: string; fenced: string } {
  return { deadline: join(folder, 'deadline'), fenced: join(folder, 'fenced') }
}

/**
 * The deadline is three quarters of the lease, whole seconds. Others take a task back a minute after its lease has
 * ended, so a claim whose answer took up to a quarter of the lease and that minute is still safe.
 */
export function createGuard(options: {
  leaseMs: number
  script: string
  exitFileOf: (folder: string) => string
}): Guard {
  const forS = Math.floor((options.leaseMs * 3) / 4 / 1000)
  return {
    now: bootSeconds,
    renewed({ folder }, sentAt) {
      const { deadline } = guardFiles(folder)
      // Whole or not at all: the guard may read it at this very moment.
      writeFileSync(`${deadline}.part`, `${Math.floor(sentAt) + forS}\n`, { mode: 0o600 })
      renameSync(`${deadline}.part`, deadline)
    },
    line(attempt, hasScope) {
      const { deadline, fenced } = guardFiles(attempt.folder)
      const scope = hasScope ? scopeName(attempt) : ''
      const own = [deadline, options.exitFileOf(attempt.folder), fenced].map(shellQuote).join(' ')
      const whose = [attempt.taskId, String(attempt.attempt), scope].map(shellQuote).join(' ')
      // Nobody's child, so that it outlives whoever ends the agent's tree, and before the agent: none is without one.
      return `(/bin/sh ${shellQuote(options.script)} ${own} $$ ${whose} &)`
    },
  }
}

/** Goes on while the machine sleeps; where there is no /proc the wall clock stands in, as it does in the guard. */
function bootSeconds(): number {
  try {
    return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])
  } catch {
    return Date.now() / 1000
  }
}
