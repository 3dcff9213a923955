import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  changesBetween,
  changesSince,
  keepSnapshot,
  readSnapshot,
  type Snapshot,
  snapshotTree,
} from './changes.ts'
import { gitTopLevel } from './git.ts'

let base = ''
let dir = ''
let folder = ''

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'ccm-changes-'))
  dir = join(base, 'app')
  folder = join(base, 'before')
  mkdirSync(dir)
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

function git(args: string[], at = dir): string {
  const who = ['-c', 'user.name=T', '-c', 'user.email=t@localhost', '-c', 'init.defaultBranch=main']
  const env = { PATH: process.env['PATH'] ?? '', HOME: base, GIT_CONFIG_NOSYSTEM: '1' }
  return execFileSync('git', [...who, ...args], { cwd: at, env, encoding: 'utf8', stdio: 'pipe' })
}

function repository(files: Record<string, string>): void {
  git(['init', '-q'])
  for (const [path, text] of Object.entries(files)) write(path, text)
  git(['add', '-A'])
  git(['commit', '-q', '--allow-empty', '-m', 'first'])
}

function write(path: string, text: string): void {
  mkdirSync(join(dir, path, '..'), { recursive: true })
  writeFileSync(join(dir, path), text)
}

/** All of a folder's files with their contents: equal before and after means untouched. */
function fingerprint(root: string): string {
  const hash = createHash('sha256')
  const paths = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  for (const path of paths.sort()) hash.update(path).update(readFileSync(path))
  return hash.digest('hex')
}

async function changesAfter(act: () => void, at = dir): Promise<unknown> {
  const before = await snapshotTree(at, folder)
  act()
  return changesSince(at, before)
}

test('names added, modified and deleted files with their lines', async () => {
  repository({ 'a.ts': 'one\ntwo\nthree\n', 'gone.ts': 'x\ny\n', 'same.ts': 'same\n' })
  const changes = await changesAfter(() => {
    write('a.ts', 'one\nTWO\nand\nthree\n')
    unlinkSync(join(dir, 'gone.ts'))
    write('sub/new.ts', 'n\n')
  })
  expect(changes).toEqual([
    { path: 'a.ts', change: 'modified', added: 2, removed: 1 },
    { path: 'gone.ts', change: 'deleted', added: 0, removed: 2 },
    { path: 'sub/new.ts', change: 'added', added: 1, removed: 0 },
  ])
})

test('counts only what changed since the start, not what was dirty before', async () => {
  repository({ 'a.ts': 'one\n', 'b.ts': 'b\n' })
  write('a.ts', 'one\nmine\n')
  write('untracked.ts', 'u\n')
  git(['add', 'a.ts'])
  write('b.ts', 'b\nunstaged\n')
  expect(await changesAfter(() => write('a.ts', 'one\nmine\nagent\n'))).toEqual([
    { path: 'a.ts', change: 'modified', added: 1, removed: 0 },
  ])
})

test('sees what the agent committed', async () => {
  repository({ 'a.ts': 'one\n' })
  const changes = await changesAfter(() => {
    write('a.ts', 'two\n')
    git(['commit', '-q', '-a', '-m', 'second'])
  })
  expect(changes).toEqual([{ path: 'a.ts', change: 'modified', added: 1, removed: 1 }])
})

test('sees a change of the same length in the same second as the last git command', async () => {
  for (let round = 0; round < 5; round++) {
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir)
    repository({ 'a.ts': 'aaaa\n' })
    const at = new Date()
    utimesSync(join(dir, 'a.ts'), at, at)
    git(['update-index', '--refresh'])
    const before = await snapshotTree(dir, folder)
    write('a.ts', 'bbbb\n')
    utimesSync(join(dir, 'a.ts'), at, at)
    expect(await changesSince(dir, before)).toHaveLength(1)
  }
})

test('leaves every file below .git as it was, also objects, index and lock', async () => {
  repository({ 'a.ts': 'one\n' })
  write('a.ts', 'dirty\n')
  write('new.ts', 'new\n')
  const untouched = fingerprint(join(dir, '.git'))
  const before = await snapshotTree(dir, folder)
  write('new.ts', 'newer\n')
  expect(await changesSince(dir, before)).toHaveLength(1)
  expect(fingerprint(join(dir, '.git'))).toBe(untouched)
})

