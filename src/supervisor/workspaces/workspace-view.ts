import { shellQuote } from '../../agent/shell.ts'
import { toWorkspaceJson, type WorkspaceJson, type Worktree } from '../../core/task/workspace.ts'

/** How the note begins that says why a tree stays. */
export const KEPT = 'Its tree stays'

/** The notes of a tree with the newest reason why it stays. */
export function withKept(notes: readonly string[], { tree }: Worktree, why: string): string[] {
  return [...notes.filter((note) => !note.startsWith(KEPT)), `${KEPT} (${tree}): ${why}`]
}

/** A tree that is about to go is no place to look for anything. */
export function viewOf(worktree: Worktree): WorkspaceJson {
  const json = toWorkspaceJson(worktree)
  if (worktree.phase !== 'committed') return json
  return { ...json, dir: null, branch: worktree.commit === null ? null : worktree.branch }
}

/** The command that brings a tree back that is about to go; undefined for one that stays. */
export function reopenOf(worktree: Worktree): string | undefined {
  if (worktree.phase !== 'committed') return undefined
  const target =
    worktree.commit === null
      ? `--detach ${shellQuote(worktree.tree)} ${worktree.base}`
      : `${shellQuote(worktree.tree)} ${worktree.branch}`
  return `git -C ${shellQuote(worktree.top)} worktree add ${target}`
}

/** What became of a tree, as the second half of a sentence. */
export function endSentence({ phase, tree, branch, commit, notes }: Worktree): string {
  if (phase === 'kept') return notes.at(-1) ?? `its tree ${tree} stays.`
  return commit === null
    ? 'its tree is gone; nothing was changed.'
    : `its tree is gone; the work is on ${branch}.`
}

/** The workspace of an attempt that works in the directory itself. */
export function inPlace(dir: string): WorkspaceJson {
  return {
    kind: 'in_place',
    dir,
    branch: null,
    base: null,
    commit: null,
    left_out: [],
    ignored: [],
    notes: [],
  }
}
