import { expect, test } from 'vitest'
import type { TaskResult } from '../../src/core/task/task.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createCommandLine, serveDaemon, type FakeDaemon } from './command-line.ts'

const RESULT: TaskResult = {
  text: 'The test passes.',
  tools: [
    {
      tool: 'Bash',
      kind: 'command',
      path: null,
      lines_added: null,
      lines_removed: null,
      command: 'npm test',
      exit_code: 0,
      summary: null,
      ok: true,
      error: null,
      duration_ms: 3100,
    },
  ],
  files: [{ path: 'src/parser.ts', change: 'modified', added: 4, removed: 2 }],
  usage: {
    'claude-x': {
      input_tokens: 1000,
      output_tokens: 500,
      cache_read_input_tokens: 9000,
      cache_creation_input_tokens: 0,
    },
  },
  cost_usd: 0.0421,
  duration_ms: 63_000,
  attempts: 1,
  claude_session_id: 's',
  resume_command: "claude --resume 's'",
  errors: [],
}

function succeed(daemon: FakeDaemon, id: string): void {
  daemon.agent(id, 'working', 'the prompt was taken')
  daemon.hook(id, 'PreToolUse', { tool_name: 'Bash', tool_input: { command: 'npm test' }, tool_use_id: 'a' })
  daemon.hook(id, 'PostToolUse', { tool_name: 'Bash', tool_use_id: 'a', duration_ms: 3100 })
  daemon.move(id, { status: 'succeeded', result: RESULT })
}

test('a task that succeeds is followed line by line, summed up, and exits 0', async () => {
  const { home } = await serveDaemon({ onInsert: succeed })
  const { code, stdout } = await createCommandLine(home).ccm('run', 'Fix it')
  expect(code).toBe(0)
  expect(stdout.match(/● Bash npm test/g)).toHaveLength(1)
  expect(stdout).toContain('Bash took 3.1 s')
  expect(stdout).toContain('succeeded in 1m 03s')
  expect(stdout).toContain('src/parser.ts  +4 -2')
  expect(stdout).toContain('npm test  exit 0 in 3.1 s')
  expect(stdout).toContain('$0.0421 · 10.0k tokens in, 500 out')
  expect(stdout).toContain('ccm show t1')
})

test('with --json stdout is exactly one document and stderr stays silent off a terminal', async () => {
  const { home } = await serveDaemon({ onInsert: succeed })
  const { code, stdout, stderr } = await createCommandLine(home).ccm('run', 'Fix it', '--json')
  expect(code).toBe(0)
  const task = JSON.parse(stdout) as TaskJson
  expect(task).toMatchObject({
    id: 't1',
    status: 'succeeded',
    prompt: 'Fix it',
    result: { cost_usd: 0.0421 },
  })
  expect(stderr).toBe('')
})

test('with --json on a terminal the progress goes to stderr only', async () => {
  const { home } = await serveDaemon({ onInsert: succeed })
  const { stdout, stderr } = await createCommandLine(home, { terminal: true }).ccm('run', 'Fix it', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ status: 'succeeded' })
  expect(stderr).toContain('Bash npm test')
})

test.each([
  ['failed', 1],
  ['cancelled', 3],
  ['dead', 4],
] as const)('a task that ends as %s exits %i and says why', async (status, expected) => {
  const { home } = await serveDaemon({
    onInsert: (daemon, id) => daemon.move(id, { status, error: 'No way.' }),
  })
  const { code, stdout } = await createCommandLine(home).ccm('run', 'Fix it')
  expect(code).toBe(expected)
  expect(stdout).toContain(status)
  expect(stdout).toContain('No way.')
})

test('off a terminal an untrusted directory exits 5, names the command and leaves the task queued', async () => {
  const { home, calls } = await serveDaemon()
  const line = createCommandLine(home, { cwd: '/elsewhere' })
  const { code, stdout } = await line.ccm('run', 'Fix it')
  expect(code).toBe(5)
  expect(stdout).toContain('trust: the directory is not trusted')
  expect(stdout).toContain('ccm projects trust app')
  expect(stdout).toContain('--trust')
  expect(calls).toEqual([])
})

