import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import type { Attempt } from '../../core/agent/attempt.ts'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { Task } from '../../core/task/task.ts'
import type { Project } from '../../store/projects.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createWorktrees } from '../../store/worktrees.ts'
import { pino } from 'pino'
import { createBringHome } from './bring-home.ts'
import { createPlaces } from './places.ts'
import { createWorkspaces } from './workspaces.ts'

beforeEach(() => {
  vi.stubEnv('HOME', '/nonexistent')
  onTestFinished(() => void vi.unstubAllEnvs())
})

function git(dir: string, ...args: string[]): string {
  const env = { PATH: process.env['PATH'], HOME: '/nonexistent' }
  const who = ['-c', 'user.name=t', '-c', 'user.email=t@example.org']
  return execFileSync('git', [...who, ...args], {
    cwd: dir,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

/** A project in git and the workspaces of a home; `again` is what a daemon that comes after this one has. */
function stage(settings: Partial<Project> = {}) {
  const temporary = temporaryHome()
  onTestFinished(() => temporary[Symbol.dispose]())
  const home = realpathSync(temporary.folder)
  const dir = join(home, 'source')
  mkdirSync(dir)
  git(dir, 'init', '-q', '-b', 'main')
  writeFileSync(join(dir, 'a.txt'), 'one\n')
  writeFileSync(join(dir, '.gitignore'), '*.log\n')
  git(dir, 'add', '-A')
  git(dir, 'commit', '-qm', 'start')
  const project: Project = {
    ...defaultProjectSettings(),
    name: 'p',
    dir,
    trusted: true,
    createdAt: 1,
    ...settings,
  }
  const db = openForTest(temporary.file)
  const worktrees = createWorktrees(db, Date.now)
  const again = () =>
    createWorkspaces({
      home,
      worktrees,
      places: createPlaces(),
      clock: Date.now,
      logger: pino({ level: 'silent' }),
    })
  const task = (id: string, more: Partial<Task> = {}) =>
    ({ id, prompt: `Do ${id}`, project: 'p', inPlace: null, attempt: 1, status: 'running', ...more }) as Task
  const steps: string[] = []
  const prepare = async (
    workspaces: ReturnType<typeof again>,
    work: Task,
    signal = new AbortController().signal,
  ) => {
    const folder = join(home, 'attempts', `${work.id}.${work.attempt}`)
    mkdirSync(folder, { recursive: true })
    const attempt = { taskId: work.id, attempt: work.attempt, dir, folder } as Attempt
    const env = { PATH: process.env['PATH'] ?? '' }
    attempt.dir = await workspaces.prepare(
      { task: work, attempt, project },
      { env, signal, onStep: (step) => steps.push(step) },
    )
    return attempt
  }
  return { home, dir, project, worktrees, again, task, prepare, steps }
}

const tree = (home: string, id: string) => join(home, 'worktrees/p', id)
const isOver = (task: Task) => async () => task

test('a daemon that dies between any two steps is followed by one that brings the work to its branch, once', async () => {
  const { home, dir, worktrees, again, task, prepare } = stage()
  const one = task('t1')

  // Announced, and nothing made; then made, and not said so: the tree of a start that never ended is made anew.
  await prepare(again(), one)
  const row = worktrees.get('t1')
  if (row === null) throw new Error('no row')
  for (const left of [true, false]) {
    worktrees.put({ ...row, phase: 'making' })
    if (!left) rmSync(row.tree, { recursive: true })
    writeFileSync(join(dir, '.git/worktrees/t1/locked'), 'initializing')
    expect((await prepare(again(), one)).dir).toBe(tree(home, 't1'))
  }

  // The agent is gone with its daemon, its work is not: committed, then removed, and again after each step.
  writeFileSync(join(row.tree, 'a.txt'), 'two\n')
  writeFileSync(join(row.tree, 'x.log'), 'ignored')
  expect(await again().close('t1', async () => null)).toBeNull()
  expect(await again().close('t1', isOver(one))).toBe('Task t1: its tree is gone; the work is on ccm/t1.')
  const closed = worktrees.get('t1')
  expect(closed).toMatchObject({
    phase: 'closed',
    ignored: ['x.log'],
    commit: git(dir, 'rev-parse', 'ccm/t1'),
  })
  if (closed === null) throw new Error('no row')
  for (const phase of ['ready', 'committed', 'kept'] as const) {
    worktrees.put({ ...closed, phase })
    await again().close('t1', isOver(one))
    expect(worktrees.get('t1')).toMatchObject({ phase: 'closed', commit: closed.commit })
  }
  expect(await again().close('t1', isOver(one))).toBeNull()
  expect(git(dir, 'log', '--format=%s', 'ccm/t1')).toBe('Do t1\nstart')
  expect(git(dir, 'status', '--porcelain')).toBe('')
  expect(git(dir, 'worktree', 'list').split('\n')).toHaveLength(1)
})

test('a second attempt goes on in the tree, after a retry from the branch, and also when somebody deleted the tree', async () => {
  const { home, dir, again, task, prepare, worktrees } = stage()
  const first = await prepare(again(), task('t1'))
  writeFileSync(join(first.dir, 'b.txt'), 'of the first')
  expect(await again().end(task('t1'), first, false)).toMatchObject({
    workspace: { kind: 'worktree', dir: first.dir },
  })
  const second = await prepare(again(), task('t1', { attempt: 2 }))
  expect(readFileSync(join(second.dir, 'b.txt'), 'utf8')).toBe('of the first')
  const end = await again().end(task('t1', { attempt: 2 }), second, true)
  expect(end).toMatchObject({
    files: [{ path: 'b.txt', change: 'added' }],
    workspace: { dir: null, branch: 'ccm/t1' },
    reopen: `git -C '${dir}' worktree add '${tree(home, 't1')}' ccm/t1`,
  })
  await again().close('t1', isOver(task('t1')))
  const third = await prepare(again(), task('t1', { attempt: 3 }))
  expect(readFileSync(join(third.dir, 'b.txt'), 'utf8')).toBe('of the first')
  rmSync(third.dir, { recursive: true })
  const fourth = await prepare(again(), task('t1', { attempt: 4 }))
  expect(readFileSync(join(fourth.dir, 'b.txt'), 'utf8')).toBe('of the first')
  expect(worktrees.get('t1')?.notes.join()).toContain('Somebody deleted its tree')
})

test('a task that changed nothing leaves no branch, and what was not committed in the source is named', async () => {
  const { dir, again, task, prepare, project, worktrees } = stage()
  writeFileSync(join(dir, 'a.txt'), 'mine')
  writeFileSync(join(dir, 'new'), 'mine')
  const workspaces = again()
  expect(await workspaces.announce(project, null)).toEqual([
    `2 changed files of ${dir} are not in the agent's tree: a.txt, new. Commit them, or use --here.`,
  ])
  expect(await workspaces.announce(project, true)).toEqual([])
  const attempt = await prepare(workspaces, task('t1'))
  expect(readFileSync(join(attempt.dir, 'a.txt'), 'utf8')).toBe('one\n')
  expect(await workspaces.end(task('t1'), attempt, true)).toMatchObject({
    workspace: { branch: null, commit: null, left_out: ['a.txt', 'new'] },
    files: [],
  })
  await workspaces.close('t1', isOver(task('t1')))
  expect(git(dir, 'branch', '--list', 'ccm/*')).toBe('')
  expect(worktrees.get('t1')).toMatchObject({ phase: 'closed', commit: null })
})

test('in place there is one agent at a time, above and below too, and the next when it has left', async () => {
  const { dir, again, task, prepare, project } = stage({ inPlace: true })
  const workspaces = again()
  expect((await prepare(workspaces, task('t1'))).dir).toBe(dir)
  await expect(prepare(workspaces, task('t2'))).rejects.toMatchObject({ code: 'DIR_BUSY' })
  workspaces.takeBack({ taskId: 't3', dir: join(dir, 'below') } as Attempt)
  workspaces.leave('t1')
  expect((await prepare(workspaces, task('t2'))).dir).toBe(dir)
  workspaces.leave('t2')
  workspaces.takeBack({ taskId: 't3', dir: join(dir, 'below') } as Attempt)
  await expect(prepare(workspaces, task('t2'))).rejects.toMatchObject({
    message: expect.stringContaining('t3'),
  })
  expect(workspaces.worksInPlace(project, task('t2'))).toBe(true)
  expect(workspaces.worksInPlace(project, task('t2', { inPlace: false }))).toBe(false)
})

test('a tree somebody works in stays and says so, goes once they left, and keeps its work either way', async () => {
  const { dir, home, again, task, prepare, worktrees } = stage()
  const attempt = await prepare(again(), task('t1'))
  writeFileSync(join(attempt.dir, 'b'), 'b')
  const shell = spawn('sleep', ['60'], { cwd: attempt.dir })
  onTestFinished(() => void shell.kill())
  await expect.poll(() => existsSync(`/proc/${shell.pid}/cwd`)).toBe(true)
  const end = await again().end(task('t1'), attempt, true)
  expect(end?.workspace).toMatchObject({
    dir: attempt.dir,
    notes: [expect.stringMatching(/tree stays .*sleep \(\d+\)/)],
  })
  expect(git(dir, 'show', 'ccm/t1:b')).toBe('b')
  expect(await again().close('t1', isOver(task('t1')))).toContain('sleep')
  shell.kill()
  await new Promise((resolve) => shell.once('exit', resolve))
  await again().close('t1', isOver(task('t1')))
  expect(worktrees.get('t1')).toMatchObject({ phase: 'closed', notes: [] })
  expect(existsSync(tree(home, 't1'))).toBe(false)
})

test('a setup runs once in a tree, again after it failed, and what it copies and links is never committed', async () => {
  const { dir, home, again, task, prepare, steps } = stage({
    setup: ['echo run >> ../../../setup-runs; test -e ../../../may-pass'],
    copy: ['.env'],
  })
  writeFileSync(join(dir, '.env'), 'KEY=1')
  await expect(prepare(again(), task('t1'))).rejects.toMatchObject({ code: 'SETUP_FAILED' })
  writeFileSync(join(home, 'may-pass'), '')
  await prepare(again(), task('t1', { attempt: 2 }))
  const attempt = await prepare(again(), task('t1', { attempt: 3 }))
  expect(readFileSync(join(home, 'setup-runs'), 'utf8')).toBe('run\nrun\n')
  expect(steps).toHaveLength(2)
  expect(readFileSync(join(attempt.dir, '.env'), 'utf8')).toBe('KEY=1')
  expect(await again().end(task('t1'), attempt, true)).toMatchObject({
    files: [],
    workspace: { ignored: ['.env'] },
  })
  await again().close('t1', isOver(task('t1')))
  expect(existsSync(attempt.dir)).toBe(false)
  const abort = new AbortController()
  abort.abort()
  await expect(prepare(again(), task('t2'), abort.signal)).rejects.toThrow('it was ended')
})

test('work is applied once, discarded with a way back, and refused with what helps before its end', async () => {
  const { dir, again, task, prepare, worktrees } = stage()
  const workspaces = again()
  let status: Task['status'] = 'running'
  const queue = { get: async (id: string) => (id.startsWith('t') ? task(id, { status }) : null) }
  const home = createBringHome({
    worktrees,
    workspaces,
    queue,
    dirOf: () => '/code/x',
    changed: () => undefined,
  })
  const attempt = await prepare(workspaces, task('t1'))
  writeFileSync(join(attempt.dir, 'b'), 'b')
  expect(await home.diff('t1', true)).toContain('1 file changed')
  await expect(home.apply('t1', 'merge')).rejects.toMatchObject({
    code: 'CONFLICT',
    remedy: expect.stringContaining('ccm diff t1'),
  })
  status = 'succeeded'
  expect(await home.apply('t1', 'merge')).toMatchObject({ files: 1, branch: null })
  expect(readFileSync(join(dir, 'b'), 'utf8')).toBe('b')
  await expect(home.apply('t1', 'merge')).rejects.toThrow('merged already')
  expect(await home.diff('t1', true)).toContain('1 file changed')

  writeFileSync(join((await prepare(workspaces, task('t2'))).dir, 'c'), 'c')
  const { commit } = await home.discard('t2')
  expect(git(dir, 'rev-parse', 'refs/ccm/discarded/t2')).toBe(commit)
  await expect(home.apply('t2', 'patch')).rejects.toMatchObject({
    remedy: expect.stringContaining(`branch ccm/t2 ${commit}`),
  })
  await expect(home.apply('t3', 'merge')).rejects.toThrow('the directory itself, /code/x')
  await expect(home.apply('x', 'merge')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})
