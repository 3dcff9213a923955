import { mkdir, realpath, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { runGit } from './git.ts'
import { firstLine } from './workspace-source.ts'

/** What making and looking at a tree needs to know of it. */
export type TreePlace = { top: string; tree: string; branch: string }

/** A checkout of 100,000 files takes some seconds; of a repository with LFS it may have to wait for a network. */
const CHECKOUT_MS = 10 * 60_000
const CALL_MS = 20_000

/**
 * `ours`: a work tree of this repository. `gone`: nothing is there. `foreign`: something else is. Throws where that
 * cannot be told: a path that cannot be read now is not gone.
 */
export async function treeState({ top, tree }: TreePlace): Promise<'ours' | 'gone' | 'foreign'> {
  const isGone = await stat(tree).then(
    () => false,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return true
      throw error
    },
  )
  if (isGone) return 'gone'
  const ask = (dir: string, what: string) =>
    runGit(dir, ['rev-parse', '--path-format=absolute', what], { timeoutMs: CALL_MS })
  const [own, common, source] = await Promise.all([
    ask(tree, '--show-toplevel'),
    ask(tree, '--git-common-dir'),
    ask(top, '--git-common-dir'),
  ])
  const isOurs =
    own.code === 0 &&
    own.stdout === `${await realpath(tree)}\n` &&
    source.code === 0 &&
    common.stdout === source.stdout
  return isOurs ? 'ours' : 'foreign'
}

/**
 * The commit of a full ref; null when there is no such ref. Throws WORKSPACE_FAILED where git could not tell: on a busy
 * machine it may not even start, and a branch that was taken for gone is work that is taken for gone.
 */
export async function commitOf(top: string, ref: string): Promise<string | null> {
  const { code, stdout, stderr } = await runGit(top, ['rev-parse', '--verify', '-q', `${ref}^{commit}`], {
    timeoutMs: CALL_MS,
  })
  if (code === 0) return stdout.trim()
  if (code === 1) return null
  const why = firstLine(stderr) || 'it was killed or did not start'
  throw new CcmError('WORKSPACE_FAILED', `git could not look up ${ref} in ${top}: ${why}.`, {
    remedy: 'Mend that, or let the agent work in the directory itself: ccm run --here.',
  })
}

/** A branch name for a task that no branch of the repository is in the way of. */
export async function freeBranch(top: string, taskId: string): Promise<string> {
  const isTaken = async (name: string) => (await commitOf(top, `refs/heads/${name}`)) !== null
  // A branch named `ccm` is a file where the folder of `ccm/…` would have to be. Nearly always both are free.
  const [isBlocked, isKnown] = await Promise.all([isTaken('ccm'), isTaken(`ccm/${taskId}`)])
  if (!isBlocked && !isKnown) return `ccm/${taskId}`
  const base = isBlocked ? `ccm-${taskId}` : `ccm/${taskId}`
  for (let number = 1; number <= 100; number++) {
    const name = number === 1 ? base : `${base}-${number}`
    if (!(await isTaken(name))) return name
  }
  throw new CcmError('CONFLICT', `The repository of ${top} has a hundred branches named ${base}.`)
}

/**
 * Makes the tree: on its branch where that exists, else on a new one from `base`. Whatever was left of an
 * earlier try at this path is removed first, so only call it when nothing of worth can be there. Answers a
 * sentence when files are not what they should be (LFS). Throws WORKSPACE_FAILED with git's own words.
 */
export async function addTree(
  place: TreePlace & { base: string },
  signal?: AbortSignal,
): Promise<{ note: string | null }> {
  const { top, tree, branch, base } = place
  await forgetTree(place)
  await mkdir(dirname(tree), { recursive: true, mode: 0o700 })
  const exists = (await commitOf(top, `refs/heads/${branch}`)) !== null
  const target = exists ? ['--', tree, branch] : ['--no-track', '-b', branch, '--', tree, base]
  const add = (config: string[]) =>
    runGit(top, ['worktree', 'add', '--quiet', ...target], {
      signal,
      timeoutMs: CHECKOUT_MS,
      // Git writes files with one process unless told: 0 is one for each core.
      config: ['checkout.workers=0', ...config],
    })
  let reply = await add([])
  let note: string | null = null
  // A filter fails in its own words, LFS that is not installed say.
  const off = reply.code === 0 || reply.code === null ? [] : await filtersOff(top)
  if (off.length > 0) {
    await forgetTree(place)
    if (!exists) await runGit(top, ['update-ref', '-d', `refs/heads/${branch}`, base], { timeoutMs: CALL_MS })
    note = `A filter of the repository failed (${firstLine(reply.stderr)}): the files it is for are as they are stored, pointers in the case of Git LFS.`
    reply = await add(off)
  }
  if (reply.code === 0) return { note }
  await forgetTree(place)
  throw new CcmError(
    'WORKSPACE_FAILED',
    `git could not make the agent's tree ${tree}: ${reply.timedOut ? 'it took too long' : firstLine(reply.stderr) || 'it was ended'}`,
    { remedy: 'Mend that, or let the agent work in the directory itself: ccm run --here.' },
  )
}

/** Removes what is at the path of a tree and git's record of it; the branch stays. */
export async function forgetTree({ top, tree }: TreePlace): Promise<void> {
  await rm(tree, { recursive: true, force: true, maxRetries: 3 })
  // `prune` would also forget the trees of others that are only away, on a disk that is not mounted say.
  await runGit(top, ['worktree', 'remove', '--force', '--force', '--', tree], { timeoutMs: CALL_MS })
}

/** Settings that switch off every filter program the configuration names. */
export async function filtersOff(dir: string): Promise<string[]> {
  const pattern = '^filter\\..*\\.(smudge|clean|process|required)$'
  const { stdout } = await runGit(dir, ['config', '-z', '--name-only', '--get-regexp', pattern], {
    timeoutMs: CALL_MS,
  })
  const names = new Set(stdout.split('\0').filter((name) => name !== '' && !name.includes('=')))
  return [...names].map((name) => `${name}=${name.endsWith('.required') ? 'false' : ''}`)
}