test('with --json a task that waits is still the one document, and stderr says why it ended', async () => {
  const { home } = await serveDaemon()
  const { code, stdout, stderr } = await createCommandLine(home, { cwd: '/elsewhere' }).ccm(
    'run',
    'x',
    '--json',
  )
  expect(code).toBe(5)
  expect(JSON.parse(stdout)).toMatchObject({
    status: 'queued',
    state_reason: expect.stringContaining('trust'),
  })
  expect(stderr).toContain('ccm projects trust app')
})

test('off a terminal a waiting agent exits 5 and shows the exact command with its hidden characters', async () => {
  const detail = 'rm -rf build\u001b[2K\u202e # harmless'
  const { home } = await serveDaemon({
    onInsert: (daemon, id) =>
      daemon.agent(id, 'waiting', 'permission', {
        id: 'ask1',
        kind: 'permission',
        tool: 'Bash',
        detail,
        options: [],
      }),
  })
  const { code, stdout } = await createCommandLine(home).ccm('run', 'Fix it')
  expect(code).toBe(5)
  expect(stdout).toContain(String.raw`rm -rf build\x1b[2K\u{202e} # harmless`)
  expect(stdout).toContain('ccm approve t1')
})

test('on a terminal trust is asked for once, default no', async () => {
  const { home, calls } = await serveDaemon()
  const line = createCommandLine(home, { terminal: true, cwd: '/elsewhere' })
  const ended = line.ccm('run', 'Fix it')
  await line.sees('Trust this directory? [y/N]')
  line.type('\n')
  expect((await ended).code).toBe(5)
  expect(calls).toEqual([])
})

test('on a terminal trust given at the question starts the task', async () => {
  const { home, calls } = await serveDaemon({ onInsert: succeed })
  const line = createCommandLine(home, { terminal: true, cwd: '/elsewhere' })
  const ended = line.ccm('run', 'Fix it')
  await line.sees('Trust this directory? [y/N]')
  line.type('y\n')
  expect((await ended).code).toBe(0)
  expect(calls).toEqual([['trust', 'app']])
})

test('on a terminal a permission is answered right there', async () => {
  const daemon = await serveDaemon({
    onInsert: (daemon, id) =>
      daemon.agent(id, 'waiting', 'permission', {
        id: 'ask1',
        kind: 'permission',
        tool: 'Bash',
        detail: 'npm publish',
        options: [],
      }),
  })
  const line = createCommandLine(daemon.home, { terminal: true })
  const ended = line.ccm('run', 'Fix it')
  await line.sees('Allow it? [y]es / [n]o')
  expect(line.printed.stdout).toContain('npm publish')
  line.type('maybe\n')
  await line.sees('Please answer y or n.')
  line.type('n\n')
  await line.sees('What should the agent know?')
  line.type('not today\n')
  await expect.poll(() => daemon.calls).toEqual([['deny', 't1', 'not today', 'ask1']])
  succeed(daemon, 't1')
  expect((await ended).code).toBe(0)
})

test.each([
  [1, 1],
  [2, 2],
])(
  'an answer that is refused %i times is given again, and the question asked %i times',
  async (refusals, asked) => {
    const daemon = await serveDaemon({
      refusals,
      onInsert: (daemon, id) =>
        daemon.agent(id, 'waiting', 'permission', {
          id: 'ask1',
          kind: 'permission',
          tool: 'Bash',
          detail: 'ls',
          options: [],
        }),
    })
    const line = createCommandLine(daemon.home, { terminal: true })
    const ended = line.ccm('run', 'Fix it')
    await line.sees('Allow it?')
    line.type('y\n')
    if (asked === 2) {
      await line.sees('Its dialog cannot be answered from here.')
      line.type('y\n')
    }
    await expect.poll(() => daemon.calls, { timeout: 5000 }).toHaveLength(refusals + 1)
    succeed(daemon, 't1')
    expect((await ended).code).toBe(0)
    expect(line.printed.stdout.match(/Allow it\?/g)).toHaveLength(asked)
  },
)

