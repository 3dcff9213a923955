import { existsSync, mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { bringFiles } from '../../agent/workspace-files.ts'
import { runSetup } from '../../agent/workspace-setup.ts'
import { type Source, uncommitted } from '../../agent/workspace-source.ts'
import { addTree, commitOf, freeBranch, treeState } from '../../agent/workspace-tree.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { CcmError } from '../../core/errors.ts'
import type { Task } from '../../core/task/task.ts'
import { cutNames, type Worktree } from '../../core/task/workspace.ts'
import type { Project } from '../../store/projects.ts'
import type { Worktrees } from '../../store/worktrees.ts'

const SETUP_MS = 10 * 60_000

/** The environment of setup commands, what ends them, and who hears that they run. */
export type SetUpOptions = {
  env: Record<string, string>
  signal: AbortSignal
  onStep: (sentence: string) => void
}

/** The first steps of a worktree. */
export type Making = {
  /** The tree a task has or will have, as a row; null: it works in the directory itself. */
  planned: (task: Task, project: Project) => Promise<Worktree | null>
  /** The tree is there, on its branch, whatever an earlier start or a person left. */
  ensureTree: (worktree: Worktree, signal: AbortSignal) => Promise<Worktree>
  /** Files are brought and the project's setup has run, once for each tree. */
  setUp: (worktree: Worktree, project: Project, attempt: Attempt, how: SetUpOptions) => Promise<void>
}

type There = Worktree & { phase: 'making' | 'ready' | 'committed' | 'kept' }
/** Whether a task's tree may be on the disk. */
export function isThere(worktree: Worktree | null): worktree is There {
  return worktree !== null && ['making', 'ready', 'committed', 'kept'].includes(worktree.phase)
}

/** Each step is in the row before the next is taken. Throws WORKSPACE_FAILED or SETUP_FAILED. */
export function createMaking(deps: {
  home: string
  worktrees: Worktrees
  /** What git says of a directory. */
  look: (dir: string) => Promise<Source>
  clock: Clock
}): Making {
  const { worktrees, clock } = deps

  async function planned(task: Task, project: Project): Promise<Worktree | null> {
    const known = worktrees.get(task.id)
    if (isThere(known)) return known
    if (known?.phase === 'closed' && (await commitOf(known.top, `refs/heads/${known.branch}`)) !== null)
      return known
    if (task.inPlace ?? project.inPlace) return null
    const source = await deps.look(project.dir)
    if (source.kind === 'plain') return null
    const tree = treePath(project.name, task.id)
    const left = known === null ? existsSync(tree) : false
    if (left)
      throw new CcmError('WORKSPACE_FAILED', `${tree} exists already, and ccm does not know what it holds.`, {
        remedy: 'Look into it and move it away.',
      })
    const worktree: Worktree = {
      taskId: task.id,
      phase: 'making',
      source: project.dir,
      top: source.top,
      tree,
      dir: join(tree, source.prefix),
      prefix: source.prefix,
      branch: await freeBranch(source.top, task.id),
      base: source.head,
      sourceRef: source.ref,
      commit: null,
      placed: [],
      isSetUp: false,
      leftOut: [],
      ignored: [],
      notes: source.hasSubmodules
        ? ['Its submodules are not in the tree; a setup command can bring them: git submodule update --init']
        : [],
      createdAt: clock(),
      changedAt: clock(),
    }
    return worktrees.put(worktree)
  }

  /** A path that nothing else makes: the project's name and the task's id hold only harmless characters. */
  function treePath(project: string, taskId: string): string {
    if (!/^[\w-]{1,64}$/.test(taskId))
      throw new CcmError('INTERNAL', 'A task id that is no name for a folder.')
    const root = join(deps.home, 'worktrees')
    mkdirSync(root, { recursive: true, mode: 0o700 })
    return join(realpathSync(root), project, taskId)
  }

  async function ensureTree(worktree: Worktree, signal: AbortSignal): Promise<Worktree> {
    const { phase } = worktree
    const state = phase === 'making' ? 'gone' : await treeState(worktree)
    if (state === 'foreign') {
      throw new CcmError(
        'WORKSPACE_FAILED',
        `${worktree.tree} is no git work tree of ${worktree.top} any more.`,
        {
          remedy: 'Look into it and move it away; the task then goes on from its branch.',
        },
      )
    }
    if (state === 'ours') return phase === 'ready' ? worktree : worktrees.put({ ...worktree, phase: 'ready' })
    const notes = [...worktree.notes]
    if (phase !== 'making' && phase !== 'closed')
      notes.push(`Somebody deleted its tree ${worktree.tree}; it went on from its branch.`)
    const making = worktrees.put({ ...worktree, phase: 'making', isSetUp: false, placed: [], notes })
    const isNew = phase === 'making'
    const [{ note }, left] = await Promise.all([
      // Only in this phase: nobody can have worked in what an earlier start left there.
      addTree(making, signal),
      isNew ? uncommitted(making.top) : null,
    ])
    const leftOut = isNew ? cutNames(left ?? []) : making.leftOut
    return worktrees.put({
      ...making,
      phase: 'ready',
      leftOut,
      notes: note === null ? notes : [...notes, note],
    })
  }

  async function setUp(
    worktree: Worktree,
    project: Project,
    attempt: Attempt,
    how: SetUpOptions,
  ): Promise<void> {
    if (worktree.isSetUp) return
    const { copy, link, setup } = project
    const brought = await bringFiles({ from: project.dir, to: worktree.dir, copy, link })
    const placed = [...new Set([...worktree.placed, ...brought.placed])]
    const now = worktrees.put({
      ...worktree,
      placed,
      notes: [...new Set([...worktree.notes, ...brought.notes])],
    })
    if (setup.length > 0) {
      how.onStep(`The setup of the project runs: ${setup.join('; ')}`)
      await runSetup({
        dir: now.dir,
        commands: setup,
        timeoutMs: project.setupTimeoutS === null ? SETUP_MS : project.setupTimeoutS * 1000,
        env: how.env,
        logFile: join(attempt.folder, 'setup.log'),
        signal: how.signal,
      })
    }
    worktrees.put({ ...now, isSetUp: true })
  }

  return { planned, ensureTree, setUp }
}