test('runs no hook, file-system monitor, external diff or text conversion of the repository', async () => {
  repository({ 'a.ts': 'one\n', '.gitattributes': '*.ts diff=evil\n' })
  const script = join(base, 'evil.sh')
  writeFileSync(script, `#!/bin/sh\necho ran >> '${join(base, 'ran')}'\ncat "$1"\n`)
  chmodSync(script, 0o755)
  for (const key of ['core.fsmonitor', 'diff.external', 'diff.evil.textconv', 'diff.evil.command']) {
    git(['config', key, script])
  }
  for (const hook of ['post-index-change', 'pre-commit', 'post-checkout']) {
    writeFileSync(join(dir, '.git/hooks', hook), readFileSync(script), { mode: 0o755 })
  }
  rmSync(join(base, 'ran'), { force: true })
  expect(await changesAfter(() => write('a.ts', 'two\n'))).toMatchObject([{ added: 1, removed: 1 }])
  expect(existsSync(join(base, 'ran'))).toBe(false)
})

test('drops the GIT_ variables of its own environment', async () => {
  repository({ 'a.ts': 'one\n' })
  process.env['GIT_DIR'] = '/nonexistent'
  process.env['GIT_WORK_TREE'] = '/nonexistent'
  try {
    // Without git the line counts would be unknown.
    expect(await changesAfter(() => write('a.ts', 'two\n'))).toMatchObject([{ added: 1, removed: 1 }])
  } finally {
    delete process.env['GIT_DIR']
    delete process.env['GIT_WORK_TREE']
  }
})

test('reads odd file names exactly', async () => {
  repository({})
  const names = [
    'a\nb.txt',
    'q"uote.txt',
    "s'q.txt",
    'tab\tx.txt',
    ':colon',
    '-dash',
    'ünï 漢字 🙂.txt',
    ' space ',
  ]
  const changes = await changesAfter(() => {
    for (const name of names) write(name, 'x\n')
  })
  const expected = names.map((path) => ({ path, change: 'added', added: 1, removed: 0 }))
  expect(changes).toEqual(expected.sort((a, b) => (a.path < b.path ? -1 : 1)))
})

test('works where the directory itself has an odd name', async () => {
  dir = join(base, 'we"ird: $(touch x) `x` \\ü')
  folder = join(base, 'be"fore: x')
  mkdirSync(dir)
  repository({ 'a.ts': 'one\n' })
  const changes = await changesAfter(() => write('a.ts', 'two\n'))
  expect(changes).toEqual([{ path: 'a.ts', change: 'modified', added: 1, removed: 1 }])
  expect(await gitTopLevel(dir)).toBe(dir)
})

test('says so where the path of the repository holds a line break, which git cannot take', async () => {
  dir = join(base, 'line\nbreak')
  mkdirSync(dir)
  repository({ 'a.ts': 'one\n' })
  expect(await changesAfter(() => write('a.ts', 'two\n'))).toContain('line break')
  expect(await gitTopLevel(dir)).toBe(dir)
})

test('a renamed file is one deleted and one added, whatever the configuration says', async () => {
  repository({ 'old.ts': 'one\ntwo\nthree\n' })
  git(['config', 'diff.renames', 'copies'])
  expect(await changesAfter(() => git(['mv', 'old.ts', 'new.ts']))).toEqual([
    { path: 'new.ts', change: 'added', added: 3, removed: 0 },
    { path: 'old.ts', change: 'deleted', added: 0, removed: 3 },
  ])
})

test('gives no counts for binary files', async () => {
  repository({ 'a.bin': 'x' })
  const changes = await changesAfter(() => writeFileSync(join(dir, 'a.bin'), Buffer.from([0, 1, 2, 0])))
  expect(changes).toEqual([{ path: 'a.bin', change: 'modified', added: null, removed: null }])
})

test('does not see ignored files', async () => {
  repository({ '.gitignore': 'dist/\n' })
  expect(await changesAfter(() => write('dist/out.js', 'x\n'))).toEqual([])
})

test('covers the whole work tree from a part of it, with paths relative to the part', async () => {
  repository({ 'top.ts': 't\n', 'pkg/a.ts': 'a\n' })
  const changes = await changesAfter(
    () => {
      write('top.ts', 'u\n')
      write('pkg/a.ts', 'b\n')
    },
    join(dir, 'pkg'),
  )
  expect(changes).toMatchObject([{ path: '../top.ts' }, { path: 'a.ts' }])
})

test('works without a commit', async () => {
  git(['init', '-q'])
  write('a.ts', 'one\n')
  expect(await changesAfter(() => write('b.ts', 'two\n'))).toMatchObject([{ path: 'b.ts', change: 'added' }])
})

