import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { applyWork, diffOf, discardBranch, type Work } from './workspace-apply.ts'
import { commitMessage, commitTree } from './workspace-commit.ts'
import { bringFiles } from './workspace-files.ts'
import { deleteBranch, removeTree } from './workspace-remove.ts'
import { runSetup } from './workspace-setup.ts'
import { probeSource, uncommitted } from './workspace-source.ts'
import { addTree, commitOf, freeBranch, treeState } from './workspace-tree.ts'

function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ccm-tree-')))
  onTestFinished(() => {
    execFileSync('chmod', ['-R', 'u+rwX', folder])
    rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

// Nobody's own git configuration decides these tests.
beforeEach(() => {
  vi.stubEnv('HOME', '/nonexistent')
  vi.stubEnv('XDG_CONFIG_HOME', '/nonexistent')
  onTestFinished(() => void vi.unstubAllEnvs())
})

const AUTHOR = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'protocol.file.allow=always']
function git(dir: string, ...args: string[]): string {
  const env = { PATH: process.env['PATH'], HOME: '/nonexistent', LC_ALL: 'C' }
  return execFileSync('git', [...AUTHOR, ...args], {
    cwd: dir,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

/** A repository with one commit, and a place for the tree of a task. */
function repository(
  files: Record<string, string> = { 'a.txt': 'one\n', '.gitignore': '*.log\nnode_modules/\n.env\n' },
) {
  const folder = temporaryFolder()
  const top = join(folder, 'source')
  mkdirSync(top)
  git(top, 'init', '-q', '-b', 'main')
  for (const [name, text] of Object.entries(files)) write(top, name, text)
  git(top, 'add', '-A')
  git(top, 'commit', '-qm', 'start')
  const place = {
    top,
    tree: join(folder, 'trees', 'p', 't1'),
    branch: 'ccm/t1',
    base: git(top, 'rev-parse', 'HEAD'),
  }
  return { folder, top, place }
}

function write(dir: string, name: string, text: string): void {
  mkdirSync(join(dir, name, '..'), { recursive: true })
  writeFileSync(join(dir, name), text)
}

/** A folder with a git that is killed before it says anything, as on a machine out of memory. */
function killedGit(folder: string): string {
  const bin = join(folder, 'bin')
  write(folder, 'bin/git', '#!/bin/sh\nkill -9 $$\n')
  chmodSync(join(bin, 'git'), 0o755)
  return `${bin}:${process.env['PATH']}`
}

const MESSAGE = { message: commitMessage({ id: 't1', prompt: 'Do it\nwell' }), keepOut: [] }
const commit = (place: Parameters<typeof commitTree>[0], keepOut: string[] = []) =>
  commitTree(place, { ...MESSAGE, keepOut })
const ref = (top: string, name: string) => commitOf(top, `refs/heads/${name}`)
const workOf = (place: { top: string; branch: string; base: string }, commit: string): Work => ({
  taskId: 't1',
  top: place.top,
  branch: place.branch,
  base: place.base,
  commit,
  sourceRef: 'refs/heads/main',
})
/** What must stay as it was when something is refused. */
const stateOf = (dir: string) =>
  [
    git(dir, 'status', '--porcelain=v2', '--branch'),
    git(dir, 'stash', 'list'),
    git(dir, 'diff', 'HEAD'),
  ].join('\n')

test('a tree is made, changed, committed to its branch and removed; the source stays as it is', async () => {
  const { top, place } = repository()
  const before = stateOf(top)
  await addTree(place)
  write(place.tree, 'a.txt', 'two\n')
  write(place.tree, 'new\nline ü.txt', 'x\n')
  write(place.tree, 'debug.log', 'ignored')
  const done = await commit(place)
  expect(done).toMatchObject({ ignored: ['debug.log'], notes: [], mustStay: null })
  expect(await ref(top, place.branch)).toBe(done.commit)
  expect(git(top, 'show', '-z', '--name-only', '--format=%an <%ae>%n%B', done.commit)).toBe(
    'ccm <ccm@localhost>\nDo it\n\nccm task t1\n\0\na.txt\0new\nline ü.txt\0',
  )
  expect((await commit(place)).commit).toBe(done.commit)
  expect(await removeTree(place, [])).toBeNull()
  expect(existsSync(place.tree)).toBe(false)
  expect(await removeTree(place, [])).toBeNull()
  expect(await treeState(place)).toBe('gone')
  expect(stateOf(top)).toBe(before)
  expect(git(top, 'worktree', 'list').split('\n')).toHaveLength(1)
})

test('a tree whose git fails at everything for a moment stays, with all that is in it', async () => {
  const { folder, place } = repository()
  await addTree(place)
  await commit(place)
  write(place.tree, 'late.txt', 'x\n')
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const real = execFileSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim()
  const broken = join(folder, 'broken')
  writeFileSync(
    join(bin, 'git'),
    `#!/bin/sh\ncase "$*" in *"worktree remove"*) : > ${broken} ;; esac\n[ ! -e ${broken} ] || exit 128\nexec ${real} "$@"\n`,
    { mode: 0o755 },
  )
  vi.stubEnv('PATH', `${bin}:${process.env['PATH']}`)
  expect(await removeTree(place, [])).toMatch(/^git did not remove it/)
  expect(readFileSync(join(place.tree, 'late.txt'), 'utf8')).toBe('x\n')
})

test('a path that cannot be looked at is not taken for gone', async () => {
  const { folder, place } = repository()
  symlinkSync('loop', join(folder, 'loop'))
  await expect(treeState({ ...place, tree: join(folder, 'loop', 'tree') })).rejects.toThrow('ELOOP')
})

test('no hook, file system monitor or signing program of the repository runs, at no step', async () => {
  const { folder, top, place } = repository()
  const ran = join(folder, 'ran')
  const script = `#!/bin/sh\necho "$0 $*" >> ${ran}\n`
  const names =
    'applypatch-msg pre-applypatch post-applypatch pre-commit pre-merge-commit prepare-commit-msg commit-msg post-commit pre-rebase post-checkout post-merge pre-push post-rewrite reference-transaction post-index-change fsmonitor-watchman pre-auto-gc'
  for (const name of names.split(' ')) {
    writeFileSync(join(top, '.git/hooks', name), script, { mode: 0o755 })
  }
  const program = join(folder, 'program')
  writeFileSync(program, script, { mode: 0o755 })
  for (const [key, value] of Object.entries({
    'core.fsmonitor': program,
    'commit.gpgsign': 'true',
    'gpg.program': program,
    'diff.external': program,
    'core.pager': program,
    'core.editor': program,
    'core.askpass': program,
    'core.sshCommand': program,
    'credential.helper': program,
  }))
    git(top, 'config', key, value)
  rmSync(ran, { force: true })
  await probeSource(top)
  await uncommitted(top)
  await addTree(place)
  write(place.tree, 'a.txt', 'two\n')
  const { commit: made } = await commit(place)
  await diffOf({ top, base: place.base, commit: made, tree: place.tree }, false)
  await diffOf({ top, base: place.base, commit: made, tree: null }, true)
  await removeTree(place, [])
  await applyWork(workOf(place, made), 'merge', 'm')
  await discardBranch({ ...workOf(place, made) })
  expect(existsSync(ran) ? readFileSync(ran, 'utf8') : '').toBe('')
  expect(readFileSync(join(top, 'a.txt'), 'utf8')).toBe('two\n')
})

test('what is not a work tree with a commit is told apart, with the reason where git is involved', async () => {
  const { folder, top } = repository({ 'sub/x': '1', 'a.txt': '1' })
  const plain = join(folder, 'plain')
  const empty = join(folder, 'empty')
  const bare = join(folder, 'bare')
  for (const dir of [plain, empty]) mkdirSync(dir)
  git(empty, 'init', '-q')
  git(folder, 'clone', '-q', '--bare', top, bare)
  mkdirSync(join(top, 'untracked'))
  expect(await probeSource(plain)).toEqual({ kind: 'plain', reason: null })
  expect(await probeSource(empty)).toMatchObject({
    kind: 'plain',
    reason: expect.stringContaining('no commit yet'),
  })
  expect(await probeSource(bare)).toMatchObject({
    kind: 'plain',
    reason: expect.stringContaining('without a work tree'),
  })
  expect(await probeSource(join(top, '.git'))).toMatchObject({
    reason: expect.stringContaining('without a work tree'),
  })
  expect(await probeSource(join(top, 'untracked'))).toMatchObject({
    reason: expect.stringContaining('does not have this folder'),
  })
  expect(await probeSource(join(top, 'sub'))).toMatchObject({
    kind: 'git',
    top,
    prefix: 'sub/',
    ref: 'refs/heads/main',
    hasSubmodules: false,
  })
})

test('a branch named like an option, a detached HEAD and a path with a line break are names like others', async () => {
  const { top, place } = repository()
  git(top, 'update-ref', 'refs/heads/--upload-pack=x', 'HEAD')
  git(top, 'symbolic-ref', 'HEAD', 'refs/heads/--upload-pack=x')
  expect(await probeSource(top)).toMatchObject({ kind: 'git', ref: 'refs/heads/--upload-pack=x' })
  const odd = { ...place, tree: join(place.tree, '..', 'line\nbreak ü') }
  await addTree(odd)
  write(odd.tree, 'b', 'b')
  const done = await commit(odd)
  expect(await removeTree(odd, [])).toBeNull()
  const work = { ...workOf(odd, done.commit), sourceRef: 'refs/heads/--upload-pack=x' }
  expect(await applyWork(work, 'merge', 'm')).toMatchObject({ files: 1 })
  expect(git(top, 'rev-parse', 'refs/heads/--upload-pack=x')).toBe(done.commit)
  git(top, 'checkout', '-q', '--detach')
  expect(await probeSource(top)).toMatchObject({ ref: null })
})

test('a branch that exists already is not taken, and a branch named ccm is no obstacle', async () => {
  const { top } = repository()
  git(top, 'branch', 'ccm/t1')
  expect(await freeBranch(top, 't1')).toBe('ccm/t1-2')
  git(top, 'branch', '-D', 'ccm/t1')
  git(top, 'branch', 'ccm')
  expect(await freeBranch(top, 't1')).toBe('ccm-t1')
})

test('whatever the agent made of its branch, all of the work ends up on a ref', async () => {
  const { top, place } = repository()
  await addTree(place)
  // Commits on its branch, then another branch from the base, with a commit and with something uncommitted.
  write(place.tree, 'first', '1')
  git(place.tree, 'add', '-A')
  git(place.tree, 'commit', '-qm', 'first')
  const first = git(place.tree, 'rev-parse', 'HEAD')
  git(place.tree, 'checkout', '-q', '-b', 'feature', place.base)
  write(place.tree, 'second', '2')
  const done = await commit(place)
  expect(done.notes.join()).toMatch(/on feature.*ccm\/t1-left/s)
  expect(await ref(top, 'ccm/t1')).toBe(first)
  expect(await ref(top, 'ccm/t1-left')).toBe(done.commit)
  expect(await ref(top, 'feature')).toBe(place.base)
  expect(git(top, 'show', 'ccm/t1-left:second')).toBe('2')
  expect(await removeTree(place, [])).toBeNull()
})

test('a detached HEAD, a deleted branch and an unfinished merge lose nothing', async () => {
  const { top, place } = repository()
  await addTree(place)
  git(place.tree, 'checkout', '-q', '--detach')
  git(top, 'branch', '-D', 'ccm/t1')
  write(place.tree, 'x', 'x')
  const done = await commit(place)
  expect(await ref(top, 'ccm/t1')).toBe(done.commit)
  git(place.tree, 'checkout', '-q', 'ccm/t1')
  git(top, 'checkout', '-q', '-b', 'other', place.base)
  write(top, 'x', 'y')
  git(top, 'add', '-A')
  git(top, 'commit', '-qm', 'other')
  expect(() => git(place.tree, 'merge', 'other')).toThrow('merge other')
  const again = await commit(place)
  expect(again.notes.join()).toContain('a merge unfinished')
  expect(git(top, 'show', 'ccm/t1:x')).toContain('<<<<<<<')
})

test('a repository inside the tree, and a submodule with work in it, keep the tree; a clean submodule does not', async () => {
  const { folder, top, place } = repository()
  const library = join(folder, 'library')
  git(folder, 'clone', '-q', top, library)
  git(top, 'submodule', '--quiet', 'add', library, 'lib')
  git(top, 'commit', '-qm', 'submodule')
  const withBase = { ...place, base: git(top, 'rev-parse', 'HEAD') }
  expect(await probeSource(top)).toMatchObject({ hasSubmodules: true })
  await addTree(withBase)
  git(withBase.tree, 'submodule', '--quiet', 'update', '--init')
  write(withBase.tree, 'x', 'x')
  expect(await commit(withBase)).toMatchObject({ mustStay: null })
  write(withBase.tree, 'lib/new', 'only here')
  expect((await commit(withBase)).mustStay).toContain('(lib)')
  rmSync(join(withBase.tree, 'lib/new'))
  git(withBase.tree, 'init', '-q', 'own')
  write(withBase.tree, 'own/f', 'f')
  git(join(withBase.tree, 'own'), 'add', '-A')
  git(join(withBase.tree, 'own'), 'commit', '-qm', 'own')
  const nested = await commit(withBase)
  expect(nested.mustStay).toContain('(own)')
  expect(git(top, 'ls-tree', '-r', '--name-only', nested.commit)).not.toContain('own')
  rmSync(join(withBase.tree, 'own'), { recursive: true })
  expect((await commit(withBase)).mustStay).toBeNull()
  expect(await removeTree(withBase, [])).toBeNull()
  // The submodule as a project of its own.
  const source = await probeSource(join(top, 'lib'))
  expect(source).toMatchObject({ kind: 'git', top: join(top, 'lib') })
  const own = { ...place, top: join(top, 'lib'), base: source.kind === 'git' ? source.head : '' }
  await addTree(own)
  write(own.tree, 'a.txt', 'in the submodule\n')
  const inside = await commit(own)
  expect(await removeTree(own, [])).toBeNull()
  expect(git(own.top, 'show', `${inside.commit}:a.txt`)).toBe('in the submodule')
})

test('changes that git was told to overlook are committed like others', async () => {
  const { place } = repository({ 'a.txt': 'one\n', 'b.txt': 'one\n', 'c.txt': 'one\n' })
  await addTree(place)
  git(place.tree, 'update-index', '--assume-unchanged', 'a.txt')
  git(place.tree, 'update-index', '--skip-worktree', 'b.txt', 'c.txt')
  for (const name of ['a.txt', 'b.txt']) write(place.tree, name, 'two\n')
  // As in a sparse checkout: it is not there, and nobody deleted it.
  rmSync(join(place.tree, 'c.txt'))
  const done = await commit(place)
  expect(done.mustStay).toBeNull()
  expect(git(place.top, 'diff', '--name-only', place.base, done.commit)).toBe('a.txt\nb.txt')
})

test('work in a submodule keeps the tree where it is on another branch, stashed, or untracked and not shown', async () => {
  const { folder, top, place } = repository()
  const library = repository({ 'lib.txt': 'x\n' }).top
  git(top, 'submodule', '--quiet', 'add', library, 'lib')
  git(top, 'commit', '-qm', 'submodule')
  write(folder, 'home/.gitconfig', '[status]\nshowUntrackedFiles = no\n')
  vi.stubEnv('HOME', join(folder, 'home'))
  const base = git(top, 'rev-parse', 'HEAD')
  const works: Record<string, (lib: string) => void> = {
    branch(lib) {
      git(lib, 'checkout', '-q', '-b', 'side')
      git(lib, 'commit', '-qm', 'aside', '--allow-empty')
      git(lib, 'checkout', '-q', 'HEAD~1')
    },
    stash(lib) {
      write(lib, 'lib.txt', 'changed\n')
      git(lib, 'stash')
    },
    untracked: (lib) => write(lib, 'new.txt', 'x\n'),
  }
  for (const [name, work] of Object.entries(works)) {
    const own = { ...place, base, branch: `ccm/${name}`, tree: join(folder, 'trees', 'p', name) }
    await addTree(own)
    git(own.tree, 'submodule', '--quiet', 'update', '--init')
    expect((await commit(own)).mustStay).toBeNull()
    work(join(own.tree, 'lib'))
    expect(`${name}: ${(await commit(own)).mustStay}`).toContain('a repository of its own (lib)')
  }
})

test('what is committed at the end survives a power cut: each object is brought to the disk', async () => {
  const { folder, place } = repository()
  await addTree(place)
  write(place.tree, 'new.txt', 'x\n')
  const trace = join(folder, 'trace')
  write(
    folder,
    'bin/git',
    `#!/bin/sh\nPATH=${process.env['PATH']}\nGIT_TRACE2_EVENT=${trace} exec git "$@"\n`,
  )
  chmodSync(join(folder, 'bin/git'), 0o755)
  vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env['PATH']}`)
  await commit(place)
  const flushes = readFileSync(trace, 'utf8').matchAll(/"fsync\/hardware-flush","value":"(\d+)"/g)
  const sum = [...flushes].reduce((all, [, count]) => all + Number(count), 0)
  // The file, the tree, the commit, the branch.
  expect(sum).toBeGreaterThanOrEqual(4)
})

test('a tree that somebody deleted, works in, locked or changed after the commit is told, and never forced away', async () => {
  const { top, place } = repository()
  await addTree(place)
  write(place.tree, 'x', 'x')
  await commit(place)
  const shell = spawn('sleep', ['60'], { cwd: place.tree })
  onTestFinished(() => void shell.kill())
  await expect.poll(() => removeTree(place, [])).toMatch(/sleep \(\d+\)/)
  shell.kill()
  await new Promise((resolve) => shell.once('exit', resolve))
  git(top, 'worktree', 'lock', place.tree)
  expect(await removeTree(place, [])).toContain('locked')
  git(top, 'worktree', 'unlock', place.tree)
  write(place.tree, 'late', 'late')
  expect(await removeTree(place, [])).toContain('modified or untracked')
  expect(existsSync(join(place.tree, 'late'))).toBe(true)
  await commit(place)
  rmSync(place.tree, { recursive: true })
  const done = await commit(place)
  expect(done).toMatchObject({ commit: await ref(top, 'ccm/t1'), mustStay: null })
  expect(done.notes.join()).toContain('Somebody deleted its tree')
  expect(await removeTree(place, [])).toBeNull()
  expect(git(top, 'worktree', 'list').split('\n')).toHaveLength(1)
  // Something else stands where the tree was.
  mkdirSync(place.tree, { recursive: true })
  write(place.tree, 'mine', 'mine')
  expect(await commit(place)).toMatchObject({ mustStay: expect.stringContaining('git does not know it') })
  expect(await removeTree(place, [])).toContain('git does not know it')
  expect(existsSync(join(place.tree, 'mine'))).toBe(true)
})

test('read-only folders of a package cache do not keep a tree', async () => {
  const { place } = repository()
  await addTree(place)
  write(place.tree, 'node_modules/p/f', 'x')
  chmodSync(join(place.tree, 'node_modules/p'), 0o555)
  const done = await commit(place)
  expect(done.ignored).toEqual(['node_modules/'])
  expect(await removeTree(place, [])).toBeNull()
  expect(existsSync(place.tree)).toBe(false)
})

test('files of LFS without LFS are pointers, with a note, and nothing is lost', async () => {
  const { top, place } = repository({
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    'b.bin': 'pointer\n',
  })
  git(top, 'config', 'filter.lfs.smudge', 'git-lfs-is-missing smudge -- %f')
  git(top, 'config', 'filter.lfs.clean', 'git-lfs-is-missing clean -- %f')
  git(top, 'config', 'filter.lfs.process', 'git-lfs-is-missing filter-process')
  git(top, 'config', 'filter.lfs.required', 'true')
  expect((await addTree(place)).note).toContain('pointers')
  expect(readFileSync(join(place.tree, 'b.bin'), 'utf8')).toBe('pointer\n')
  write(place.tree, 'c.bin', 'new')
  const done = await commit(place)
  expect(done.notes.join()).toContain('filter')
  expect(git(top, 'cat-file', 'blob', `${done.commit}:c.bin`)).toBe('new')
  expect(await removeTree(place, [])).toBeNull()
})

test('a tree that cannot be made leaves nothing behind and says what git said', async () => {
  const { folder, top, place } = repository()
  const head = readFileSync(join(top, '.git/HEAD'))
  rmSync(join(top, '.git/objects'), { recursive: true })
  writeFileSync(join(top, '.git/objects'), '')
  await expect(addTree(place)).rejects.toMatchObject({
    code: 'WORKSPACE_FAILED',
    remedy: expect.stringContaining('--here'),
  })
  expect(existsSync(place.tree)).toBe(false)
  expect(readFileSync(join(top, '.git/HEAD'))).toEqual(head)
  expect(existsSync(folder)).toBe(true)
})

test('a branch is gone only where git says so, not where git did not come to say anything', async () => {
  const { folder, top } = repository()
  expect(await ref(top, 'nowhere')).toBeNull()
  const failed = { code: 'WORKSPACE_FAILED', message: expect.stringContaining('could not look up') }
  await expect(ref(folder, 'main')).rejects.toMatchObject(failed)
  await expect(ref(join(folder, 'gone'), 'main')).rejects.toMatchObject(failed)
  vi.stubEnv('PATH', killedGit(folder))
  onTestFinished(() => void vi.unstubAllEnvs())
  await expect(ref(top, 'main')).rejects.toMatchObject(failed)
})

test('an apply merges what moved on both sides, and a conflict, a dirty file or another branch touches nothing', async () => {
  const lines = Array.from({ length: 30 }, (_, index) => `line ${index}\n`)
  const { top, place } = repository({ 'a.txt': lines.join(''), 'b.txt': 'b\n' })
  await addTree(place)
  write(place.tree, 'a.txt', ['changed\n', ...lines.slice(1)].join(''))
  write(place.tree, 'added.txt', 'new\n')
  const { commit: made } = await commit(place)
  await removeTree(place, [])
  const work = workOf(place, made)
  const refuses = async (
    how: 'merge' | 'patch' | 'checkout',
    message: RegExp,
    remedy: RegExp,
    given = work,
  ) => {
    const before = stateOf(top)
    const error = await applyWork(given, how, 'm').then(
      () => null,
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({
      code: 'CONFLICT',
      message: expect.stringMatching(message),
      remedy: expect.stringMatching(remedy),
    })
    expect(stateOf(top)).toBe(before)
  }

  // Changes of a person in the way: changed, new, and not in the way.
  write(top, 'b.txt', 'mine\n')
  write(top, 'a.txt', 'mine\n')
  for (const how of ['merge', 'patch', 'checkout'] as const)
    await refuses(how, /a\.txt\. Nothing was touched/, /stash/)
  git(top, 'checkout', '-q', 'a.txt')
  write(top, 'added.txt', 'mine too\n')
  for (const how of ['merge', 'patch', 'checkout'] as const) await refuses(how, /added\.txt/, /stash/)
  rmSync(join(top, 'added.txt'))

  // Another branch, no branch.
  git(top, 'checkout', '-q', '-b', 'elsewhere')
  await refuses('merge', /began on main, and .* is on elsewhere now/, /checkout 'main'.*merge ccm\/t1/)
  git(top, 'checkout', '-q', '--detach')
  await refuses('merge', /no branch/, /checkout 'main'/)
  git(top, 'checkout', '-q', 'main')

  // The branch of the task was made anew, or is gone.
  git(top, 'branch', '-f', 'ccm/t1', place.base)
  await refuses('merge', /was moved/, new RegExp(`branch -f ccm/t1 ${made}`))
  git(top, 'branch', '-D', 'ccm/t1')
  await refuses('merge', /is gone/, new RegExp(`branch ccm/t1 ${made}`))
  git(top, 'branch', 'ccm/t1', made)

  // The source moved on, in another part of the file: both are there, what was not committed too.
  git(top, 'stash', '-q')
  write(top, 'a.txt', [...lines.slice(0, -1), 'end\n'].join(''))
  git(top, 'commit', '-qam', 'moved on')
  git(top, 'stash', 'pop', '-q')
  const moved = git(top, 'rev-parse', 'HEAD')
  expect(await applyWork(work, 'patch', 'm')).toMatchObject({ files: 2 })
  expect(readFileSync(join(top, 'a.txt'), 'utf8')).toBe(
    ['changed\n', ...lines.slice(1, -1), 'end\n'].join(''),
  )
  expect(git(top, 'rev-parse', 'HEAD')).toBe(moved)
  git(top, 'checkout', '-q', 'a.txt')
  rmSync(join(top, 'added.txt'))
  await applyWork(work, 'merge', 'Merge it\n')
  expect(git(top, 'log', '-1', '--format=%P %s')).toBe(`${moved} ${made} Merge it`)
  expect(git(top, 'status', '--porcelain')).toBe('M b.txt')
  expect(await deleteBranch(top, 'ccm/t1', made)).toBe(true)

  // The same lines on both sides.
  git(top, 'checkout', '-q', '--', 'b.txt')
  git(top, 'branch', 'ccm/t2', place.base)
  const second = { ...place, branch: 'ccm/t2' }
  await addTree(second)
  write(second.tree, 'a.txt', ['otherwise\n', ...lines.slice(1)].join(''))
  const { commit: other } = await commit(second)
  await removeTree(second, [])
  const conflicting = { ...workOf(second, other), taskId: 't2' }
  await refuses('merge', /changed on both sides: a\.txt\. Nothing was touched/, /merge ccm\/t2/, conflicting)
  await refuses('patch', /changed on both sides: a\.txt/, /ccm diff t2/, conflicting)
  await applyWork(conflicting, 'checkout', 'm')
  expect(git(top, 'symbolic-ref', 'HEAD')).toBe('refs/heads/ccm/t2')
  await expect(discardBranch(conflicting)).rejects.toMatchObject({ code: 'CONFLICT' })
  git(top, 'checkout', '-q', 'main')
  expect(await discardBranch(conflicting)).toBe(other)
  expect(await ref(top, 'ccm/t2')).toBeNull()
  expect(git(top, 'rev-parse', 'refs/ccm/discarded/t2')).toBe(other)
})

test('a diff is a patch that git takes, from a living tree with its new files as from the commit', async () => {
  const { top, place } = repository()
  await addTree(place)
  write(place.tree, 'a.txt', 'two\n')
  write(place.tree, 'b.bin', '\0\x01')
  const live = await diffOf({ top, base: place.base, commit: null, tree: place.tree }, false)
  const { commit: made } = await commit(place)
  expect(await diffOf({ top, base: place.base, commit: made, tree: null }, false)).toBe(live)
  expect(await diffOf({ top, base: place.base, commit: made, tree: null }, true)).toContain('2 files changed')
  writeFileSync(join(place.tree, '..', 'patch'), live)
  git(top, 'apply', join(place.tree, '..', 'patch'))
  expect(readFileSync(join(top, 'b.bin'), 'utf8')).toBe('\0\x01')
})

test('copies and links come along, are never committed, and lead neither out of the project nor out of the tree', async () => {
  const { folder, top, place } = repository({
    'a.txt': 'a',
    '.gitignore': 'node_modules/\n',
    'packages/one/x': 'x',
  })
  write(folder, 'secret', 'outside')
  write(top, '.env', 'KEY=1')
  write(top, 'packages/one/.env', 'KEY=2')
  write(top, 'node_modules/p/index.js', '1')
  symlinkSync(join(folder, 'secret'), join(top, 'leak'))
  mkdirSync(join(top, 'config'))
  symlinkSync(folder, join(top, 'config/out'))
  write(top, 'config/in', 'in')
  await addTree(place)
  const brought = await bringFiles({
    from: top,
    to: place.tree,
    copy: ['**/.env', 'a.txt', 'leak', 'config', '../secret', '/etc/passwd', '.git', 'nothing*'],
    link: ['node_modules'],
  })
  expect(brought.placed.toSorted()).toEqual(['.env', 'config', 'node_modules', 'packages/one/.env'])
  expect(brought.notes.join('\n')).toMatch(/leak.*leads out/)
  expect(brought.notes.join('\n')).toMatch(/"\.\.\/secret".*inside the project[^]*"\/etc\/passwd"/)
  expect(existsSync(join(place.tree, 'config/out'))).toBe(false)
  expect(readFileSync(join(place.tree, 'node_modules/p/index.js'), 'utf8')).toBe('1')
  write(place.tree, 'work', 'work')
  const done = await commit(place, brought.placed)
  expect(git(top, 'diff', '--name-only', place.base, done.commit)).toBe('work')
  expect(done.ignored).toEqual(['.env', 'config/', 'packages/one/.env'])
  expect(await removeTree(place, brought.placed)).toBeNull()
  expect(existsSync(join(top, 'node_modules/p/index.js'))).toBe(true)
})

test('a committed link that leads out of the tree is not written through', async () => {
  const { folder, top, place } = repository()
  mkdirSync(join(folder, 'outside'))
  symlinkSync(join(folder, 'outside'), join(top, 'conf'))
  git(top, 'add', '-A')
  git(top, 'commit', '-qm', 'link')
  const at = { ...place, base: git(top, 'rev-parse', 'HEAD') }
  await addTree(at)
  git(top, 'rm', '-q', '--cached', 'conf')
  rmSync(join(top, 'conf'))
  write(top, 'conf/secret', '1')
  const { placed, notes } = await bringFiles({ from: top, to: at.tree, copy: ['conf/secret'], link: [] })
  expect(placed).toEqual([])
  expect(notes.join()).toContain('leads out')
  expect(existsSync(join(folder, 'outside/secret'))).toBe(false)
})

test('a setup command that fails or takes too long is told with the end of its output, and leaves no process', async () => {
  const folder = temporaryFolder()
  const run = (commands: string[], timeoutMs = 20_000, signal = new AbortController().signal) =>
    runSetup({
      dir: folder,
      commands,
      timeoutMs,
      env: { PATH: process.env['PATH'] ?? '' },
      logFile: join(folder, 'log'),
      signal,
    })
  await run(['echo one > made', 'cat made'])
  expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('$ echo one > made\n$ cat made\none\n')
  await expect(run(['echo why; exit 3', 'touch never'])).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: expect.stringMatching(/`echo why; exit 3` ended with exit code 3\.[^]*why$/),
    remedy: expect.stringContaining(join(folder, 'log')),
  })
  expect(existsSync(join(folder, 'never'))).toBe(false)
  await expect(run(['sleep 61.25 & echo $! > pid; sleep 61.25'], 2000)).rejects.toThrow('took longer than')
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'))
  await expect.poll(() => existsSync(`/proc/${pid}/cwd`)).toBe(false)
  const abort = new AbortController()
  const ended = run(['sleep 61.25'], 20_000, abort.signal)
  abort.abort()
  await expect(ended).rejects.toThrow('was ended')
})
