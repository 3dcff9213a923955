import { execa } from 'execa'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { ScriptedReply } from '../../src/demo/model.ts'
import { calls, inTurn, runs, says } from '../e2e/replies.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']

test('a result tells every tool call in order, what changed, tokens, cost, and how to go on by hand', async () => {
  const replies: ScriptedReply[] = []
  await using stage = await createStageHere((request) => {
    // Of a session that is resumed by hand the answer is always the same.
    if (request.userText.includes('And what else?')) return says('I am back.')
    return replies.shift() ?? { kind: 'hang' }
  })
  const { work } = stage
  writeFileSync(join(work, 'gone.txt'), 'one\ntwo\n')
  await git(stage, 'add', '-A')
  await git(stage, 'commit', '-qm', 'more')
  writeFileSync(join(work, 'older.txt'), 'not of this task\n')
  const parser = join(work, 'parser.ts')
  mkdirSync(join(work, 'notes'))
  replies.push(
    {
      kind: 'message',
      thinking: 'First the file.',
      text: 'I look at it.',
      // Two tools, a text and a thought are four records of one message in the transcript.
      tools: [
        { name: 'Read', input: { file_path: parser } },
        { name: 'Read', input: { file_path: join(work, 'gone.txt') } },
      ],
    },
    calls('Edit', {
      file_path: parser,
      old_string: 'answer = 41',
      new_string: 'answer = 42\nexport const more = 1',
    }),
    calls('Write', { file_path: join(work, 'notes/new.md'), content: 'a\nb\nc\n' }),
    runs('rm gone.txt && printf "x\\n" > by-shell.txt && sleep 0.7'),
    runs('echo broken >&2; exit 3'),
    calls('Edit', { file_path: parser, old_string: 'not there', new_string: 'x' }),
    says('All is in place.\n\n[DONE]'),
  )
  const messages = [...replies]
  const { id } = await stage.add('Tidy up', '--model', 'claude-opus-5-5', ...BYPASS)
  const { status, result, attempt } = await stage.end(id)
  expect({ status, attempt }).toEqual({ status: 'succeeded', attempt: 1 })
  if (result === null) throw new Error('no result')

  expect(result.text).toBe('All is in place.')
  expect(result.tools.map(({ tool, kind, ok }) => [tool, kind, ok])).toEqual([
    ['Read', 'read', true],
    ['Read', 'read', true],
    ['Edit', 'edit', true],
    ['Write', 'write', true],
    ['Bash', 'command', true],
    ['Bash', 'command', false],
    ['Edit', 'edit', false],
  ])
  const [read, , edit, write, shell, broken, refused] = result.tools
  expect(read).toMatchObject({ path: 'parser.ts', lines_added: null, error: null })
  expect(edit).toMatchObject({ path: 'parser.ts', lines_added: 2, lines_removed: 1 })
  expect(write).toMatchObject({ path: 'notes/new.md', lines_added: 3, lines_removed: 0 })
  expect(shell).toMatchObject({ exit_code: 0, command: expect.stringContaining('rm gone.txt') })
  expect(shell?.duration_ms).toBeGreaterThanOrEqual(700)
  expect(broken).toMatchObject({ exit_code: 3, error: expect.stringContaining('broken') })
  expect(refused?.error).toMatch(/not found/i)

  expect(result.files).toEqual([
    { path: 'by-shell.txt', change: 'added', added: 1, removed: 0 },
    { path: 'gone.txt', change: 'deleted', added: 0, removed: 2 },
    { path: 'notes/new.md', change: 'added', added: 3, removed: 0 },
    { path: 'parser.ts', change: 'modified', added: 2, removed: 1 },
  ])

  const output = messages.reduce((sum, reply) => sum + outputTokens(reply), 0)
  const n = messages.length
  expect(result.usage).toEqual({
    'claude-opus-5-5': {
      input_tokens: 1200 * n,
      cache_creation_input_tokens: 100 * n,
      cache_read_input_tokens: 2000 * n,
      output_tokens: output,
    },
  })
  const dollars = (n * (1200 * 4 + 2000 * 0.2 + 100 * 5) + output * 20) / 1e6
  expect(result.cost_usd).toBeCloseTo(dollars, 10)
  expect(result.errors).toEqual([])
  expect(result.attempts).toBe(1)
  expect(result.duration_ms).toBeGreaterThan(700)

  const started = (await stage.events(id)).find((event) => event.hook_event_name === 'SessionStart')
  expect(result.claude_session_id).toBe(started?.session_id)
  const request = await resumeByHand(stage, result.resume_command ?? '')
  expect(request.userBlocks).toEqual(expect.arrayContaining(['Tidy up']))
  expect(request.turn).toBeGreaterThanOrEqual(n)
  expect(readFileSync(parser, 'utf8')).toBe('export const answer = 42\nexport const more = 1\n')
})