test('works in a linked work tree', async () => {
  repository({ 'a.ts': 'one\n' })
  const linked = join(base, 'linked')
  git(['worktree', 'add', '-q', linked])
  const changes = await changesAfter(() => writeFileSync(join(linked, 'a.ts'), 'two\n'), linked)
  expect(changes).toMatchObject([{ path: 'a.ts', change: 'modified' }])
})

test('names a submodule whose commit moved, and a nested repository without a commit hides nothing', async () => {
  repository({ 'a.ts': 'one\n' })
  const other = join(base, 'other')
  mkdirSync(other)
  git(['init', '-q'], other)
  git(['commit', '-q', '--allow-empty', '-m', 'x'], other)
  git(['-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', other, 'sub'])
  git(['commit', '-q', '-m', 'sub'])
  mkdirSync(join(dir, 'fresh'))
  git(['init', '-q'], join(dir, 'fresh'))
  const changes = await changesAfter(() => {
    git(['commit', '-q', '--allow-empty', '-m', 'y'], join(dir, 'sub'))
    write('a.ts', 'two\n')
  })
  expect(changes).toEqual([
    { path: 'a.ts', change: 'modified', added: 1, removed: 1 },
    { path: 'sub', change: 'modified', added: null, removed: null },
  ])
})

test('says so in a bare repository', async () => {
  git(['init', '-q', '--bare'])
  const before = await snapshotTree(dir, folder)
  expect(before).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('without a work tree') })
  expect(await changesSince(dir, before)).toContain('without a work tree')
})

test('gives up after the time it is given and says so', async () => {
  repository({ 'a.ts': 'one\n' })
  git(['config', 'filter.slow.clean', 'sleep 20'])
  write('.gitattributes', '*.slow filter=slow\n')
  write('x.slow', 'x\n')
  const startedAt = performance.now()
  const snapshot = await snapshotTree(dir, folder, { timeoutMs: 300 })
  expect(snapshot).toMatchObject({ kind: 'unknown', reason: expect.stringContaining('too long') })
  expect(performance.now() - startedAt).toBeLessThan(10_000)
})

test('stops when it is told to', async () => {
  repository({ 'a.ts': 'one\n' })
  expect(await snapshotTree(dir, folder, { signal: AbortSignal.abort() })).toMatchObject({ kind: 'unknown' })
})

test('survives a restart as a file', async () => {
  repository({ 'a.ts': 'one\n' })
  await keepSnapshot(folder, await snapshotTree(dir, folder))
  write('a.ts', 'two\n')
  const kept = await readSnapshot(folder)
  expect(await changesSince(dir, kept as Snapshot)).toHaveLength(1)
  expect(await readSnapshot(join(base, 'none'))).toBe(null)
})

test('lists a directory without git file by file', async () => {
  write('a.txt', 'aaaa')
  write('b.txt', 'b')
  write('touched.txt', 't')
  write('node_modules/x/index.js', 'x')
  symlinkSync('a.txt', join(dir, 'link'))
  const changes = await changesAfter(() => {
    write('a.txt', 'bbbb')
    unlinkSync(join(dir, 'b.txt'))
    write('sub/c.txt', 'c')
    write('node_modules/x/index.js', 'changed')
    utimesSync(join(dir, 'touched.txt'), 1, 1)
    unlinkSync(join(dir, 'link'))
    symlinkSync('c.txt', join(dir, 'link'))
  })
  expect(changes).toEqual([
    { path: 'a.txt', change: 'modified', added: null, removed: null },
    { path: 'b.txt', change: 'deleted', added: null, removed: null },
    { path: 'link', change: 'modified', added: null, removed: null },
    { path: 'sub/c.txt', change: 'added', added: null, removed: null },
  ])
})

test('keeps to the list when the agent makes the directory a repository, and is honest about the reverse', async () => {
  write('a.txt', 'a')
  const changes = await changesAfter(() => repository({ 'b.txt': 'b' }))
  expect(changes).toEqual([{ path: 'b.txt', change: 'added', added: null, removed: null }])
  const gone = await changesAfter(() => rmSync(join(dir, '.git'), { recursive: true }))
  expect(gone).toContain('no git work tree any more')
})

test('does not compare what cannot be compared', async () => {
  const listing: Snapshot = { kind: 'listing', files: [] }
  const tree: Snapshot = { kind: 'git', tree: 'x', folder, prefix: '' }
  expect(await changesBetween(dir, listing, tree)).toContain('different kinds')
})
