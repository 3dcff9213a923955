import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { COMMAND_NAMES } from '../../src/cli/commands.ts'
import { createCommandLine, serveDaemon, temporaryFolder } from './command-line.ts'

test.each([
  [['stauts'], 'There is no command "stauts"; did you mean "status"?', 'See: ccm --help'],
  [['xyzzyplugh'], 'There is no command "xyzzyplugh".', 'See: ccm --help'],
  [
    ['projects', 'lst'],
    'There is no command "projects lst"; did you mean "projects list"?',
    'projects --help',
  ],
  [['show'], "Missing required argument 'id'.", 'See: ccm show --help'],
  [
    ['run', 'x', '--prioritty', '3'],
    "Unknown option '--prioritty'; did you mean --priority?",
    'ccm run --help',
  ],
  [['run', '-p x'], "Unknown option '-p x'.", 'ccm run -- "-TEXT"'],
  [['run', 'fix', 'it'], 'Too many arguments', 'ccm run "TEXT"'],
  [['run', 'x', '--priority', '101'], 'whole number from -100 to 100', 'ccm run --help'],
  [['run', 'x', '--timeout', 'soon'], '90s, 30m or 1h30m', 'ccm run --help'],
  [['run', 'x', '--permission-mode', 'acceptedits'], 'Did you mean acceptEdits?', 'ccm run --help'],
  [['keys', 'create', 'x', '--scope', 'root'], 'one of read, write', 'See: ccm keys create --help'],
  [['run'], 'It needs a prompt or a --template.', 'ccm run --help'],
  [['run', 'x', '--template', 'y'], 'a prompt or a --template, not both.', 'ccm run --help'],
  // `Date.parse` takes these for a day in 2001 and for one that is not in the calendar.
  [['audit', '--since', 'last 5'], 'such as 30m', 'ccm audit --help'],
  [['search', 'x', '--since', '2026-02-31'], 'such as 30m', 'ccm search --help'],
  [['events', 't1', '--until', '5'], 'such as 30m', 'ccm events --help'],
  [['audit', '--since', '9999999999d'], 'such as 30m', 'ccm audit --help'],
])('%j is a usage error: one sentence and the command that helps, exit 2', async (argv, sentence, help) => {
  const { code, stdout, stderr } = await createCommandLine(temporaryFolder()).ccm(...argv)
  expect(code).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toContain(sentence)
  expect(stderr).toContain(help)
  expect(stderr.trimEnd().split('\n')).toHaveLength(2)
})

test('a usage error with --json is a JSON document too', async () => {
  const { stdout } = await createCommandLine(temporaryFolder()).ccm('show', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ code: 'BAD_INPUT', remedy: 'See: ccm show --help' })
})

test.each(COMMAND_NAMES)('ccm %s --help has an example and --json', async (name) => {
  const { code, stdout, stderr } = await createCommandLine(temporaryFolder()).ccm(name, '--help')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(new RegExp(`Examples?:\\n.*ccm ${name}`, 's'))
  expect(stdout).toContain('--json')
})

test('the help lists every command, and help COMMAND is COMMAND --help', async () => {
  const { stdout } = await createCommandLine(temporaryFolder()).ccm('--help')
  for (const name of COMMAND_NAMES) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
  const help = await createCommandLine(temporaryFolder()).ccm('help', 'deny')
  expect(help).toEqual(await createCommandLine(temporaryFolder()).ccm('deny', '--help'))
})

test.each([['status'], ['show', 'x'], ['run', 'x'], ['tasks']])(
  'without a daemon, and with auto-start off, ccm %s exits 69 and names ccm start',
  async (...argv) => {
    const { code, stderr } = await createCommandLine(temporaryFolder()).ccm(...argv)
    expect(code).toBe(69)
    expect(stderr).toContain('ccm start')
  },
)

test('status in JSON has pid, port, agents and queued', async () => {
  const { home } = await serveDaemon()
  const { stdout } = await createCommandLine(home).ccm('status', '--json')
  expect(JSON.parse(stdout)).toMatchObject({
    pid: process.pid,
    port: expect.any(Number),
    agents: 1,
    queued: 2,
  })
})

test('status for people says what holds tasks back', async () => {
  const { home } = await serveDaemon()
  const { code, stdout } = await createCommandLine(home).ccm('status')
  expect(code).toBe(0)
  expect(stdout).toContain('1 of 10')
  expect(stdout).toContain('memory: less than 1 GiB would remain')
})

