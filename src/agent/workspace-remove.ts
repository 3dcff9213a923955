import { lstat, readdir, readFile, readlink, rm, rmdir } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { execa } from 'execa'
import { nameSome, type Worktree } from '../core/task/workspace.ts'
import { runGit } from './git.ts'
import { firstLine } from './workspace-source.ts'
import { commitOf, filtersOff, treeState } from './workspace-tree.ts'

const CALL_MS = 5 * 60_000

/**
 * Removes a tree whose work is on a ref; answers a sentence instead when it must stay: somebody works in it, it is
 * locked, or it changed after the commit (git itself looks again). The branch stays. May be repeated.
 */
export async function removeTree(
  worktree: Pick<Worktree, 'top' | 'tree' | 'branch'>,
  placed: readonly string[],
): Promise<string | null> {
  const { top, tree } = worktree
  const git = (dir: string, args: string[], config: string[] = []) =>
    runGit(dir, args, { timeoutMs: CALL_MS, config })
  const state = await treeState(worktree)
  if (state === 'foreign') return 'git does not know it as a tree of this repository any more.'
  if (state === 'ours') {
    const inUse = await whyInUse(worktree)
    if (inUse !== null) return inUse
    // Brought along by us, committed nowhere: git would take them for work.
    if (placed.length > 0) {
      const names = placed.map((path) => `:(literal)${path}`)
      const { stdout } = await git(tree, ['ls-files', '-z', '--others', '--directory', '--', ...names])
      for (const path of stdout.split('\0').filter((name) => name !== ''))
        await rm(join(tree, path.replace(/\/$/, '')), { recursive: true, force: true })
    }
  }
  // Not forced: git refuses when anything in it is not committed. Only a clean submodule needs the force.
  let reply = await git(top, ['worktree', 'remove', '--', tree])
  // Looking for changes, git may run a filter that fails: LFS that is not installed, say.
  const off = reply.code === 0 ? [] : await filtersOff(top)
  if (off.length > 0) reply = await git(top, ['worktree', 'remove', '--', tree], off)
  if (/containing submodules/.test(reply.stderr) && (await isClean(off)))
    reply = await git(top, ['worktree', 'remove', '--force', '--', tree], off)
  if ((await lstat(tree).catch(() => null)) !== null) {
    // A git that could not do or tell anything just now is no reason to delete what it would have kept.
    if (await isListed()) return `git did not remove it: ${firstLine(reply.stderr)}`
    // Folders without write permission, as some package caches have them: git has forgotten the tree by now.
    await execa('chmod', ['-R', 'u+rwX', '--', tree], { reject: false, stdio: 'ignore' })
    await rm(tree, { recursive: true, force: true, maxRetries: 3 })
  }
  await rmdir(dirname(tree)).catch(() => undefined)
  return null

  async function isListed(): Promise<boolean> {
    const { code, stdout } = await git(top, ['worktree', 'list', '--porcelain'])
    return code !== 0 || stdout.split('\n').includes(`worktree ${tree}`)
  }

  async function isClean(config: string[]): Promise<boolean> {
    const args = ['status', '--porcelain', '--ignore-submodules=none']
    const { code, stdout } = await git(tree, args, config)
    return code === 0 && stdout === ''
  }
}

/** Why a tree is not ours to remove: somebody works in it, or locked it. */
export async function whyInUse({ tree }: Pick<Worktree, 'tree'>): Promise<string | null> {
  const inside = await processesIn(tree)
  if (inside.length > 0) return `Somebody works in it: ${nameSome(inside)}.`
  const asked = await runGit(tree, ['rev-parse', '--path-format=absolute', '--git-path', 'locked'], {
    timeoutMs: CALL_MS,
  })
  const lock = asked.stdout.slice(0, -1)
  const isLocked = asked.code === 0 && (await lstat(lock).catch(() => null)) !== null
  return isLocked ? 'Somebody locked it with git worktree lock.' : null
}

/**
 * Deletes a ref that points to `commit` and that no tree has checked out; false when it stays. Nothing is lost
 * when `commit` is on another ref.
 */
export async function deleteBranch(top: string, branch: string, commit: string): Promise<boolean> {
  const ref = `refs/heads/${branch}`
  const { stdout } = await runGit(top, ['worktree', 'list', '--porcelain'], { timeoutMs: CALL_MS })
  if (stdout.split('\n').includes(`branch ${ref}`)) return false
  if ((await commitOf(top, ref)) === null) return true
  const { code } = await runGit(top, ['update-ref', '-d', ref, commit], { timeoutMs: CALL_MS, durable: true })
  return code === 0
}

/** Processes that stand in a directory or below, as `name (pid)`. Knows only what this user may see. */
async function processesIn(dir: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      return cwd === dir || cwd.startsWith(dir + sep) ? [pid] : []
    }),
  )
  return Promise.all(
    found.flat().map(async (pid) => {
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a process')).trim()
      return `${name} (${pid})`
    }),
  )
}