test('on a terminal a number answers a question with the option it stands for', async () => {
  const daemon = await serveDaemon({
    onInsert: (daemon, id) =>
      daemon.agent(id, 'waiting', 'question', {
        id: 'ask1',
        kind: 'question',
        tool: 'AskUserQuestion',
        detail: 'Which database?',
        options: ['SQLite', 'Postgres'],
      }),
  })
  const line = createCommandLine(daemon.home, { terminal: true })
  const ended = line.ccm('run', 'Fix it')
  await line.sees('Your answer (number or text):')
  line.type('2\n')
  await expect.poll(() => daemon.calls).toEqual([['send', 't1', 'Postgres', 'ask1']])
  succeed(daemon, 't1')
  expect((await ended).code).toBe(0)
})

test('a question that is answered in the window closes the one on the terminal', async () => {
  const daemon = await serveDaemon({
    onInsert: (daemon, id) =>
      daemon.agent(id, 'waiting', 'permission', {
        id: 'ask1',
        kind: 'permission',
        tool: 'Bash',
        detail: 'ls',
        options: [],
      }),
  })
  const line = createCommandLine(daemon.home, { terminal: true })
  const ended = line.ccm('run', 'Fix it')
  await line.sees('Allow it?')
  daemon.agent('t1', 'working', 'answered in the window')
  await line.sees('Answered elsewhere.')
  succeed(daemon, 't1')
  expect((await ended).code).toBe(0)
  expect(daemon.calls).toEqual([])
})

test('Ctrl-C leaves the task alone, says how to come back and exits 130', async () => {
  const daemon = await serveDaemon({ onInsert: (daemon, id) => daemon.agent(id, 'working', 'busy') })
  const line = createCommandLine(daemon.home)
  const ended = line.ccm('run', 'Fix it')
  await line.sees('working: busy')
  line.interrupt()
  const { code, stdout } = await ended
  expect(code).toBe(130)
  expect(stdout).toContain('ccm attach t1')
  expect(stdout).toContain('ccm cancel t1')
  expect(daemon.calls).toEqual([])
  await expect.poll(() => daemon.listeners.size).toBe(0)
})

test('nothing an agent says can move the cursor or colour the terminal', async () => {
  const evil = '\u001b[2J\u001b]0;owned\u0007\u009b31mred\r\u202eok'
  const { home } = await serveDaemon({
    onInsert: (daemon, id) => {
      daemon.agent(id, 'working', evil)
      daemon.hook(id, 'PreToolUse', { tool_name: evil, tool_input: { command: evil } })
      daemon.hook(id, 'PostToolUseFailure', { tool_name: evil, error: evil })
      const files = [{ path: evil, change: 'added' as const, added: 1, removed: 0 }]
      daemon.move(id, { status: 'failed', error: evil, result: { ...RESULT, text: evil, files } })
    },
  })
  const line = createCommandLine(home)
  await line.ccm('run', 'Fix it')
  await line.ccm('show', 't1')
  await line.ccm('events', 't1')
  const { stdout } = await line.ccm('explain', 't1')
  expect(stdout).toContain('redok')
  // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
  expect(stdout).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/)
})

