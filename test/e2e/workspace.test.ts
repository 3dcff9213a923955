import { existsSync, readFileSync, writeFileSync } from 'node:fs'
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
    expect(git(stage, 'status', '--porcelain')).toBe('?? notes.md')
  },
)