test('status for people says what of the events was not as it should be', async () => {
  const { home } = await serveDaemon()
  const { stdout } = await createCommandLine(home).ccm('status')
  expect(stdout.split('\n').filter((line) => line.includes('  events '))).toEqual([
    "  events  1 could not be written by an agent's hook: is the disk full or read-only?",
    '  events  4 could not be read',
    '  events  of unknown names: Tomorrow 3, Later 2, others 17',
  ])
})

test('incidents say what happened, how long it took, what was done, and who was told', async () => {
  const { home } = await serveDaemon()
  const { code, stdout } = await createCommandLine(home).ccm('incidents')
  expect(code).toBe(0)
  expect(stdout.trimEnd().split('\n')).toEqual([
    '1970-01-01T00:00:00.000Z breaker over after 1m 05s',
    '  Nothing is begun.',
    '  proof   exit 3',
    '  action  One at a time is tried.',
    '  told    webhook (opened): given_up, HTTP 500',
  ])
  const json = await createCommandLine(home).ccm('incidents', '--json')
  expect(JSON.parse(json.stdout)).toMatchObject([{ id: 7, kind: 'breaker', duration_ms: 65_000 }])
})

test("events in JSON are a list with Claude's own names, however many there are", async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', {})
  for (let count = 0; count < 5003; count++) daemon.hook('t1', 'PostToolUse', { tool_name: 'Read' })
  const { stdout } = await createCommandLine(daemon.home).ccm('events', 't1', '--json')
  const events = JSON.parse(stdout) as { hook_event_name: string; id: number }[]
  expect(events.map(({ id }) => id)).toEqual(Array.from({ length: 5003 }, (_, index) => index + 1))
  expect(events[0]?.hook_event_name).toBe('PostToolUse')
})

test('events --follow --json prints a line each until the task is over, each once', async () => {
  const daemon = await serveDaemon()
  daemon.agent('t1', 'working', 'busy')
  daemon.hook('t1', 'SessionStart')
  const line = createCommandLine(daemon.home)
  const ended = line.ccm('events', 't1', '--follow', '--json')
  await line.sees('SessionStart')
  daemon.hook('t1', 'Stop')
  await line.sees('Stop')
  daemon.move('t1', { status: 'succeeded' })
  const { code, stdout } = await ended
  expect(code).toBe(0)
  const names = stdout
    .trimEnd()
    .split('\n')
    .map((text) => (JSON.parse(text) as { hook_event_name: string }).hook_event_name)
  expect(names).toEqual(['SessionStart', 'Stop'])
})

test.each([{ follow: [] as string[] }, { follow: ['--follow'] }])(
  'events are narrowed by kind, phase, tool and time %j',
  async ({ follow }) => {
    const daemon = await serveDaemon()
    daemon.agent('t1', 'working', 'busy')
    for (const tool_name of ['Bash', 'Read', 'Grep']) {
      daemon.hook('t1', 'PreToolUse', { tool_name })
      daemon.hook('t1', 'PostToolUse', { tool_name })
    }
    const idsOf = async (...filter: string[]) => {
      const line = createCommandLine(daemon.home)
      const { stdout } = await line.ccm('events', 't1', '--json', ...filter, ...follow)
      const lines = follow.length > 0 ? stdout.trimEnd().split('\n') : (JSON.parse(stdout) as unknown[])
      return lines
        .map((one) => (typeof one === 'string' ? (JSON.parse(one) as { id: number }) : one))
        .map((one) => (one as { id: number }).id)
    }
    const asked = [
      idsOf('--kind', 'bash_output'),
      idsOf('--kind', 'tool_use_start'),
      idsOf('--tool', 'Grep'),
      idsOf('--since', '1970-01-01T00:00:00.003Z', '--until', '1970-01-01T00:00:00.005Z'),
    ]
    // One that follows goes on until the task is over.
    await new Promise((resolve) => setTimeout(resolve, 500))
    daemon.move('t1', { status: 'succeeded' })
    expect(await Promise.all(asked)).toEqual([[2], [1, 3, 5], [5, 6], [3, 4]])
  },
)

