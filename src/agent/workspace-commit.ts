import { lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { clip } from '../core/clip.ts'
import { cutNames, nameSome, type Worktree } from '../core/task/workspace.ts'
import { type GitOptions, type GitReply, runGit } from './git.ts'
import { firstLine } from './workspace-source.ts'
import { commitOf, filtersOff, treeState } from './workspace-tree.ts'

/**
 * What is on refs after a commit: `commit` is the newest one with all of the work. `mustStay`: why the tree holds
 * something that no ref does, or that git could not tell; null: it may go.
 */
export type Committed = { commit: string; ignored: string[]; notes: string[]; mustStay: string | null }

const CALL_MS = 5 * 60_000

/**
 * Commits what is left in a task's tree to its branch, whatever the agent did with it meanwhile: another branch,
 * no branch, an unfinished merge. Ignored files are named and not added; neither is `keepOut`. No hook runs. May
 * be repeated. Throws with git's words when nothing could be committed; then nothing has changed.
 *
 * The branch moves only forward. Work that does not follow from it gets a branch of its own beside it.
 */
export async function commitTree(
  worktree: Pick<Worktree, 'top' | 'tree' | 'branch' | 'base'>,
  options: { message: string; keepOut: readonly string[] },
): Promise<Committed> {
  const { top, tree, branch, base } = worktree
  const notes: string[] = []
  // Settings that switch off the filters of the repository, once one of them has failed.
  let off: string[] = []
  const git = (args: string[], more: Partial<GitOptions> = {}) =>
    runGit(tree, args, { timeoutMs: CALL_MS, durable: true, config: off, ...more })
  const must = async (what: string, args: string[], more: Partial<GitOptions> = {}) => {
    const reply = await git(args, more)
    if (reply.code !== 0) throw new Error(`git could not ${what}: ${why(reply)}`)
    return reply.stdout
  }
  const ref = `refs/heads/${branch}`

  const state = await treeState(worktree)
  if (state !== 'ours') {
    const tip = (await commitOf(top, ref)) ?? base
    if (state === 'foreign')
      return {
        commit: tip,
        ignored: [],
        notes,
        mustStay: 'git does not know it as a tree of this repository any more',
      }
    notes.push(`Somebody deleted its tree ${tree}; what was not committed there is gone.`)
    return { commit: tip, ignored: [], notes, mustStay: null }
  }

  const unfinished = await unfinishedWork(tree)
  if (unfinished !== null)
    notes.push(`The agent left ${unfinished} unfinished; the commit has the files as they were.`)
  const stays = await addAll(options.keepOut)
  const nested = await nestedRepositories()
  const contents = (await must('write the tree', ['write-tree'])).trim()
  const head = (await must('read HEAD', ['rev-parse', '--verify', 'HEAD^{commit}'])).trim()
  const headTree = (await must('read HEAD', ['rev-parse', 'HEAD^{tree}'])).trim()
  const commit = contents === headTree ? head : await makeCommit(contents, head)
  await keepOnRef(commit, head)
  return {
    commit,
    ignored: await ignoredFiles(),
    notes,
    mustStay:
      stays ??
      (nested.length > 0
        ? `it holds a repository of its own (${nameSome(nested)}), whose commits are nowhere else`
        : null),
  }

  /** Adds everything; answers why not all of it could be. */
  async function addAll(keepOut: readonly string[]): Promise<string | null> {
    const lock = (
      await must('find its files', ['rev-parse', '--path-format=absolute', '--git-path', 'index.lock'])
    ).slice(0, -1)
    // Of a git that was killed with the agent; nobody else writes this index.
    await rm(lock, { force: true })
    await overlookNothing()
    const args = [
      'add',
      '--all',
      '--ignore-errors',
      '--',
      ':/',
      ...keepOut.map((path) => `:(exclude,literal)${path}`),
    ]
    let reply = await git(args)
    const without = reply.code === 0 || reply.code === null ? [] : await filtersOff(tree)
    if (without.length > 0) {
      off = without
      const raw = await git(args)
      if (raw.code === 0)
        notes.push(
          `A filter of the repository failed (${firstLine(reply.stderr)}); files it is for are committed as they are.`,
        )
      reply = raw
    }
    // It stops at the first one it may not read, but adds all others.
    return reply.code === 0 ? null : `not all of it could be committed: ${why(reply)}`
  }

  /** Changes of files that the agent told git to overlook are work; in a sparse checkout what is not there stays so. */
  async function overlookNothing(): Promise<void> {
    const entries = (await must('list its files', ['ls-files', '-v', '-z'])).split('\0')
    const marked = (tag: RegExp) => entries.filter((entry) => tag.test(entry)).map((entry) => entry.slice(2))
    const skipped = marked(/^[Ss] /)
    const isThere = await Promise.all(
      skipped.map((path) => lstat(join(tree, path)).then(Boolean, () => false)),
    )
    for (const [flag, paths] of [
      ['--no-assume-unchanged', marked(/^[a-z] /)],
      ['--no-skip-worktree', skipped.filter((_, index) => isThere[index])],
    ] as const) {
      if (paths.length === 0) continue
      const input = paths.map((path) => `${path}\0`).join('')
      await must('look at its files', ['update-index', flag, '-z', '--stdin'], { input })
    }
  }

  /** Repositories inside the tree whose state is not what the base has; new ones are taken out of the index. */
  async function nestedRepositories(): Promise<string[]> {
    const staged = (await must('list the files', ['ls-files', '--stage', '-z'])).split('\0')
    const links = staged.flatMap((entry) => (entry.startsWith('160000 ') ? [entry] : []))
    const found: string[] = []
    for (const entry of links) {
      const [meta = '', path = ''] = entry.split('\t')
      if ((await lstat(join(tree, path, '.git')).catch(() => null)) === null) continue
      const known = (await git(['rev-parse', '--verify', '-q', `${base}:${path}`])).stdout.trim()
      if (known === '')
        await must('leave it out', ['update-index', '--force-remove', '-z', '--stdin'], {
          input: `${path}\0`,
        })
      const ask = (args: string[]) => runGit(join(tree, path), args, { timeoutMs: CALL_MS })
      const inside = await Promise.all([
        ask(['status', '--porcelain', '--ignored', '--ignore-submodules=none', '-z']),
        // Branches and stashes that are neither what the base has nor anywhere else.
        ask([...'rev-list -n 1 --exclude=refs/tags/* --all --not --remotes'.split(' '), known]),
      ])
      const isClean = inside.every(({ code, stdout }) => code === 0 && stdout === '')
      if (known !== meta.split(' ')[1] || !isClean) found.push(path)
    }
    return found
  }

  async function makeCommit(contents: string, parent: string): Promise<string> {
    const made = await must('commit', ['commit-tree', contents, '-p', parent, '-F', '-'], {
      input: options.message,
      env: await authorOf(tree),
    })
    return made.trim()
  }

  async function keepOnRef(commit: string, head: string): Promise<void> {
    const tip = await commitOf(top, ref)
    const { stdout: on } = await git(['symbolic-ref', '-q', 'HEAD'])
    if (on.trim() !== ref) {
      const name = on.trim() === '' ? 'no branch' : on.trim().replace('refs/heads/', '')
      notes.push(`The agent had left its branch: its tree was on ${name}.`)
    }
    const follows =
      tip === null || tip === commit || (await git(['merge-base', '--is-ancestor', tip, commit])).code === 0
    const target = follows ? ref : await refBeside(commit)
    const old = follows ? (tip ?? '') : ''
    if (target !== null)
      await must('move the branch', ['update-ref', '-m', 'ccm: the end of the task', target, commit, old])
    if (!follows && target !== null)
      notes.push(
        `The tree did not follow from ${branch}; what it held is on ${target.replace('refs/heads/', '')}.`,
      )
    // Where HEAD is not our branch it must not move another one.
    if (commit !== head && on.trim() !== ref)
      await must('detach', ['update-ref', '--no-deref', 'HEAD', commit])
  }

  /** A free ref for a commit that the branch may not move to; null when one has it already. */
  async function refBeside(commit: string): Promise<string | null> {
    for (let number = 1; ; number++) {
      const name = `${ref}-left${number === 1 ? '' : `-${number}`}`
      const tip = await commitOf(top, name)
      if (tip === commit) return null
      if (tip === null) return name
    }
  }

  async function ignoredFiles(): Promise<string[]> {
    const list = async (args: string[]) =>
      (await must('list ignored files', ['ls-files', '-z', '--others', ...args]))
        .split('\0')
        .filter((name) => name !== '')
    const ignored = await list(['--ignored', '--exclude-standard', '--directory'])
    const kept =
      options.keepOut.length === 0
        ? []
        : await list(['--directory', '--', ...options.keepOut.map((path) => `:(literal)${path}`)])
    const names = new Set([...ignored, ...kept])
    // A link to the project's own file is not lost with the tree.
    const isLink = await Promise.all(
      [...names].map(async (name) => (await lstat(join(tree, name)).catch(() => null))?.isSymbolicLink()),
    )
    return cutNames([...names].filter((_, index) => isLink[index] !== true).sort())
  }

  async function unfinishedWork(dir: string): Promise<string | null> {
    for (const [file, what] of [
      ['MERGE_HEAD', 'a merge'],
      ['rebase-merge', 'a rebase'],
      ['rebase-apply', 'a rebase'],
      ['CHERRY_PICK_HEAD', 'a cherry-pick'],
      ['REVERT_HEAD', 'a revert'],
    ] as const) {
      const { stdout } = await runGit(dir, ['rev-parse', '--path-format=absolute', '--git-path', file], {
        timeoutMs: CALL_MS,
      })
      if ((await lstat(stdout.slice(0, -1)).catch(() => null)) !== null) return what
    }
    return null
  }
}

/** The message of a task's commit: the first line of its prompt, and its id. */
export function commitMessage(task: { id: string; prompt: string }): string {
  const lines = task.prompt.split('\n').map((text) => text.replaceAll(/\p{Cc}/gu, ' ').trim())
  const line = lines.find((text) => text !== '') ?? 'Work of an agent'
  return `${clip(line, 72)}\n\nccm task ${task.id}\n`
}

/** Variables that name an author where git knows none; empty where the user has told git who they are. */
export async function authorOf(dir: string): Promise<Record<string, string>> {
  const set = (key: string) => runGit(dir, ['config', '--get', key], { timeoutMs: CALL_MS })
  const [name, email] = await Promise.all([set('user.name'), set('user.email')])
  if (name.stdout.trim() !== '' && email.stdout.trim() !== '') return {}
  const who = { NAME: 'ccm', EMAIL: 'ccm@localhost' }
  return Object.fromEntries(
    ['AUTHOR', 'COMMITTER'].flatMap((role) =>
      Object.entries(who).map(([key, value]) => [`GIT_${role}_${key}`, value]),
    ),
  )
}

function why(reply: GitReply): string {
  if (reply.timedOut) return 'it took too long'
  return firstLine(reply.stderr) || 'it was ended'
}
