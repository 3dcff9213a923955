import { join } from 'node:path'
import type { Lease } from '../core/task/queue.ts'
import { scopeName } from './scope.ts'
import { shellQuote } from './shell.ts'

/**
 * The line of an attempt's start script that starts its guard: a process outside the daemon that kills the agent once
 * the deadline in the attempt's folder has passed. For a shared queue only (promise 4: at most one living agent a
 * task); of the embedded queue the home's lock keeps every other worker out.
 */
export type Guard = (attempt: Lease & { folder: string }, hasScope: boolean) => string

/**
 * Files of the guard in an attempt's folder. `deadline`: one line, milliseconds since the machine was started, moved
 * by the daemon after each good heartbeat. `fenced` is there once the guard has acted.
 */
export function guardFiles(folder: string): { deadline: string; fenced: string } {
  return { deadline: join(folder, 'deadline'), fenced: join(folder, 'fenced') }
}

/** Guards by this script; `exitFileOf` names the file that is there once an agent has ended by itself. */
export function createGuard(script: string, exitFileOf: (folder: string) => string): Guard {
  return (attempt, hasScope) => {
    const { deadline, fenced } = guardFiles(attempt.folder)
    const scope = hasScope ? scopeName(attempt) : ''
    const files = [deadline, exitFileOf(attempt.folder), fenced].map(shellQuote).join(' ')
    const whose = [attempt.taskId, String(attempt.attempt), scope].map(shellQuote).join(' ')
    // Before the agent, so that none is without one; nobody's child, so that it outlives whoever ends the agent's tree.
    return `(/bin/sh ${shellQuote(script)} ${files} $$ ${whose} &)`
  }
}
