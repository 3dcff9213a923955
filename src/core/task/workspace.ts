/**
 * Where a task's agent worked, as the result and the API tell it; keys are the wire's. `worktree`: in a tree of
 * its own on a branch of its own. `in_place`: in the project's directory itself.
 */
export type WorkspaceJson = {
  kind: 'worktree' | 'in_place'
  /** The agent's directory; null once its tree is gone. */
  dir: string | null
  /** Branch that holds the work; null in place, and once there is none: nothing was changed, or it was merged. */
  branch: string | null
  /** Commit the tree began from, and the one that holds all of the work; null: nothing was changed. */
  base: string | null
  commit: string | null
  /** Files of the source that were changed or new and not committed: they were not in the agent's tree. */
  left_out: string[]
  /** Ignored files of the tree: on no branch, and gone with the tree. A folder ends with `/`. */
  ignored: string[]
  /** One sentence each: what a person has to know of it, why the tree is still there say. */
  notes: string[]
}

/**
 * How far a worktree got; each is written before the act it announces.
 * making: branch and tree may exist. ready: the agent may be in it. committed: all of the work is on the branch.
 * closed: the tree is gone. kept: it stays, and `notes` say why. merged, discarded: so is the branch.
 */
export type WorktreePhase = 'making' | 'ready' | 'committed' | 'closed' | 'kept' | 'merged' | 'discarded'

/** The worktree of one task, over all its attempts. Paths are absolute; times are milliseconds since 1970. */
export type Worktree = {
  taskId: string
  phase: WorktreePhase
  /** The project's directory, and the top of the work tree it is in. */
  source: string
  top: string
  /** Top of the agent's tree, and where in it the agent works; `prefix` is the way between (`''` or `a/b/`). */
  tree: string
  dir: string
  prefix: string
  branch: string
  base: string
  /** What the source was on at the start: a full ref; null: a detached HEAD. */
  sourceRef: string | null
  /** The newest commit that holds all of the work; null until there is one. */
  commit: string | null
  /** Paths below `dir` that were copied or linked into it: never committed. */
  placed: string[]
  /** True once copies, links and setup commands are done. */
  isSetUp: boolean
  leftOut: string[]
  ignored: string[]
  notes: string[]
  createdAt: number
  changedAt: number
}

/** At most this many names are kept of any list; one more entry says how many are missing. */
const NAMES_MAX = 100

/** A list cut to what a result may carry. */
export function cutNames(names: readonly string[]): string[] {
  if (names.length <= NAMES_MAX) return [...names]
  return [...names.slice(0, NAMES_MAX), `… and ${names.length - NAMES_MAX} more`]
}

/** The first names in one line, for a sentence: `a, b, c and 4 more`. */
export function nameSome(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).map((name) => (/^[\w./@+-]+$/.test(name) ? name : JSON.stringify(name)))
  return `${shown.join(', ')}${names.length > most ? ` and ${names.length - most} more` : ''}`
}

/** What the API says of a worktree. */
export function toWorkspaceJson(worktree: Worktree): WorkspaceJson {
  const { phase, base, commit } = worktree
  const isThere = phase === 'making' || phase === 'ready' || phase === 'committed' || phase === 'kept'
  const hasBranch = phase !== 'merged' && phase !== 'discarded' && (isThere || commit !== null)
  return {
    kind: 'worktree',
    dir: isThere ? worktree.dir : null,
    branch: hasBranch ? worktree.branch : null,
    base,
    commit,
    left_out: worktree.leftOut,
    ignored: worktree.ignored,
    notes: worktree.notes,
  }
}

/** How work is brought home: into the checked-out branch, as changes nobody has committed, or its branch itself. */
export const APPLY_HOW = ['merge', 'patch', 'checkout'] as const
export type ApplyHow = (typeof APPLY_HOW)[number]