test('a model without a known price has tokens and no cost; outside git the files are named too', async () => {
  await using stage = await createStageHere(inTurn(runs('echo hi > new.txt'), says('Made.\n[DONE]')), {
    git: false,
  })
  const { id } = await stage.add('Make a file', '--model', 'claude-nine', ...BYPASS)
  const { result } = await stage.end(id)
  expect(result).toMatchObject({ cost_usd: null, files: [{ path: 'new.txt', change: 'added' }] })
  expect(result?.usage['claude-nine']?.input_tokens).toBe(2400)
})

/** Runs the command as a person would who has the same login, and answers the request it leads to. */
async function resumeByHand(stage: Stage, command: string): Promise<Stage['model']['requests'][number]> {
  const bin = join(stage.folder, 'bin')
  mkdirSync(bin)
  const toml = readFileSync(join(stage.folder, 'ccm.toml'), 'utf8')
  const claude = /^command = (".*")$/m.exec(toml)?.[1] ?? '""'
  await execa('ln', ['-s', JSON.parse(claude) as string, join(bin, 'claude')])
  const login = toml
    .split('[claude.env]\n')[1]
    ?.split('\n')
    .flatMap((line) => /^(\w+) = (".*")$/.exec(line)?.slice(1) ?? [])
  const environment: string[] = []
  for (let index = 0; index < (login?.length ?? 0); index += 2) {
    environment.push(`${login?.[index]}=${JSON.parse(login?.[index + 1] ?? '""') as string}`)
  }
  const { PATH = '', HOME = '' } = stage.env
  const seen = stage.model.requests.length
  const pane = await stage.tmux(
    'new-window',
    '-dPF',
    '#{pane_id}',
    'env',
    '-i',
    `PATH=${bin}:${PATH}`,
    `HOME=${HOME}`,
    'TERM=xterm-256color',
    ...environment,
    '/bin/sh',
    '-c',
    `${command} 'And what else?'`,
  )
  for (let tries = 0; tries < 100; tries++) {
    const request = stage.model.requests[seen]
    if (request !== undefined) return request
    // Their own key, which Claude Code has not seen in this folder: an agent gets its key by a pipe.
    const screen = await stage.tmux('capture-pane', '-pt', pane)
    if (screen.includes('Detected a custom API key')) {
      await stage.tmux('send-keys', '-t', pane, 'Up')
      await sleep(300)
      await stage.tmux('send-keys', '-t', pane, 'Enter')
    }
    await sleep(300)
  }
  throw new Error(`nothing came of: ${command}`)
}

/** What the scripted model says it wrote: one token for four characters. */
function outputTokens(reply: ScriptedReply): number {
  if (reply.kind !== 'message') return 0
  return Math.ceil(((reply.text ?? '').length + JSON.stringify(reply.tools ?? []).length) / 4)
}

async function git(stage: Stage, ...args: string[]): Promise<void> {
  await execa('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
    cwd: stage.work,
    env: stage.env,
    extendEnv: false,
  })
}