test('an empty list says whether that is all there is', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', {})
  const said = async (...argv: string[]) => (await createCommandLine(daemon.home).ccm(...argv)).stdout
  expect(await said('events', 't1')).toBe('No hook events yet.\n')
  daemon.hook('t1', 'Stop')
  expect(await said('events', 't1', '--kind', 'bash_ouput')).toBe('No such hook events.\n')
  expect(await said('events', 't1', '--kind', 'bash_ouput', '--json')).toBe('[]\n')
  expect(await said('incidents', '--open')).toBe('Nothing lasts. What is over: ccm incidents\n')
  expect(await said('audit')).toBe('Nobody changed anything.\n')
  expect(await said('audit', '--who', 'telegrm')).toBe('No such changes.\n')
})

test('the help of a subcommand is found in either way', async () => {
  const daemon = await serveDaemon()
  const printed = async (...argv: string[]) => (await createCommandLine(daemon.home).ccm(...argv)).stdout
  expect(await printed('help', 'projects', 'add')).toMatch(/^Usage: ccm projects add /)
  expect(await printed('help', 'projects', 'add')).toBe(await printed('projects', 'add', '--help'))
  expect(await printed('help', 'tasks')).toMatch(/^Usage: ccm tasks /)
})

test('explain prints the chain with its proofs, and in JSON the task and the chain', async () => {
  const daemon = await serveDaemon()
  daemon.agent('t1', 'working', 'busy')
  daemon.change('t1', { from: 'spawning', to: 'working', cue: 'prompt_taken', evidence: 'UserPromptSubmit' })
  const line = createCommandLine(daemon.home)
  const { stdout } = await line.ccm('explain', 't1')
  expect(stdout).toMatch(/spawning -> working {2}prompt_taken \(hook\) {2}why\n +UserPromptSubmit/)
  const json = createCommandLine(daemon.home)
  const document = JSON.parse((await json.ccm('explain', 't1', '--json')).stdout) as unknown
  expect(document).toMatchObject({
    task: { id: 't1' },
    chain: [{ to: 'working', evidence: 'UserPromptSubmit' }],
  })
})

test('approve, deny and send settle a question; without one they exit 1 and say so', async () => {
  const daemon = await serveDaemon()
  const ask = () =>
    daemon.agent('t1', 'waiting', 'asks', {
      id: 'ask1',
      kind: 'permission',
      tool: 'Bash',
      detail: 'ls',
      options: [],
    })
  for (const argv of [['approve'], ['deny', '--reason', 'no'], ['send', '--', '-5']] as const) {
    ask()
    const [name, ...rest] = argv
    expect((await createCommandLine(daemon.home).ccm(name, 't1', ...rest)).code).toBe(0)
  }
  expect(daemon.calls).toEqual([
    ['approve', 't1', 'ask1'],
    ['deny', 't1', 'no'],
    ['send', 't1', '-5'],
  ])
  const { code, stderr } = await createCommandLine(daemon.home).ccm('approve', 't1')
  expect(code).toBe(1)
  expect(stderr).toContain('not waiting')
})

test('send --all tells each agent that works or waits, and of each whether it got it', async () => {
  const daemon = await serveDaemon()
  const ccm = (...argv: string[]) => createCommandLine(daemon.home).ccm('send', ...argv)
  expect(await ccm('--all', 'Commit.')).toMatchObject({ code: 0, stdout: 'No agent works or waits.\n' })
  daemon.agent('t1', 'waiting', 'asks', {
    id: 'ask1',
    kind: 'question',
    tool: null,
    detail: 'Which?',
    options: [],
  })
  daemon.agent('t2', 'working', 'works')
  const { code, stdout } = await ccm('--all', 'Commit.', '--project', 'app', '--yes')
  expect(code).toBe(1)
  expect(stdout).toMatch(/^Sent to task t1 \(app\)\.\nNot sent to task t2 \(app\): .+\n$/)
  expect(daemon.calls).toEqual([
    ['send', 't1', 'Commit.'],
    ['send', 't2', 'Commit.'],
  ])
  expect((await ccm('--all', 't1', 'Commit.')).code).toBe(2)
  expect((await ccm('t1')).code).toBe(2)
  expect((await ccm('t1', 'Commit.', '--yes')).code).toBe(2)
})