test('every option of run reaches the daemon', async () => {
  const daemon = await serveDaemon()
  const options = ['--project', 'app', '--role', 'tester', '--model', 'claude-x', '--priority', '-5']
  const more = ['--timeout', '1h30m', '--permission-mode', 'plan', '--allow', 'Read', '--allow', 'Bash(ls)']
  const rest = ['--deny', 'WebFetch', '--key', 'k', '--trust', '--no-wait', '--dir', '/code']
  daemon.move('abc1', { status: 'running' })
  daemon.move('abd1', { status: 'running' })
  const when = ['--after', 'abc', '--after', 'abd1', '--at', '2030-01-31T07:30:00Z']
  const limits = ['--label', 'gpu', '--label', 'eu', '--max-tokens', '200k', '--max-cost', '2.5']
  const { code, stdout } = await createCommandLine(daemon.home).ccm(
    'run',
    ...options,
    ...more,
    ...rest,
    ...when,
    ...limits,
    '--',
    '-p x',
  )
  expect({ code, stdout }).toEqual({ code: 0, stdout: 't3\n' })
  expect(daemon.requests).toEqual([
    {
      prompt: '-p x',
      dir: '/code',
      project: 'app',
      role: 'tester',
      model: 'claude-x',
      priority: -5,
      timeoutS: 5400,
      permissionMode: 'plan',
      allowedTools: ['Read', 'Bash(ls)'],
      disallowedTools: ['WebFetch'],
      dedupeKey: 'k',
      dependsOn: ['abc1', 'abd1'],
      scheduledAt: Date.UTC(2030, 0, 31, 7, 30),
      labels: ['gpu', 'eu'],
      maxTokens: 200_000,
      maxCostUsd: 2.5,
      inPlace: null,
      source: 'cli',
      onlyWorker: null,
      trust: true,
    },
  ])
})

test('a time that has passed means now, and is said', async () => {
  const daemon = await serveDaemon()
  const past = ['--at', '2020-01-01T00:00Z', '--no-wait', '--trust']
  const { code, stdout, stderr } = await createCommandLine(daemon.home).ccm('run', 'x', ...past)
  expect({ code, stdout }).toEqual({ code: 0, stdout: 't1\n' })
  expect(stderr).toBe('ccm: 2020-01-01T00:00:00.000Z has passed: task t1 starts now.\n')
})

test('a key that is alive prints the id of its task, and says so', async () => {
  const daemon = await serveDaemon()
  const options = ['--key', 'k', '--no-wait', '--trust']
  await createCommandLine(daemon.home).ccm('run', 'x', ...options)
  const again = await createCommandLine(daemon.home).ccm('run', 'y', ...options)
  expect(again).toMatchObject({ code: 0, stdout: 't1\n' })
  expect(again.stderr).toBe('ccm: Task t1 has this key and is queued; none was added.\n')
  expect(daemon.requests).toHaveLength(2)
})

test.each([
  ['--at', 'soon', 'It must be a time such as 07:30'],
  ['--max-tokens', '0', 'It must be a whole number above 0'],
  ['--max-cost', '-1', 'It must be a number of US dollars from 0.01'],
  ['--priority', '1000', 'It must be a whole number from -100 to 100'],
])('%s %s is refused with what is wrong', async (option, value, sentence) => {
  const daemon = await serveDaemon()
  const { code, stderr } = await createCommandLine(daemon.home).ccm('run', 'x', `${option}=${value}`)
  expect(code).toBe(2)
  expect(stderr).toContain(sentence)
  expect(daemon.requests).toEqual([])
})

test('the prompt "-" is standard input, byte for byte', async () => {
  const daemon = await serveDaemon()
  const prompt = ' /not a command; ünï 👩‍💻\n\n'
  await createCommandLine(daemon.home, { piped: prompt }).ccm('run', '-', '--no-wait')
  expect(daemon.requests[0]?.prompt).toBe(prompt)
})

test.each([
  ['an empty prompt', ['run', ' \n']],
  ['a prompt with NUL', ['run', 'a\0b']],
  ['a prompt over 100 KiB', ['run', 'x'.repeat(102_401)]],
  ['an empty --dir', ['run', 'x', '--dir', '']],
])('%s is refused before anything starts', async (_, argv) => {
  const daemon = await serveDaemon()
  const { code, stderr } = await createCommandLine(daemon.home).ccm(...argv)
  expect(code).toBe(2)
  expect(stderr).toContain('See: ccm run --help')
  expect(daemon.requests).toEqual([])
})

test("the daemon's refusal of a directory is shown in its own words and exits 2", async () => {
  const { home } = await serveDaemon()
  const { code, stderr } = await createCommandLine(home).ccm('run', 'x', '--dir', '/missing')
  expect({ code, stderr }).toEqual({ code: 2, stderr: 'ccm: The directory /missing does not exist.\n' })
})
