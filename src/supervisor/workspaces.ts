import { existsSync, mkdirSync, realpathSync } from 'node:fs'
import { join, sep } from 'node:path'
import type { Logger } from 'pino'
import { changesBetweenCommits } from '../agent/changes.ts'
import { shellQuote } from '../agent/shell.ts'
import { type Committed, commitMessage, commitTree } from '../agent/workspace-commit.ts'
import { bringFiles } from '../agent/workspace-files.ts'
import { forgetDiscarded } from '../agent/workspace-apply.ts'
import { deleteBranch, removeTree, whyInUse } from '../agent/workspace-remove.ts'
import { runSetup } from '../agent/workspace-setup.ts'
import { probeSource, type Source, uncommitted } from '../agent/workspace-source.ts'
import { addTree, commitOf, forgetTree, freeBranch, treeState } from '../agent/workspace-tree.ts'
import type { Attempt } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { FileChange, Task } from '../core/task.ts'
import { cutNames, nameSome, toWorkspaceJson, type WorkspaceJson, type Worktree } from '../core/workspace.ts'
import type { Project } from '../store/projects.ts'
import type { Worktrees } from '../store/worktrees.ts'
import type { Places } from './places.ts'

/** How long discarded work can be had back. */
const DISCARDED_MS = 30 * 86_400_000
const SETUP_MS = 10 * 60_000

/** What an attempt came to in its workspace. */
export type Ending = {
  workspace: WorkspaceJson
  files: FileChange[] | string | undefined
  reopen: string | undefined
}

/** Where tasks work: a git worktree and branch each, or the project's directory itself. */
export type Workspaces = {
  /** What a person should know before a task of this project starts, one sentence each. */
  announce: (project: Project, inPlace: boolean | null) => Promise<string[]>
  /**
   * The directory of an attempt, made if need be; a task goes on in the tree it has. Throws DIR_BUSY when another
   * agent works there in place, WORKSPACE_FAILED or SETUP_FAILED.
   */
  prepare: (
    work: { task: Task; attempt: Attempt; project: Project },
    how: { env: Record<string, string>; signal: AbortSignal; onStep: (sentence: string) => void },
  ) => Promise<string>
  /** A claimed task keeps others out of its directory from now on, where it works in place. */
  reserve: (project: Project, task: Task) => void
  /** An agent of an earlier daemon goes on in its directory. */
  takeBack: (attempt: Attempt) => void
  /** Its directory is free for the next. */
  leave: (taskId: string) => void
  /** The end of an attempt; the work is committed when it was the last one. Never throws. */
  end: (task: Task, attempt: Attempt, isLast: boolean) => Promise<Ending | null>
  /**
   * Brings the worktree of a task that is over to its end: committed, then gone. Answers a sentence when it changed
   * something. `over` is asked when nothing else can happen to the tree; its null leaves it.
   */
  close: (taskId: string, over: () => Promise<Pick<Task, 'id' | 'prompt'> | null>) => Promise<string | null>
  /** Runs one piece of work at a time for each key. */
  inTurn: <T>(key: string, work: () => Promise<T>) => Promise<T>
  /** Forgets discarded work whose time is over. */
  forgetOld: () => Promise<void>
  /** Tasks whose tree may be there. */
  there: () => Worktree[]
  view: (taskId: string) => WorkspaceJson | null
  /** Whether a queued task would work in place, as far as that can be told without asking git. */
  worksInPlace: (project: Project, task: Pick<Task, 'id' | 'inPlace'>) => boolean
}

