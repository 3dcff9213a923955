import { rmSync } from 'node:fs'
import { sep } from 'node:path'
import type { Logger } from 'pino'
import { attemptFiles, cleanLaunch } from '../agent/launch.ts'
import { killTree } from '../agent/process-tree.ts'
import type { Attempt } from '../core/agent/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { Lease, Queue, Report } from '../core/task/queue.ts'
import type { Task } from '../core/task/task.ts'
import type { Attempts } from '../store/attempts.ts'
import { listPanes, type Pane } from '../tmux/pane.ts'
import type { TmuxServer } from '../tmux/server.ts'
import { killWindow } from '../tmux/window.ts'
import type { Deadly } from './incidents/deadly.ts'
import { isPaneOf, rootOf } from './attempts/pane-of.ts'
import type { Runner } from './attempts/runner.ts'

/**
 * Brings tasks, attempts and windows of an earlier daemon together, before anything is claimed. Returns what
 * was found, one sentence each.
 *
 * An open attempt whose window lives is watched again. One whose window is gone, or never was, is settled
 * by what it left: its events, its exit status. A running task without an attempt was claimed an instant
 * before the crash and is given back. A window without an open attempt is ended with all its processes. An attempt
 * that has killed too many daemons is ended unread.
 */
export async function adoptAll(options: {
  queue: Queue
  attempts: Attempts
  runner: Runner
  tmux: TmuxServer
  /** Folder of all state. */
  home: string
  deadly: Deadly
  clock: Clock
  logger: Logger
  /** A window that belonged to nobody was ended; a sentence. */
  stray?: (what: string) => void
}): Promise<string[]> {
  const { queue, attempts, runner, tmux, clock, home, deadly } = options
  const found: string[] = []
  const isAtWork = ({ taskId, attempt }: Attempt) => runner.agents.get(taskId)?.attempt.attempt === attempt
  const panes = (await listPanes(tmux)).filter((pane) => pane.marks.task !== undefined)
  const open = attempts.openOnes()
  // First of all: a daemon that was away for long must not lose to its own sweep.
  await queue.heartbeat(open.map(({ taskId, attempt }) => ({ taskId, attempt })))

  for (const attempt of open) {
    // Taken back before the queue could be asked; the next renewal of its lease settles whose it is.
    if (isAtWork(attempt)) continue
    const task = await queue.get(attempt.taskId)
    const pane = panes.find((candidate) => isPaneOf(candidate, attempt))
    if (pane === undefined && !attempt.folder.startsWith(home + sep)) {
      // A copied home: folder and processes of this attempt are the original's, and none of our business.
      const error = `It belongs to the home that this one was copied from (${attempt.folder}).`
      attempts.settle(released(attempt, error, 0), clock())
      found.push(
        `Task ${attempt.taskId}: its agent belongs to the home that this one was copied from; it is queued again here.`,
      )
      continue
    }
    if (task === null || task.attempt !== attempt.attempt || task.status !== 'running') {
      await endTree(pane, attempt)
      attempts.settle(released(attempt, 'The queue has gone on without it.', null), clock())
      cleanLaunch(attempt.folder)
      rmSync(attemptFiles(attempt.folder).spool, { recursive: true, force: true })
      found.push(`Task ${attempt.taskId}: its attempt ${attempt.attempt} was out of date and was ended.`)
      continue
    }
    if (deadly.is(task.id)) {
      deadly.tell(attempt)
      await endTree(pane, attempt)
      cleanLaunch(attempt.folder)
      attempts.settle(deadly.reportOf(attempt), clock(), 'deadly')
      deadly.over(task.id)
      found.push(deadly.sentenceOf(attempt))
    } else if (pane !== undefined) {
      takeBack(options, task, attempt, pane)
      const { windowName } = pane
      found.push(
        `Task ${task.id}: its agent is ${pane.dead ? 'no longer alive' : 'still at work'} in ${windowName}; taken back.`,
      )
    } else if (attempt.phase === 'claimed' || attempt.phase === 'starting') {
      await endTree(undefined, attempt)
      cleanLaunch(attempt.folder)
      attempts.settle(released(attempt, 'The daemon ended before its agent was started.', 0), clock())
      found.push(`Task ${task.id}: its agent was never started; it is queued again.`)
    } else {
      void runner.adopt(task, attempt, null)
      found.push(`Task ${task.id}: its agent is gone; what it left decides.`)
    }
  }

  for (const task of await queue.mine()) {
    if (attempts.get({ taskId: task.id, attempt: task.attempt }) !== null) continue
    const lease = { taskId: task.id, attempt: task.attempt }
    if (deadly.is(task.id)) {
      deadly.tell(lease)
      await queue.finish(deadly.reportOf(lease))
      deadly.over(task.id)
      found.push(deadly.sentenceOf(lease))
      continue
    }
    await queue.finish(released(lease, 'The daemon ended right after it claimed the task.', 0))
    found.push(`Task ${task.id}: claimed but not begun; it is queued again.`)
  }

  for (const pane of panes) {
    if (open.some((attempt) => isPaneOf(pane, attempt))) continue
    await endStray(pane, pane.marks.task ?? '', Number(pane.marks.attempt))
    const sentence = `Window ${pane.windowName} belonged to no open attempt and was ended.`
    found.push(sentence)
    options.stray?.(sentence)
  }
  return found

  /** Before it is settled: after that the next start would not look for its processes. */
  async function endTree(pane: Pane | undefined, { taskId, attempt }: Lease): Promise<void> {
    if (pane !== undefined) await endStray(pane, taskId, attempt)
    else await killTree({ rootPid: null, taskId, attempt })
  }

  async function endStray(pane: Pane, taskId: string, attempt: number): Promise<void> {
    await killTree({ rootPid: rootOf(pane), taskId, attempt })
    await killWindow(tmux, pane.windowId)
  }
}

/**
 * What can be done before the shared queue has answered: every agent that is known here and has its window is watched
 * again. Nothing is settled and nothing ended; `adoptAll` does the rest later.
 */
export async function adoptProvisionally(options: {
  attempts: Attempts
  runner: Runner
  tmux: TmuxServer
  deadly: Deadly
  /** The task as it was claimed for this attempt. */
  claimed: (attempt: Attempt) => Task | null
}): Promise<string[]> {
  const { attempts, runner, tmux } = options
  const found: string[] = []
  const panes = (await listPanes(tmux)).filter((pane) => pane.marks.task !== undefined)
  for (const attempt of attempts.openOnes()) {
    const pane = panes.find((candidate) => isPaneOf(candidate, attempt))
    const task = options.claimed(attempt)
    if (pane === undefined || task === null || runner.agents.has(attempt.taskId)) continue
    if (options.deadly.is(attempt.taskId)) continue
    takeBack(options, task, attempt, pane)
    found.push(`Task ${task.id}: its agent in ${pane.windowName} is taken back until Supabase answers.`)
  }
  return found
}

function takeBack(
  { attempts, runner, tmux }: { attempts: Attempts; runner: Runner; tmux: TmuxServer },
  task: Task,
  attempt: Attempt,
  { windowId, paneId, windowName, panePid }: Pane,
): void {
  const { pid, startedAt } = tmux.identity()
  attempts.setStarted(attempt, { serverPid: pid, serverStartedAt: startedAt, windowId, paneId, windowName })
  void runner.adopt(task, attempts.get(attempt) ?? attempt, panePid)
}

function released({ taskId, attempt }: Lease, error: string, retryAfterMs: number | null): Report {
  return { taskId, attempt, outcome: 'released', result: null, error, retryAfterMs, resume: null }
}
