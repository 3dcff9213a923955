import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import type { ScriptedReply } from '../../src/demo/model.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStage, type Stage } from './stage.ts'

const WAIT_MS = 120_000
const TEST = { timeout: 400_000 }
const CCM = resolve(import.meta.dirname, '../../bin/ccm.js')

const say = (text: string, more: object = {}): ScriptedReply => ({ kind: 'message', text, ...more })
const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'a step' } }],
})
const run = (stage: Stage, ...args: string[]) => stage.ccm(['run', ...args], { timeoutMs: WAIT_MS })
const newest = async (stage: Stage) => (await stage.json<TaskJson[]>(['tasks']))[0]

test(
  'off a terminal a run is plain lines and a summary; with --json one document and nothing else',
  TEST,
  async () => {
    await using stage = await createStage(({ turn }) =>
      turn === 0 ? bash('printf "a\\nb\\n" >new.txt; exit 3') : say('All \u001b[31mdone\u001b[0m.\n[DONE]'),
    )
    const plain = await run(stage, '--trust', '--permission-mode', 'bypassPermissions', 'go')
    expect(plain).toMatchObject({ code: 0, stderr: '' })
    const lines = plain.stdout.split('\n')
    expect(lines[0]).toMatch(/^Task \w+ in .*\/work$/)
    expect(plain.stdout).toMatch(
      /● Bash printf [^]*\n {2}All [^\n]*done[^\n]*\.\n[^]*Files\n {4}new\.txt {2}\+2 -0 {2}added\n/,
    )
    expect(plain.stdout).toMatch(/Commands\n {4}printf .* {2}exit 3 in /)
    expect(plain.stdout).toMatch(/\nsucceeded in .*\n[^]*\$0\.\d+ · [\d.]+k tokens in, \d+ out/)
    // oxlint-disable-next-line no-control-regex -- no colour, no cursor movement, no overwritten line
    expect(plain.stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)

    const json = await run(stage, '--json', '--permission-mode', 'bypassPermissions', 'again')
    expect(json).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(json.stdout)).toMatchObject({
      status: 'succeeded',
      prompt: 'again',
      agent_state: 'complete',
      result: { tools: [{ tool: 'Bash', kind: 'command' }] },
    })
  },
)

test('the exit code says how it ended: 0, 1, 2, 3, 5, 69 and 78', TEST, async () => {
  await using stage = await createStage(({ userText }) => {
    if (userText.includes('impossible')) return say('[ERROR] the disk is made of cheese')
    if (userText.includes('slow')) return { kind: 'hang' }
    return userText.includes('ask') ? say('Shall I?') : say('[DONE]')
  })
  const unreachable = await stage.ccm(['run', '--trust', 'go'], { env: { CCM_NO_AUTOSTART: '1' } })
  expect(unreachable.code).toBe(69)
  expect(unreachable.stderr).toMatch(/ccm start/)
  expect(existsSync(join(stage.home, 'daemon.json'))).toBe(false)

  const bad = join(stage.folder, 'bad.toml')
  writeFileSync(bad, '[http]\nprot = 1\n[agents]\nmax_concurrent = 0\n')
  const badConfig = await stage.ccm(['run', '--trust', 'go'], { env: { CCM_CONFIG: bad } })
  expect(badConfig.code).toBe(78)
  expect(badConfig.stderr).toMatch(/prot[^]*port/)
  expect(badConfig.stderr).toContain('max_concurrent')

  for (const usage of [
    [],
    ['two', 'words'],
    ['--no-such', 'x'],
    ['--priority', 'high', 'x'],
    ['--timeout', '0', 'x'],
  ]) {
    expect(await run(stage, ...usage)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('--help'),
    })
  }
  const untrusted = await run(stage, 'go')
  expect(untrusted).toMatchObject({ code: 5, stdout: expect.stringContaining('ccm projects trust work') })
  await stage.ccm(['cancel', (await newest(stage))?.id ?? ''])

  const impossible = await run(stage, '--trust', 'impossible')
  expect(impossible).toMatchObject({ code: 1, stdout: expect.stringContaining('the disk is made of cheese') })
  const asks = await run(stage, 'ask')
  expect(asks).toMatchObject({ code: 5, stdout: expect.stringMatching(/Shall I\?[^]*ccm send/) })

  const noWait = await run(stage, '--no-wait', 'go')
  expect(noWait).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\w+\n$/), stderr: '' })
  expect((await stage.end(noWait.stdout.trim(), WAIT_MS)).status).toBe('succeeded')

  const slow = stage.start(['run', '--json', 'slow'])
  const isSlow = (task: TaskJson | undefined) => task?.prompt === 'slow' && task.agent_state === 'working'
  await expect.poll(async () => isSlow(await newest(stage)), { timeout: WAIT_MS }).toBe(true)
  const id = (await newest(stage))?.id ?? ''
  expect((await stage.ccm(['cancel', id])).code).toBe(0)
  const cancelled = await slow.ended
  expect(cancelled).toMatchObject({ code: 3, stderr: '' })
  expect(JSON.parse(cancelled.stdout)).toMatchObject({ id, status: 'cancelled', error: expect.any(String) })
  expect(stage.processesOf(id)).toEqual([])
})

