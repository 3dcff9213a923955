import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execaSync } from 'execa'
import { expect, test } from 'vitest'
import type { ScriptedReply } from '../../src/demo/model.ts'
import { createStage, type Stage } from './stage.ts'

const WAIT_MS = 120_000
const TEST = { timeout: 400_000 }
const BYPASS = ['--permission-mode', 'bypassPermissions']

const say = (text: string): ScriptedReply => ({ kind: 'message', text })
const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'a step' } }],
})
const git = (stage: Stage, ...args: string[]) =>
  execaSync('git', args, { cwd: stage.work, env: stage.env, extendEnv: false }).stdout

test(
  'a task in a git project leaves the source alone, its branch has the commit, and its tree is gone',
  TEST,
  async () => {
    await using stage = await createStage(({ turn }) =>
      turn === 0 ? bash('echo "export const answer = 42" > parser.ts; echo x > new.txt') : say('[DONE]'),
    )
    writeFileSync(join(stage.work, 'notes.md'), 'mine')
    const ran = await stage.ccm(['run', '--trust', ...BYPASS, 'mend the parser'], { timeoutMs: WAIT_MS })
    expect(ran).toMatchObject({ code: 0, stderr: expect.stringContaining('1 changed file of') })
    expect(ran.stderr).toContain('notes.md')
    const id = /^Task (\w+)/.exec(ran.stdout)?.[1] ?? ''
    const { result, workspace } = await stage.until(id, (task) => task.workspace?.dir === null)
    expect(result?.files.map(({ path, change }) => [path, change])).toEqual([
      ['new.txt', 'added'],
      ['parser.ts', 'modified'],
    ])
    expect(workspace).toMatchObject({
      kind: 'worktree',
      dir: null,
      branch: `ccm/${id}`,
      left_out: ['notes.md'],
    })
    expect(readFileSync(join(stage.work, 'parser.ts'), 'utf8')).toContain('41')
    expect(git(stage, 'show', `ccm/${id}:parser.ts`)).toContain('42')
    expect(git(stage, 'log', '-1', '--format=%H %s', `ccm/${id}`)).toBe(
      `${result?.workspace?.commit} mend the parser`,
    )
    await expect
      .poll(() => existsSync(join(stage.home, 'worktrees', 'work', id)), { timeout: WAIT_MS })
      .toBe(false)
    expect(git(stage, 'worktree', 'list').split('\n').length).toBe(1)
    const config = JSON.parse(readFileSync(join(stage.home, 'claude', id, '.claude.json'), 'utf8')) as object
    expect(config).toHaveProperty(['projects', stage.work, 'hasTrustDialogAccepted'], true)
    expect(git(stage, 'status', '--porcelain')).toBe('?? notes.md')
  },
)

test(
  'two tasks of a project work at once, each in its own tree of its own folder; both branches merge',
  TEST,
  async () => {
    await using stage = await createStage(({ turn, userText }) => {
      const name = userText.includes('first') ? 'first' : 'second'
      const other = name === 'first' ? 'second' : 'first'
      return turn === 0
        ? bash(
            `pwd > ${name}.txt; touch ../../../../../${name}; until [ -e ../../../../../${other} ]; do sleep 0.1; done`,
          )
        : say('[DONE]')
    })
    const sub = join(stage.work, 'sub')
    mkdirSync(sub)
    writeFileSync(join(sub, 'x'), 'x')
    git(stage, 'add', '-A')
    git(stage, '-c', 'user.name=t', '-c', 'user.email=t@example.org', 'commit', '-qm', 'sub')
    const add = (prompt: string) => stage.add(prompt, '--dir', sub, ...BYPASS)
    const tasks = [await add('first'), await add('second')]
    for (const { id } of tasks) {
      const { result, status } = await stage.end(id, WAIT_MS)
      expect(status).toBe('succeeded')
      const name = tasks[0]?.id === id ? 'first.txt' : 'second.txt'
      expect(result?.files).toMatchObject([{ path: name, change: 'added' }])
      expect(git(stage, 'show', `ccm/${id}:sub/${name}`)).toBe(join(stage.home, 'worktrees/sub', id, 'sub'))
    }
    for (const { id } of tasks) {
      const diff = await stage.ccm(['diff', id, '--stat'])
      expect(diff).toMatchObject({ code: 0, stdout: expect.stringContaining('1 file changed') })
      await expect.poll(async () => (await stage.task(id)).workspace?.dir, { timeout: WAIT_MS }).toBeNull()
      expect(await stage.ccm(['apply', id])).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('1 file.'),
      })
      expect((await stage.task(id)).workspace?.branch).toBeNull()
    }
    expect(git(stage, 'ls-files', 'sub').split('\n')).toEqual(['sub/first.txt', 'sub/second.txt', 'sub/x'])
    expect(git(stage, 'branch', '--list', 'ccm/*')).toBe('')
  },
)

