import { existsSync } from 'node:fs'
import { join, sep } from 'node:path'
import type { Logger } from 'pino'
import { changesBetweenCommits } from '../../agent/changes.ts'
import { forgetDiscarded } from '../../agent/workspace-apply.ts'
import { probeSource, type Source, uncommitted } from '../../agent/workspace-source.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { CcmError, messageOf } from '../../core/errors.ts'
import type { FileChange, Task } from '../../core/task/task.ts'
import { nameSome, toWorkspaceJson, type WorkspaceJson, type Worktree } from '../../core/task/workspace.ts'
import type { Project } from '../../store/projects.ts'
import type { Worktrees } from '../../store/worktrees.ts'
import type { Places } from './places.ts'
import { createTurns } from '../loops/turns.ts'
import { createClosing } from './workspace-closing.ts'
import { createMaking, isThere, type SetUpOptions } from './workspace-making.ts'
import { endSentence, inPlace, reopenOf, viewOf, withKept } from './workspace-view.ts'

/** How long discarded work can be had back. */
const DISCARDED_MS = 30 * 86_400_000

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
  prepare: (work: { task: Task; attempt: Attempt; project: Project }, how: SetUpOptions) => Promise<string>
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

/** Workspaces over the rows of worktrees; nothing of git runs before it is asked for. */
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
  const inTurn = createTurns()

  async function look(dir: string): Promise<Source> {
    const source = await probeSource(dir)
    plainDirs.set(dir, source.kind === 'plain')
    return source
  }

  const { planned, ensureTree, setUp } = createMaking({ home: deps.home, worktrees, look, clock })
  const { commit, remove } = createClosing(worktrees)

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

function isWithin(tree: string, dir: string): boolean {
  return dir === tree || dir.startsWith(tree + sep)
}

function hasGitAbove(dir: string): boolean {
  const parts = dir.split(sep)
  return parts.some((_, index) => existsSync(join(sep, ...parts.slice(0, index + 1), '.git')))
}