test('retry puts a failed task back, and says why another cannot be', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', { status: 'failed', error: 'It crashed.' })
  daemon.move('t2', { status: 'running' })
  daemon.move('t3', { status: 'succeeded' })
  const retry = async (id: string) => createCommandLine(daemon.home).ccm('retry', id)
  expect(await retry('t1')).toMatchObject({
    code: 0,
    stdout: 'Task t1 is queued again. Watch it: ccm show t1\n',
  })
  const running = await retry('t2')
  expect(running.code).toBe(1)
  expect(running.stderr).toContain('Task t2 is still running, so there is nothing to retry.')
  expect(running.stderr).toContain('ccm cancel t2')
  const succeeded = await retry('t3')
  expect(succeeded.code).toBe(1)
  expect(succeeded.stderr).toContain('Task t3 succeeded')
})

test('cancel says what it did, and exits 1 when the task was over before', async () => {
  const daemon = await serveDaemon()
  daemon.move('t1', {})
  const first = await createCommandLine(daemon.home).ccm('cancel', 't1', '--reason', 'wrong branch')
  expect(first).toMatchObject({ code: 0, stdout: 'Task t1 is cancelled.\n' })
  expect(daemon.calls).toEqual([['cancel', 't1', 'wrong branch']])
  daemon.move('t2', { status: 'succeeded' })
  const second = await createCommandLine(daemon.home).ccm('cancel', 't2')
  expect(second).toMatchObject({ code: 1, stderr: 'ccm: Task t2 was over before: succeeded.\n' })
})

test("off a terminal attach prints the command that opens the agent's window", async () => {
  const daemon = await serveDaemon()
  daemon.agent('t1', 'working', 'busy')
  const { code, stdout } = await createCommandLine(daemon.home).ccm('attach', 't1')
  expect(code).toBe(0)
  expect(stdout).toBe(`tmux -S ${daemon.home}/tmux/socket attach-session -t '=ccm:=agent-app-1'\n`)
  daemon.move('t1', { status: 'succeeded' })
  expect((await createCommandLine(daemon.home).ccm('attach', 't1')).code).toBe(1)
})

test('projects are listed, added and trusted, and options go to the subcommand', async () => {
  const daemon = await serveDaemon()
  const line = () => createCommandLine(daemon.home, { cwd: '/code' })
  expect((await line().ccm('projects')).stdout).toContain('/code/app')
  expect(JSON.parse((await line().ccm('projects', 'list', '--json')).stdout)).toMatchObject([
    { trusted: false },
  ])
  await line().ccm('projects', 'add', 'lib', '--name', 'lib', '--trust')
  await line().ccm('projects', 'trust', 'app')
  expect(daemon.calls).toEqual([
    ['addProject', '/code/lib', 'lib', true],
    ['trust', 'app'],
  ])
})

test('tasks are a table, or a list in JSON', async () => {
  const daemon = await serveDaemon()
  expect((await createCommandLine(daemon.home).ccm('tasks')).stdout).toContain('ccm run')
  daemon.move('t1', { prompt: 'Line one\nline two' })
  expect((await createCommandLine(daemon.home).ccm('tasks')).stdout).toMatch(
    /t1 +queued .*Line one line two\n$/,
  )
  const { stdout } = await createCommandLine(daemon.home).ccm('tasks', '--json', '--limit', '5')
  expect(JSON.parse(stdout)).toMatchObject([{ id: 't1' }])
})

test('stop without a daemon is no error', async () => {
  const { code, stdout } = await createCommandLine(temporaryFolder()).ccm('stop')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'No daemon runs.\n' })
})

test("another program on an old daemon's port is not taken for the daemon", async () => {
  const daemon = await serveDaemon()
  const { readFileSync, writeFileSync } = await import('node:fs')
  const file = `${daemon.home}/daemon.json`
  writeFileSync(file, readFileSync(file, 'utf8').replace(`"pid":${process.pid}`, '"pid":1'))
  expect((await createCommandLine(daemon.home).ccm('status')).code).toBe(69)
})

test('every command has a place in the table of README.md', () => {
  const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')
  const rows = readme.split('\n').filter((line) => line.startsWith('| `ccm '))
  expect(COMMAND_NAMES.length).toBeGreaterThan(20)
  expect(COMMAND_NAMES.filter((name) => !rows.some((row) => row.includes(`\`ccm ${name}`)))).toEqual([])
})
