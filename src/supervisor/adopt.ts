import { rmSync } from 'node:fs'
import { sep } from 'node:path'
import { attemptFiles, cleanLaunch } from '../agent/launch.ts'
import { killTree } from '../agent/process-tree.ts'
import type { Attempt } from '../core/agent/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { Lease, Queue, Report } from '../core/task/queue.ts'
import { resumeAgain } from '../core/task/resume.ts'
import type { Task } from '../core/task/task.ts'
import type { Attempts } from '../store/attempts.ts'
import { listPanes, type Pane } from '../tmux/pane.ts'
import type { TmuxServer } from '../tmux/server.ts'
import { killWindow } from '../tmux/window.ts'
import { mayHoldEvents } from './ingest/spool.ts'
import type { Deadly } from './incidents/deadly.ts'
import { isPaneOf, rootOf } from './attempts/pane-of.ts'
import type { Runner } from './attempts/runner.ts'
import { leftOf } from './attempts/until-ended.ts'
import type { Leftovers } from './leftovers.ts'

/**
 * Brings tasks, attempts and windows of an earlier daemon together, before anything is claimed. Returns what
 * was found, one sentence each.
 *
 * An open attempt whose window lives is watched again. One whose window is gone, or never was, is settled
 * by what it left: its events, its exit status. A running task without an attempt was claimed an instant
 * before the crash and is given back; one that this home knows nothing of (another one has our name, or the crash came
 * before the answer) is tried again when no agent of it can live any more. A window without an open attempt is ended
 * with all its processes. An attempt that has killed too many daemons is ended unread. None is settled before its
 * processes are gone; those that do not die hold up no other.
 */
export async function adoptAll(options: {
  queue: Queue
  attempts: Attempts
  runner: Runner
  tmux: TmuxServer
  /** Folder of all state. */
  home: string
  deadly: Deadly
  leftovers: Leftovers
  clock: Clock
  /** How long another home's agent of this lease may live on; 0: this home claimed it. */
  elsewhereMs: (lease: Lease) => number
  /** Nothing of an attempt is left but its files. */
  ended: (lease: Lease) => Promise<void>
  /** A window that belonged to nobody was ended; a sentence, and one about what is left of it. */
  stray: (what: string, left: string | null) => void
}): Promise<string[]> {
  const { queue, attempts, runner, tmux, clock, home, deadly, leftovers } = options
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
      const ended = `Task ${attempt.taskId}: its attempt ${attempt.attempt} was out of date and was ended.`
      const left = await endThen(null, attempt, pane, () => {
        attempts.settle(released(attempt, 'The queue has gone on without it.', null), clock())
        const { spool } = attemptFiles(attempt.folder)
        // What could not be stored now is stored by the next daemon.
        if (!mayHoldEvents(spool)) rmSync(spool, { recursive: true, force: true })
      })
      found.push(left === null ? ended : notOver(attempt, left))
      continue
    }
    if (deadly.is(task.id)) {
      deadly.tell(attempt)
      const left = await endThen(task, attempt, pane, () => {
        attempts.settle(deadly.reportOf(attempt), clock(), 'deadly')
        deadly.over(task.id)
      })
      found.push(left === null ? deadly.sentenceOf(attempt) : notOver(attempt, left))
    } else if (pane !== undefined) {
      takeBack(options, task, attempt, pane)
      const { windowName } = pane
      found.push(
        `Task ${task.id}: its agent is ${pane.dead ? 'no longer alive' : 'still at work'} in ${windowName}; taken back.`,
      )
    } else if (attempt.phase === 'claimed' || attempt.phase === 'starting') {
      const ended = `Task ${task.id}: its agent was never started; it is queued again.`
      const report = {
        ...released(attempt, 'The daemon ended before its agent was started.', 0),
        resume: resumeAgain(task, 0),
      }
      const left = await endThen(task, attempt, pane, () => attempts.settle(report, clock()))
      found.push(left === null ? ended : notOver(attempt, left))
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
    const waitMs = options.elsewhereMs(lease)
    const why =
      waitMs === 0
        ? 'The daemon ended right after it claimed the task.'
        : 'It was claimed under the name of this worker, and its home knows nothing of it: the agent of another home may live on.'
    await queue.finish({ ...released(lease, why, waitMs), resume: resumeAgain(task, waitMs) })
    found.push(
      waitMs === 0
        ? `Task ${task.id}: claimed but not begun; it is queued again.`
        : `Task ${task.id}: claimed under the name of this worker, and this home knows nothing of it; by another home perhaps, whose agent may live on: it is queued again, and starts in ${Math.ceil(waitMs / 1000)} s at the earliest.`,
    )
  }

  for (const pane of panes) {
    if (open.some((attempt) => isPaneOf(pane, attempt))) continue
    const lease = { taskId: pane.marks.task ?? '', attempt: Number(pane.marks.attempt) }
    const left = await endTree(pane, lease)
    if (left !== null) leftovers.end(lease, () => undefined)
    const sentence = `Window ${pane.windowName} belonged to no open attempt and was ended.`
    found.push(left === null ? sentence : `${sentence} ${left}`)
    options.stray(sentence, left)
  }
  return found

  /** Settles an attempt when nothing of it is left, `task` null: that is no longer ours. Answers what is left now. */
  async function endThen(
    task: Task | null,
    attempt: Attempt,
    pane: Pane | undefined,
    settle: () => void,
  ): Promise<string | null> {
    const clean = () => {
      cleanLaunch(attempt.folder)
      settle()
    }
    const left = await endTree(pane, attempt)
    if (left === null) clean()
    else if (task === null) leftovers.end(attempt, clean)
    else leftovers.hold(task, attempt, clean)
    return left
  }

  /**
   * Before it is settled: after that the next start would not look for its processes. Answers what is left of them; until
   * nothing is, the window stays with its marks.
   */
  async function endTree(pane: Pane | undefined, { taskId, attempt }: Lease): Promise<string | null> {
    const left = await leftOf(
      killTree({ rootPid: pane === undefined ? null : rootOf(pane), taskId, attempt }),
    )
    if (pane !== undefined && left === null) await killWindow(tmux, pane.windowId)
    if (left === null) await options.ended({ taskId, attempt })
    return left
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

function notOver({ taskId, attempt }: Lease, left: string): string {
  return `Task ${taskId}: its attempt ${attempt} is not over, for processes of it are left. ${left}`
}

function released({ taskId, attempt }: Lease, error: string, retryAfterMs: number | null): Report {
  return { taskId, attempt, outcome: 'released', result: null, error, retryAfterMs, resume: null }
}