test('Ctrl-C leaves the task alone and says how to come back', TEST, async () => {
  await using stage = await createStage(() => say('[DONE]', { delayMs: 10_000 }))
  const following = stage.start(['run', '--trust', 'go'])
  await expect.poll(async () => (await newest(stage))?.agent_state, { timeout: WAIT_MS }).toBe('working')
  following.kill('SIGINT')
  const { code, stdout } = await following.ended
  const id = (await newest(stage))?.id ?? ''
  expect(code).toBe(130)
  for (const way of ['show', 'attach', 'cancel']) expect(stdout).toContain(`ccm ${way} ${id}`)
  expect(await stage.task(id)).toMatchObject({ status: 'running', agent_state: 'working' })
  expect(await stage.end(id, WAIT_MS)).toMatchObject({ status: 'succeeded', attempt: 1 })
})

/** A terminal of 110x40 that runs one command line; its own tmux server, apart from the agents'. */
async function openTerminal(stage: Stage, argv: string[]) {
  const env = { ...stage.env, TERM: 'xterm-256color' }
  const tmux = (...args: string[]) =>
    execa('tmux', ['-S', join(stage.folder, 'terminal.sock'), '-f', '/dev/null', ...args], {
      env,
      extendEnv: false,
      reject: false,
    })
  await tmux(
    'new-session',
    '-d',
    '-x',
    '110',
    '-y',
    '40',
    '-c',
    stage.work,
    // The shell stays, so that what was printed does.
    '/bin/sh',
    '-c',
    '"$@"; echo "EXIT $?"; exec sleep 600',
    'sh',
    process.execPath,
    CCM,
    ...argv,
  )
  const screen = async () => (await tmux('capture-pane', '-p', '-S', '-200')).stdout
  return {
    screen,
    async shows(text: RegExp) {
      await expect.poll(screen, { timeout: WAIT_MS, interval: 100 }).toMatch(text)
    },
    type: (...keys: string[]) => tmux('send-keys', ...keys),
    [Symbol.asyncDispose]: async () => void (await tmux('kill-server')),
  }
}

test(
  'on a terminal the last line tells what the agent does, and trust and permission are asked right there',
  TEST,
  async () => {
    await using stage = await createStage(({ turn }) => {
      if (turn === 0) return { ...bash('sleep 4; touch one'), delayMs: 3000 }
      return turn === 1 ? bash('touch two') : say('Made one.\n[DONE]', { delayMs: 3000 })
    })
    await using terminal = await openTerminal(stage, ['run', '--permission-mode', 'manual', 'go'])
    await terminal.shows(/is not trusted yet\.[^]*Trust this directory\? \[y\/N\] ?$/m)
    await terminal.type('y', 'Enter')
    // One line at the bottom: elapsed time, state, reason.
    await terminal.shows(/^\d:\d\d · working: It works on the prompt\.[^\n]*\n*$/m)
    await terminal.shows(
      /The agent asks to use Bash:\n *│ sleep 4; touch one\n[^]*Allow it\? \[y\]es \/ \[n\]o ?$/m,
    )
    await terminal.type('y', 'Enter')
    await terminal.shows(/^\d:\d\d · working: [^\n]*sleep 4; touch one/m)
    await terminal.shows(/│ touch two\n[^]*Allow it\?/)
    await terminal.type('n', 'Enter')
    await terminal.shows(/What should the agent know\?/)
    await terminal.type('one is enough', 'Enter')
    await terminal.shows(/^EXIT 0$/m)
    const screen = await terminal.screen()
    expect(screen).toMatch(
      /● Bash sleep 4; touch one\n[^]*succeeded in [^]*Made one\.[^]*one {2}\+0 -0 {2}added/,
    )
    // The live line is gone at the end, and was never left behind among the others.
    expect(screen).not.toMatch(/^\d:\d\d · /m)
    expect(existsSync(join(stage.work, 'two'))).toBe(false)
    const { toolResults } = stage.model.requests.at(-1) ?? { toolResults: [] }
    expect(toolResults).toMatchObject([{ isError: true, text: 'one is enough' }])
  },
)

test(
  'on a terminal Ctrl-C at a question leaves it open, and a key in the window closes it',
  TEST,
  async () => {
    await using stage = await createStage(({ turn }) => (turn === 0 ? bash('touch one') : say('[DONE]')))
    const argv = ['run', '--trust', '--permission-mode', 'manual', 'go']
    await using terminal = await openTerminal(stage, argv)
    await terminal.shows(/│ touch one\n[^]*Allow it\?/)
    await terminal.type('C-c')
    await terminal.shows(/^EXIT 5$/m)
    const screen = await terminal.screen()
    expect(screen).toMatch(/ccm approve \w+/)
    expect(screen).not.toMatch(/^\d:\d\d · /m)
    const task = await newest(stage)
    expect(task).toMatchObject({ status: 'running', agent_state: 'waiting' })
    const pane = ['-t', `ccm:${task?.window ?? ''}`]
    await expect
      .poll(() => stage.tmux('capture-pane', '-p', ...pane), { timeout: WAIT_MS })
      .toContain('Do you want')
    await stage.tmux('send-keys', ...pane, '1')
    expect((await stage.end(task?.id ?? '', WAIT_MS)).status).toBe('succeeded')
  },
)
