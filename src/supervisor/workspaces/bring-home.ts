import { applyWork, diffOf, discardBranch, type Work } from '../../agent/workspace-apply.ts'
import { commitMessage } from '../../agent/workspace-commit.ts'
import { deleteBranch } from '../../agent/workspace-remove.ts'
import { shellQuote } from '../../agent/shell.ts'
import { CcmError } from '../../core/errors.ts'
import type { Queue } from '../../core/task/queue.ts'
import { isFinal, type Task } from '../../core/task/task.ts'
import type { ApplyHow, Worktree } from '../../core/task/workspace.ts'
import type { Worktrees } from '../../store/worktrees.ts'
import type { Workspaces } from './workspaces.ts'

/** What came of an apply. `branch` is null when it was removed, because the source has all of it. */
export type Applied = { how: ApplyHow; commit: string; files: number; top: string; branch: string | null }

/** `commit` is the way back: it stays on `refs/ccm/discarded/<task>` for 30 days. */
export type Discarded = { commit: string; top: string; branch: string }

/** What a person does with the work of a task. Everything throws CONFLICT with the command that helps. */
export type BringHome = {
  diff: (taskId: string, stat: boolean) => Promise<string>
  apply: (taskId: string, how: ApplyHow) => Promise<Applied>
  discard: (taskId: string) => Promise<Discarded>
}

export function createBringHome(deps: {
  worktrees: Worktrees
  workspaces: Workspaces
  queue: Pick<Queue, 'get'>
  dirOf: (task: Task) => string | null
  changed: (taskId: string) => void
}): BringHome {
  const { worktrees, workspaces } = deps

  async function find(taskId: string): Promise<{ task: Task; worktree: Worktree }> {
    const task = await deps.queue.get(taskId)
    if (task === null) throw new CcmError('NOT_FOUND', `There is no task ${taskId}.`)
    const worktree = worktrees.get(taskId)
    if (worktree !== null) return { task, worktree }
    const dir = deps.dirOf(task)
    if (task.attempt === 0)
      throw conflict(`Task ${taskId} has not begun.`, `What it waits for: ccm show ${taskId}`)
    throw conflict(
      `Task ${taskId} worked in the directory itself${dir === null ? '' : `, ${dir}`}: its changes are there already.`,
      dir === null ? undefined : `git -C ${shellQuote(dir)} diff`,
    )
  }

  /** The work of a task that is over, its tree closed as far as it can be. */
  async function finished(taskId: string): Promise<{ task: Task; worktree: Worktree; work: Work }> {
    const { task, worktree: before } = await find(taskId)
    if (!isFinal(task.status)) {
      throw conflict(
        `Task ${taskId} is ${task.status}: its work is not complete.`,
        `See it so far: ccm diff ${taskId}   End it: ccm cancel ${taskId}`,
      )
    }
    if (before.phase === 'merged')
      throw conflict(`The work of task ${taskId} is merged already (${before.commit}).`)
    if (before.phase === 'discarded') {
      throw conflict(
        `The work of task ${taskId} was discarded.`,
        `To have it back: git -C ${shellQuote(before.top)} branch ${before.branch} ${before.commit}`,
      )
    }
    await workspaces.close(taskId, async () => task)
    const worktree = worktrees.get(taskId) ?? before
    const { top, branch, base, commit, sourceRef } = worktree
    if (commit === null) throw conflict(`Task ${taskId} changed nothing.`)
    return { task, worktree, work: { taskId, top, branch, base, commit, sourceRef } }
  }

  return {
    async diff(taskId, stat) {
      const { worktree } = await find(taskId)
      const { top, base, commit, phase, tree } = worktree
      const isAtWork = phase === 'ready' || (phase === 'kept' && commit === null)
      return diffOf({ top, base, commit, tree: isAtWork ? tree : null }, stat)
    },

    apply: (taskId, how) =>
      workspaces.inTurn(`apply ${taskId}`, async () => {
        const { task, worktree, work } = await finished(taskId)
        const subject = commitMessage(task).split('\n')[0] ?? ''
        const message = `Merge ${work.branch}: ${subject}\n\nccm task ${taskId}\n`
        const { commit, files } = await applyWork(work, how, message)
        const isGone =
          how === 'merge' &&
          worktree.phase === 'closed' &&
          (await deleteBranch(work.top, work.branch, commit))
        if (isGone) worktrees.put({ ...worktree, phase: 'merged', commit })
        deps.changed(taskId)
        return { how, commit, files, top: work.top, branch: isGone ? null : work.branch }
      }),

    discard: (taskId) =>
      workspaces.inTurn(`apply ${taskId}`, async () => {
        const { worktree, work } = await finished(taskId)
        if (worktree.phase !== 'closed') {
          throw conflict(
            `Its tree ${worktree.tree} is still there. ${worktree.notes.at(-1) ?? ''}`,
            `When nothing in it is needed: git -C ${shellQuote(work.top)} worktree remove --force ${shellQuote(worktree.tree)}`,
          )
        }
        const commit = (await discardBranch(work)) ?? work.commit
        worktrees.put({ ...worktree, phase: 'discarded', commit })
        deps.changed(taskId)
        return { commit, top: work.top, branch: work.branch }
      }),
  }
}

function conflict(message: string, remedy?: string): CcmError {
  return new CcmError('CONFLICT', message, remedy === undefined ? {} : { remedy })
}
