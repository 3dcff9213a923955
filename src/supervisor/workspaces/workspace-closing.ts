import { type Committed, commitMessage, commitTree } from '../../agent/workspace-commit.ts'
import { deleteBranch, removeTree, whyInUse } from '../../agent/workspace-remove.ts'
import type { Task } from '../../core/task/task.ts'
import type { Worktree } from '../../core/task/workspace.ts'
import type { Worktrees } from '../../store/worktrees.ts'
import { KEPT, withKept } from './workspace-view.ts'

/** The last steps of a worktree: its work is committed to its branch, then the tree is removed. */
export type Closing = {
  commit: (
    worktree: Worktree,
    task: Pick<Task, 'id' | 'prompt'>,
  ) => Promise<{ now: Worktree; done: Committed }>
  /** Only of a tree that is committed. A tree that somebody uses stays, and its row says why. */
  remove: (worktree: Worktree) => Promise<Worktree>
}

/** Each step is in the row before the next is taken. */
export function createClosing(worktrees: Pick<Worktrees, 'put'>): Closing {
  /** Commits; the row knows it before anything is removed. */
  async function commit(
    worktree: Worktree,
    task: Pick<Task, 'id' | 'prompt'>,
  ): Promise<{ now: Worktree; done: Committed }> {
    const done = await commitTree(worktree, {
      message: commitMessage(task),
      keepOut: worktree.placed.map((path) => worktree.prefix + path),
    })
    const inUse = done.mustStay ?? (await whyInUse(worktree))
    const notes = [...new Set([...worktree.notes, ...done.notes])]
    const now = worktrees.put({
      ...worktree,
      phase: inUse === null ? 'committed' : 'kept',
      commit: done.commit === worktree.base ? null : done.commit,
      ignored: done.ignored,
      notes: inUse === null ? notes : withKept(notes, worktree, inUse),
    })
    return { now, done }
  }

  async function remove(worktree: Worktree): Promise<Worktree> {
    const why = await removeTree(
      worktree,
      worktree.placed.map((path) => worktree.prefix + path),
    )
    if (why !== null)
      return worktrees.put({ ...worktree, phase: 'kept', notes: withKept(worktree.notes, worktree, why) })
    // Nothing was changed, so there is nothing to keep a branch for.
    if (worktree.commit === null) await deleteBranch(worktree.top, worktree.branch, worktree.base)
    return worktrees.put({
      ...worktree,
      phase: 'closed',
      notes: worktree.notes.filter((note) => !note.startsWith(KEPT)),
    })
  }

  return { commit, remove }
}