test(
  'with --here the second task waits for the first, says so, and waits on after a crash of the daemon',
  TEST,
  async () => {
    await using stage = await createStage(({ turn, userText }) =>
      turn === 0 && !userText.includes('third')
        ? bash(
            `echo ${userText.includes('first') ? 'first' : 'second'} >> order; until [ -e go ]; do sleep 0.1; done`,
          )
        : say('[DONE]'),
    )
    const add = (prompt: string) => stage.add(prompt, '--here', ...BYPASS)
    const first = await add('first')
    const second = await add('second')
    await expect.poll(() => existsSync(join(stage.work, 'order')), { timeout: WAIT_MS }).toBe(true)
    const waits = await stage.task(second.id)
    expect(waits).toMatchObject({ status: 'queued', attempt: 0 })
    expect(waits.state_reason).toBe(
      `directory: task ${first.id} works in ${stage.work}, one agent at a time.`,
    )
    // A task in a tree of its own is not held up.
    expect((await stage.end((await stage.add('third', ...BYPASS)).id, WAIT_MS)).status).toBe('succeeded')
    await stage.crash()
    await stage.ccm(['start'])
    expect(await stage.task(first.id)).toMatchObject({ status: 'running', attempt: 1 })
    expect(await stage.task(second.id)).toMatchObject({ status: 'queued', attempt: 0 })
    writeFileSync(join(stage.work, 'go'), '')
    for (const { id } of [first, second]) expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(await stage.task(second.id)).toMatchObject({
      attempt: 1,
      result: { workspace: { kind: 'in_place' } },
    })
    expect(readFileSync(join(stage.work, 'order'), 'utf8')).toBe('first\nsecond\n')
    expect((await stage.ccm(['apply', first.id])).stderr).toContain('its changes are there already')
  },
)

test(
  "with the user's own login the trust dialog of a tree is answered, and a failing setup is told with its output",
  TEST,
  async () => {
    await using stage = await createStage(() => say('[DONE]'), { apiKey: null })
    const home = stage.env['HOME'] ?? ''
    writeFileSync(join(home, '.claude.json'), JSON.stringify({ hasCompletedOnboarding: true }))
    mkdirSync(join(home, '.claude'))
    const settings = { apiKeyHelper: 'echo sk-ant-dummy-of-the-user' }
    writeFileSync(join(home, '.claude/settings.json'), JSON.stringify(settings))
    for (const prompt of ['one', 'two']) {
      const { id } = await stage.add(prompt)
      expect(await stage.end(id, WAIT_MS)).toMatchObject({ status: 'succeeded', result: { files: [] } })
      expect((await stage.chain(id)).map(({ to }) => to)).not.toContain('waiting')
      await expect.poll(() => git(stage, 'branch', '--list', 'ccm/*'), { timeout: WAIT_MS }).toBe('')
    }
    // Claude Code trusts the source for all of its worktrees: the user's file does not grow with each task.
    const config = JSON.parse(readFileSync(join(home, '.claude.json'), 'utf8')) as { projects: object }
    expect(Object.keys(config.projects)).toEqual([stage.work])
    await stage.ccm(['projects', 'set', 'work', 'setup=echo from the setup; exit 7'])
    const { id } = await stage.add('three')
    const failed = await stage.end(id, WAIT_MS)
    expect(failed).toMatchObject({ status: 'failed', attempt: 3 })
    expect(failed.error).toMatch(/`echo from the setup; exit 7` ended with exit code 7\.[^]*from the setup/)
    expect(failed.result?.errors.map(({ kind }) => kind)).toContain('setup')
  },
)
