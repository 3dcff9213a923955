import { rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { type ApplyHow, nameSome } from '../core/task/workspace.ts'
import { snapshotTree } from './changes.ts'
import { type GitOptions, runGit } from './git.ts'
import { shellQuote } from './shell.ts'
import { authorOf } from './workspace-commit.ts'
import { firstLine, uncommitted } from './workspace-source.ts'
import { commitOf } from './workspace-tree.ts'

/** What is brought home, and where to: the work tree at `top`, which was on `sourceRef` when the task began. */
export type Work = {
  taskId: string
  top: string
  branch: string
  base: string
  commit: string
  sourceRef: string | null
}

const CALL_MS = 5 * 60_000
/** What a browser and a terminal can still show. */
const DIFF_MAX = 8 * 1024 * 1024

// Programs that a configuration or an attribute names for showing files do not run.
const DIFF = ['diff', '--no-ext-diff', '--no-textconv', '--no-color', '--no-renames', '--submodule=short']

/**
 * What a task changed, as `git diff` prints it (a patch that `git apply` takes), or its `--stat`. From the tree
 * where there is one, else from the commit. Throws CONFLICT when it is larger than 8 MiB.
 */
export async function diffOf(
  work: { top: string; base: string; commit: string | null; tree: string | null },
  stat: boolean,
): Promise<string> {
  const { top, base, tree } = work
  const format = stat ? ['--stat=100', '--summary'] : ['--binary', '--full-index']
  const compare = async (to: string, env: Record<string, string>) => {
    const reply = await runGit(top, [...DIFF, ...format, base, to, '--'], { timeoutMs: CALL_MS, env })
    if (reply.code !== 0 || reply.stdout.length > DIFF_MAX) {
      const isLarge = reply.code === null || reply.stdout.length > DIFF_MAX
      throw new CcmError(
        'CONFLICT',
        isLarge
          ? 'The changes are too large to show.'
          : `git could not compare them: ${firstLine(reply.stderr)}`,
        {
          remedy: `Look at them with git: git -C ${shellQuote(top)} diff ${base} ${work.commit ?? ''}`.trim(),
        },
      )
    }
    return reply.stdout
  }
  if (tree === null) return compare(work.commit ?? base, {})
  const folder = await mkdtemp(join(tmpdir(), 'ccm-diff-'))
  try {
    const now = await snapshotTree(tree, folder, { as: 'git', timeoutMs: CALL_MS })
    if (now.kind !== 'git')
      throw new CcmError('CONFLICT', now.kind === 'unknown' ? now.reason : 'It is no git tree.')
    return await compare(now.tree, { GIT_OBJECT_DIRECTORY: join(folder, 'objects') })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Brings a task's work into the source. Throws CONFLICT, with the files and the command that helps, whenever it
 * would overwrite, mix up or stop half-way: a merge is worked out apart from the work tree first, so files and
 * index are exactly as before then. Answers how many files it brought.
 */
export async function applyWork(
  work: Work,
  how: ApplyHow,
  message: string,
): Promise<{ commit: string; files: number }> {
  const { top, branch } = work
  const at = shellQuote(top)
  const git = (args: string[], more: Partial<GitOptions> = {}) =>
    runGit(top, args, { timeoutMs: CALL_MS, durable: true, ...more })
  const must = async (what: string, args: string[], more: Partial<GitOptions> = {}) => {
    const reply = await git(args, more)
    if (reply.code !== 0) throw refused(`git could not ${what}: ${firstLine(reply.stderr)}`)
    return reply.stdout
  }
  const isAncestor = async (older: string, newer: string) =>
    (await git(['merge-base', '--is-ancestor', older, newer])).code === 0

  const tip = await tipOf()
  await nothingUnderWay()
  const headRef = (await git(['symbolic-ref', '-q', 'HEAD'])).stdout.trim() || null
  const head = (await must('read HEAD', ['rev-parse', '--verify', 'HEAD^{commit}'])).trim()
  if (how !== 'checkout') sameBranch(headRef)
  const target = how === 'checkout' ? tip : await merged(head)
  const touched = list(
    await must('compare', ['diff-tree', '-r', '-z', '--name-only', '--no-renames', head, target]),
  )
  await notInTheWay(touched)

  if (how === 'checkout') {
    await must(`switch to ${branch}`, [
      'checkout',
      '--quiet',
      '--no-guess',
      '--no-overwrite-ignore',
      branch,
      '--',
    ])
  } else if (how === 'patch') {
    const patch = await must('make the patch', [...DIFF, '--binary', '--full-index', head, target, '--'])
    if (patch !== '') await must('apply the patch', ['apply', '--whitespace=nowarn', '-'], { input: patch })
  } else {
    await must('merge', ['merge', '--quiet', '--ff-only', '--no-overwrite-ignore', await mergeCommit(target)])
  }
  return { commit: tip, files: touched.length }

  /** The branch may have been added to since; it may not have been made anew. */
  async function tipOf(): Promise<string> {
    const found = await commitOf(top, `refs/heads/${branch}`)
    if (found === null) {
      throw refused(
        `The branch ${branch} is gone; the work of the task is commit ${work.commit}.`,
        `git -C ${at} branch ${branch} ${work.commit}`,
      )
    }
    if (found !== work.commit && !(await isAncestor(work.commit, found))) {
      throw refused(
        `The branch ${branch} was moved: it is at ${found.slice(0, 12)}, and the task ended with ${work.commit.slice(0, 12)}, which it does not have.`,
        `git -C ${at} branch -f ${branch} ${work.commit}   (or bring home what is there now: git -C ${at} merge ${branch})`,
      )
    }
    return found
  }

  async function nothingUnderWay(): Promise<void> {
    for (const [ref, what] of [
      ['MERGE_HEAD', 'merge'],
      ['REBASE_HEAD', 'rebase'],
      ['CHERRY_PICK_HEAD', 'cherry-pick'],
      ['REVERT_HEAD', 'revert'],
    ] as const) {
      if ((await git(['rev-parse', '--verify', '-q', ref])).code !== 0) continue
      throw refused(`A ${what} is under way in ${top}.`, `git -C ${at} ${what} --continue   (or --abort)`)
    }
  }

  function sameBranch(headRef: string | null): void {
    if (headRef === work.sourceRef && headRef !== null) return
    if (headRef === null && how === 'patch') return
    const began = work.sourceRef === null ? 'no branch' : nameOf(work.sourceRef)
    if (headRef === null) {
      throw refused(
        `${top} is on no branch (detached HEAD), where a merge would soon be lost.`,
        work.sourceRef === null
          ? `ccm apply ${work.taskId} --checkout   (or --patch)`
          : `git -C ${at} checkout ${shellQuote(began)}`,
      )
    }
    throw refused(
      `The task began on ${began}, and ${top} is on ${nameOf(headRef)} now.`,
      work.sourceRef === null
        ? `git -C ${at} merge ${branch}`
        : `git -C ${at} checkout ${shellQuote(began)}   (or merge it where you are: git -C ${at} merge ${branch})`,
    )
  }

  /** The tree of head and the work together, without touching any file. */
  async function merged(head: string): Promise<string> {
    if (await isAncestor(head, tip)) return tip
    if (await isAncestor(tip, head)) return head
    const reply = await git(['merge-tree', '--write-tree', '--name-only', '--no-messages', '-z', head, tip])
    const [tree = '', ...conflicts] = list(reply.stdout)
    if (reply.code === 0 && tree !== '') return tree
    if (reply.code !== 1)
      throw refused(
        `git could not merge them: ${firstLine(reply.stderr)}`,
        'git 2.38 or newer is needed for it.',
      )
    throw refused(
      `${conflicts.length === 1 ? 'One file was' : `${conflicts.length} files were`} changed on both sides: ${nameSome(conflicts)}. Nothing was touched.`,
      `git -C ${at} merge ${branch}   (and resolve them there), or look first: ccm diff ${work.taskId}`,
    )
  }

  async function mergeCommit(target: string): Promise<string> {
    if ((await git(['cat-file', '-t', target])).stdout.trim() === 'commit') return target
    const args = ['commit-tree', target, '-p', head, '-p', tip, '-F', '-']
    return (await must('commit the merge', args, { input: message, env: await authorOf(top) })).trim()
  }

  /** Changes of a person in files that would change are theirs; git would find some of them only half-way. */
  async function notInTheWay(paths: string[]): Promise<void> {
    const dirty = await uncommitted(top)
    if (dirty === null) throw refused(`git could not tell what is changed in ${top}.`)
    const touched = new Set(paths)
    const both = dirty.filter(
      (path) => touched.has(path) || (path.endsWith('/') && paths.some((other) => other.startsWith(path))),
    )
    if (both.length === 0) return
    throw refused(
      `${both.length === 1 ? 'A file that it changes is' : `${both.length} files that it changes are`} changed or new in ${top} and not committed: ${nameSome(both)}. Nothing was touched.`,
      `git -C ${at} stash --include-untracked   (then apply again, and git -C ${at} stash pop), or commit them.`,
    )
  }
}

/**
 * Takes a task's branch away and keeps a way back: its commit stays on `refs/ccm/discarded/<task>`. Both or
 * neither. Answers the commit, null when there was no branch. Throws CONFLICT when the branch is checked out.
 */
export async function discardBranch(work: Pick<Work, 'taskId' | 'top' | 'branch'>): Promise<string | null> {
  const { top, branch } = work
  const ref = `refs/heads/${branch}`
  const tip = await commitOf(top, ref)
  if (tip === null) return null
  const { stdout } = await runGit(top, ['worktree', 'list', '--porcelain'], { timeoutMs: CALL_MS })
  if (stdout.split('\n').includes(`branch ${ref}`)) {
    throw refused(
      `The branch ${branch} is checked out.`,
      'See where: git -C ' + shellQuote(top) + ' worktree list',
    )
  }
  const input = `start\nupdate ${discardedRef(work.taskId)} ${tip}\ndelete ${ref} ${tip}\nprepare\ncommit\n`
  const reply = await runGit(top, ['update-ref', '--stdin'], { timeoutMs: CALL_MS, durable: true, input })
  if (reply.code !== 0) throw refused(`git could not discard it: ${firstLine(reply.stderr)}`)
  return tip
}

/** Forgets the way back of a discarded task; what only it held is then git's to collect. */
export async function forgetDiscarded({ top, taskId }: Pick<Work, 'taskId' | 'top'>): Promise<void> {
  await runGit(top, ['update-ref', '-d', discardedRef(taskId)], { timeoutMs: CALL_MS, durable: true })
}

function discardedRef(taskId: string): string {
  return `refs/ccm/discarded/${taskId}`
}

function nameOf(ref: string): string {
  return ref.replace(/^refs\/heads\//, '')
}

function list(output: string): string[] {
  return output.split('\0').filter((name) => name !== '')
}

function refused(message: string, remedy?: string): CcmError {
  return new CcmError('CONFLICT', message, remedy === undefined ? {} : { remedy })
}