export function createWorkspaces(deps: {
  home: string
  worktrees: Worktrees
  places: Places
  clock: Clock
  logger: Logger
}): Workspaces {
  const { worktrees, places, clock } = deps
  /** What git said of a directory last: for the claim only, which `prepare` checks. */
  const plainDirs = new Map<string, boolean>()
  const queues = new Map<string, Promise<unknown>>()

  /** One thing at a time on the tree of a task. */
  function inTurn<T>(taskId: string, work: () => Promise<T>): Promise<T> {
    const turn = (queues.get(taskId) ?? Promise.resolve()).then(work, work)
    const settled = turn
      .catch(() => undefined)
      .finally(() => queues.get(taskId) === settled && queues.delete(taskId))
    queues.set(taskId, settled)
    return turn
  }

  async function look(dir: string): Promise<Source> {
    const source = await probeSource(dir)
    plainDirs.set(dir, source.kind === 'plain')
    return source
  }

  type There = Worktree & { phase: 'making' | 'ready' | 'committed' | 'kept' }
  function isThere(worktree: Worktree | null): worktree is There {
    return worktree !== null && ['making', 'ready', 'committed', 'kept'].includes(worktree.phase)
  }

  async function planned(task: Task, project: Project): Promise<Worktree | null> {
    const known = worktrees.get(task.id)
    if (isThere(known)) return known
    if (known?.phase === 'closed' && (await commitOf(known.top, `refs/heads/${known.branch}`)) !== null)
      return known
    if (task.inPlace ?? project.inPlace) return null
    const source = await look(project.dir)
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
    // Only in this phase: nobody can have worked in what an earlier start left.
    await forgetTree(making)
    const isNew = phase === 'making'
    const [{ note }, left] = await Promise.all([
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
    how: Parameters<Workspaces['prepare']>[1],
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

  function worksInPlace(project: Project, task: Pick<Task, 'id' | 'inPlace'>): boolean {
    if (isThere(worktrees.get(task.id))) return false
    if (task.inPlace ?? project.inPlace) return true
    return plainDirs.get(project.dir) ?? !hasGitAbove(project.dir)
  }

  return {
    async announce(project, inPlace) {
      if (inPlace ?? project.inPlace) return []
      const source = await look(project.dir)
      if (source.kind === 'plain')
        return source.reason === null ? [] : [`${source.reason} The agent works in ${project.dir} itself.`]
      // Git runs the clean filters that are configured there.
      const names = project.trusted ? await uncommitted(source.top) : []
      if (names === null || names.length === 0) return []
      const count = names.length === 1 ? '1 changed file' : `${names.length} changed files`
      return [
        `${count} of ${source.top} ${names.length === 1 ? 'is' : 'are'} not in the agent's tree: ${nameSome(names)}. Commit ${names.length === 1 ? 'it' : 'them'}, or use --here.`,
      ]
    },

    prepare: ({ task, attempt, project }, how) =>
      inTurn(task.id, async () => {
        const plan = await planned(task, project)
        if (plan === null) {
          const holder = places.take(task.id, project.dir)
          if (holder === null) return project.dir
          throw new CcmError('DIR_BUSY', `Task ${holder} works in ${project.dir}, one agent at a time.`)
        }
        places.leave(task.id)
        const tree = await ensureTree(plan, how.signal)
        await setUp(tree, project, attempt, how)
        return tree.dir
      }),

    reserve(project, task) {
      if (worksInPlace(project, task)) places.take(task.id, project.dir)
    },

    takeBack({ taskId, dir }) {
      const worktree = worktrees.get(taskId)
      if (worktree === null || !isWithin(worktree.tree, dir)) places.take(taskId, dir)
    },

    leave: (taskId) => places.leave(taskId),

    end: (task, attempt, isLast) =>
      inTurn(task.id, async () => {
        const worktree = worktrees.get(task.id)
        if (worktree === null || !isWithin(worktree.tree, attempt.dir))
          return { workspace: inPlace(attempt.dir), files: undefined, reopen: undefined }
        if (!isLast || !isThere(worktree))
          return { workspace: toWorkspaceJson(worktree), files: [], reopen: undefined }
        try {
          const { now, done } = await commit(worktree, task)
          const { top, base, prefix } = now
          const files = await changesBetweenCommits(top, { from: base, to: done.commit, prefix })
          return { workspace: viewOf(now), files, reopen: reopenOf(now) }
        } catch (error) {
          deps.logger.error({ err: error, taskId: task.id }, 'the work of a task could not be committed')
          const kept = worktrees.put({
            ...worktree,
            phase: 'kept',
            notes: withKept(worktree.notes, worktree, messageOf(error)),
          })
          return { workspace: toWorkspaceJson(kept), files: messageOf(error), reopen: undefined }
        }
      }),

    close: (taskId, over) =>
      inTurn(taskId, async () => {
        const worktree = worktrees.get(taskId)
        if (!isThere(worktree)) return null
        const task = await over()
        if (task === null) return null
        try {
          const now = worktree.phase === 'committed' ? worktree : (await commit(worktree, task)).now
          const after = now.phase === 'committed' ? await remove(now) : now
          return `Task ${taskId}: ${endSentence(after)}`
        } catch (error) {
          const notes = withKept(worktree.notes, worktree, messageOf(error))
          worktrees.put({ ...worktree, phase: 'kept', notes })
          return `Task ${taskId}: its tree ${worktree.tree} stays: ${messageOf(error)}`
        }
      }),

    inTurn,
    async forgetOld() {
      for (const worktree of worktrees.discardedBefore(clock() - DISCARDED_MS)) {
        await forgetDiscarded(worktree)
        worktrees.forget(worktree.taskId)
      }
    },
    there: () => worktrees.there(),
    view: (taskId) => {
      const worktree = worktrees.get(taskId)
      return worktree === null ? null : viewOf(worktree)
    },
    worksInPlace,
  }
}

const KEPT = 'Its tree stays'

function withKept(notes: readonly string[], { tree }: Worktree, why: string): string[] {
  return [...notes.filter((note) => !note.startsWith(KEPT)), `${KEPT} (${tree}): ${why}`]
}

/** A tree that is about to go is no place to look for anything. */
function viewOf(worktree: Worktree): WorkspaceJson {
  const json = toWorkspaceJson(worktree)
  if (worktree.phase !== 'committed') return json
  return { ...json, dir: null, branch: worktree.commit === null ? null : worktree.branch }
}

function reopenOf(worktree: Worktree): string | undefined {
  if (worktree.phase !== 'committed') return undefined
  const target =
    worktree.commit === null
      ? `--detach ${shellQuote(worktree.tree)} ${worktree.base}`
      : `${shellQuote(worktree.tree)} ${worktree.branch}`
  return `git -C ${shellQuote(worktree.top)} worktree add ${target}`
}

function endSentence({ phase, tree, branch, commit, notes }: Worktree): string {
  if (phase === 'kept') return notes.at(-1) ?? `its tree ${tree} stays.`
  return commit === null
    ? 'its tree is gone; nothing was changed.'
    : `its tree is gone; the work is on ${branch}.`
}

function inPlace(dir: string): WorkspaceJson {
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

function isWithin(tree: string, dir: string): boolean {
  return dir === tree || dir.startsWith(tree + sep)
}

function hasGitAbove(dir: string): boolean {
  const parts = dir.split(sep)
  return parts.some((_, index) => existsSync(join(sep, ...parts.slice(0, index + 1), '.git')))
}
