import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { ModelRequest } from '../../src/demo/model.ts'
import { calls, inTurn, refuses, runs, says } from '../e2e/replies.ts'
import { createStage, createStageHere, isAlive, type Stage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
const LIMIT_MS = 90_000
/** A program that runs until it is killed and leaves its pid in a file of the name that follows. */
const LEFT = `'echo $$ > "$0".pid; exec tail -f /dev/null'`

test('text only: the last message without its marker is the result', { timeout: LIMIT_MS }, async () => {
  await using stage = await createStageHere(() => ({ kind: 'message', text: 'Nothing to change.\n[DONE]' }))
  const { id } = await stage.add('Look around')
  const task = await stage.end(id)
  expect(task).toMatchObject({ status: 'succeeded', agent_state: 'complete', attempt: 1, error: null })
  expect(task.result).toMatchObject({ text: 'Nothing to change.', tools: [], files: [] })
  expect((await stage.events(id)).map((event) => event.hook_event_name)).toEqual(
    expect.arrayContaining(['SessionStart', 'UserPromptSubmit', 'Stop', 'SessionEnd']),
  )
  expect(stage.processesOf(id)).toEqual([])
})

test(
  'a marker in mid-turn, in a command, its output, prose, code or a quote ends nothing',
  { timeout: LIMIT_MS },
  async () => {
    const quoting =
      'I would end with [DONE] now, as in\n\n> [DONE]\n\nor\n\n```\n[DONE]\n```\n\nand [ERROR] is for errors.'
    await using stage = await createStageHere(
      inTurn(
        {
          kind: 'message',
          text: 'The first part is finished.\n\n[DONE]',
          tools: [{ name: 'Bash', input: { command: "echo '[DONE]'; until [ -e go ]; do sleep 0.1; done" } }],
        },
        runs("printf '[ERROR] from a program\\n[DONE]\\n'"),
        says(quoting),
        says('Now it really is.\n[DONE]'),
      ),
    )
    const { id } = await stage.add('Take your time', ...BYPASS)
    await stage.until(id, ({ state_reason }) => /It calls Bash/.test(state_reason ?? ''))
    await screenWith(stage, id, '[DONE]')
    // Longer than a screen must stand (2.5 s) before it may overrule a hook.
    await sleep(4000)
    expect(await stage.task(id)).toMatchObject({ status: 'running', agent_state: 'working' })
    writeFileSync(join(stage.work, 'go'), '')
    const { status, result } = await stage.end(id)
    expect(status).toBe('succeeded')
    expect(result?.text).toBe('Now it really is.')
    expect(result?.tools.map(({ ok }) => ok)).toEqual([true, true])
    expect(questions(stage)).toHaveLength(1)
  },
)

test('[ERROR] fails the task with its reason, at once and for good', { timeout: LIMIT_MS }, async () => {
  await using stage = await createStageHere(inTurn(says('I tried.\n\n[ERROR] There is no test to fix.')))
  const ran = await stage.ccm(['run', '--json', '--trust', 'Fix the test'])
  expect(ran.code).toBe(1)
  expect(JSON.parse(ran.stdout)).toMatchObject({
    status: 'failed',
    agent_state: 'error',
    attempt: 1,
    error: 'There is no test to fix.',
    result: { text: 'I tried.\n\nThere is no test to fix.', errors: [{ kind: 'agent_error' }] },
  })
  expect(questions(stage)).toEqual([])
})

test.each([
  ['fail', 'failed', expect.stringContaining('also when asked')],
  ['succeed', 'succeeded', null],
] as const)(
  'no marker: one neutral question, then unmarked = %s decides',
  { timeout: LIMIT_MS },
  async (unmarked, status, error) => {
    await using stage = await createStageHere(inTurn(says('I looked at it.'), says('It is as it is.')), {
      config: `[markers]\nunmarked = "${unmarked}"`,
    })
    const { id } = await stage.add('Look around')
    const task = await stage.end(id)
    expect(task).toMatchObject({ status, attempt: 1, result: { text: 'It is as it is.' } })
    expect(task.error).toEqual(error)
    expect(questions(stage)).toHaveLength(1)
    expect(stage.model.requests).toHaveLength(2)
  },
)

test('an empty last message is asked about, too', { timeout: LIMIT_MS }, async () => {
  await using stage = await createStageHere((request) => {
    if (request.turn === 0) return runs('true')
    return says(questionsIn(request).length > 0 ? '[DONE]' : '')
  })
  const { id } = await stage.add('Say nothing', ...BYPASS)
  const { status, result } = await stage.end(id)
  expect({ status, text: result?.text }).toEqual({ status: 'succeeded', text: '' })
  expect(questions(stage)).toHaveLength(1)
})

test(
  'an agent that waits for a command in the background is working until that ends',
  { timeout: LIMIT_MS },
  async () => {
    await using stage = await createStageHere(
      inTurn(
        runs('until [ -e go ]; do sleep 0.1; done; echo the build is green', { run_in_background: true }),
        says('The build runs; I wait for it.'),
        says('The build is green.\n[DONE]'),
      ),
    )
    const { id } = await stage.add('Build it', ...BYPASS)
    await stage.until(id, (task) => /background/.test(task.state_reason ?? ''))
    expect(await stage.task(id)).toMatchObject({ status: 'running', agent_state: 'working' })
    writeFileSync(join(stage.work, 'go'), '')
    const { status, result } = await stage.end(id)
    expect({ status, text: result?.text }).toEqual({ status: 'succeeded', text: 'The build is green.' })
    expect(questions(stage)).toEqual([])
  },
)

test('an agent that waits for a subagent is working until that ends', { timeout: LIMIT_MS }, async () => {
  const own = inTurn(
    calls('Agent', {
      description: 'Count files',
      prompt: 'Count the files.',
      subagent_type: 'general-purpose',
    }),
    says('The subagent counts; I wait for it.'),
    says('There is one file.\n[DONE]'),
  )
  const subagent = inTurn(runs('until [ -e go ]; do sleep 0.1; done; ls | wc -l'), says('One file.\n[DONE]'))
  await using stage = await createStageHere((request) =>
    request.userBlocks.some((block) => block.includes('Ask somebody')) ? own(request) : subagent(request),
  )
  const { id } = await stage.add('Ask somebody to count the files', ...BYPASS)
  // Its own turn is over; the subagent's first call comes before that or after.
  const hasStopped = async () => (await stage.events(id)).some((event) => event.hook_event_name === 'Stop')
  await expect.poll(hasStopped, { timeout: 60_000, interval: 300 }).toBe(true)
  expect(await stage.task(id)).toMatchObject({ status: 'running', agent_state: 'working' })
  writeFileSync(join(stage.work, 'go'), '')
  const { status, result } = await stage.end(id)
  expect({ status, text: result?.text }).toEqual({ status: 'succeeded', text: 'There is one file.' })
  expect(questions(stage)).toEqual([])
  // What a subagent did and used belongs to the task.
  expect(result?.tools.map(({ tool }) => tool)).toEqual(['Agent', 'Bash'])
  const input = Object.values(result?.usage ?? {}).reduce((sum, used) => sum + used.input_tokens, 0)
  expect(input).toBe(1200 * stage.model.requests.length)
})

test('an API error of a subagent is for its agent to deal with', { timeout: LIMIT_MS }, async () => {
  const own = inTurn(
    calls('Agent', { description: 'Count', prompt: 'Count the files.', subagent_type: 'general-purpose' }),
    says('The subagent counts; I wait for it.'),
    says('It failed, so I counted: one file.\n[DONE]'),
  )
  await using stage = await createStageHere((request) =>
    request.userBlocks.some((block) => block.includes('Ask somebody'))
      ? own(request)
      : refuses(400, 'invalid_request_error', 'No such thing.'),
  )
  const { id } = await stage.add('Ask somebody to count the files', ...BYPASS)
  const { status, result } = await stage.end(id)
  expect({ status, text: result?.text }).toEqual({
    status: 'succeeded',
    text: 'It failed, so I counted: one file.',
  })
  const failures = (await stage.events(id)).filter((event) => event.hook_event_name === 'StopFailure')
  expect(failures.map((event) => typeof event.agent_id)).toEqual(['string'])
})

test(
  'a server that is left running after [DONE] neither fails the task nor outlives it',
  { timeout: LIMIT_MS },
  async () => {
    await using stage = await createStageHere(
      inTurn(
        runs(`setsid -f sh -c ${LEFT} apart; exec sh -c ${LEFT} near`, { run_in_background: true }),
        says('It serves.\n[DONE]'),
      ),
      { config: '[timeouts]\nno_activity = "8s"' },
    )
    const { id } = await stage.add('Start the server', ...BYPASS)
    const { status, result } = await stage.end(id)
    expect({ status, text: result?.text }).toEqual({ status: 'succeeded', text: 'It serves.' })
    const pids = ['near', 'apart'].map((name) => readFileSync(join(stage.work, `${name}.pid`), 'utf8').trim())
    expect(pids.filter((pid) => isAlive(Number(pid)))).toEqual([])
    expect(stage.processesOf(id)).toEqual([])
  },
)

test(
  "the user's own Stop hook may send the agent on, and may take its time",
  { timeout: LIMIT_MS },
  async () => {
    await using stage = await createStageHere(
      inTurn(says('Finished.\n[DONE]'), runs('touch linted'), says('Linted.\n[DONE]')),
    )
    const block = JSON.stringify({ decision: 'block', reason: 'Run the linter first.' })
    const script = `sleep 2; if [ -e stopped ]; then exit 0; fi; touch stopped; echo '${block}'`
    mkdirSync(join(stage.work, '.claude'))
    writeFileSync(
      join(stage.work, '.claude/settings.json'),
      JSON.stringify({ hooks: { Stop: [{ hooks: [{ type: 'command', command: script, timeout: 30 }] }] } }),
    )
    const { id } = await stage.add('Finish it', ...BYPASS)
    const { status, result } = await stage.end(id)
    expect({ status, text: result?.text }).toEqual({ status: 'succeeded', text: 'Linted.' })
    expect(existsSync(join(stage.work, 'linted'))).toBe(true)
    expect(stage.model.requests).toHaveLength(3)
  },
)

test('agents at the same time do not mix, in one project or in two', { timeout: 2 * LIMIT_MS }, async () => {
  const names = ['alpha', 'beta', 'gamma']
  const nameOf = (request: ModelRequest) =>
    names.find((name) => request.userBlocks.some((block) => block.includes(`You are ${name}`))) ?? ''
  const scripts = Object.fromEntries(
    names.map((name) => [
      name,
      inTurn(
        // None goes on before all three are there: they do run at the same time.
        runs(`touch STAGE/here.${name}; until [ "$(ls STAGE/here.* | wc -l)" = 3 ]; do sleep 0.1; done`),
        runs(`echo ${name}`),
        says(`I was ${name}.\n[DONE]`),
      ),
    ]),
  )
  await using stage = await createStage(async (request) => {
    const reply = await scripts[nameOf(request)]?.(request)
    return JSON.parse(JSON.stringify(reply).replaceAll('STAGE', stage.folder))
  })
  const other = join(stage.folder, 'other')
  mkdirSync(other)
  const tasks = [
    await stage.add('You are alpha', ...BYPASS),
    await stage.add('You are beta', ...BYPASS),
    await stage.add('You are gamma', '--dir', other, ...BYPASS),
  ]
  const ended = await Promise.all(tasks.map(({ id }) => stage.end(id, 80_000)))
  expect(ended.map(({ status, result }) => [status, result?.text])).toEqual(
    names.map((name) => ['succeeded', `I was ${name}.`]),
  )
  expect(ended.map(({ result }) => result?.tools[1]?.command)).toEqual(names.map((name) => `echo ${name}`))
  for (const { id, claude_session_id, dir } of ended) {
    const events = await stage.events(id)
    expect(new Set(events.map((event) => event.session_id))).toEqual(new Set([claude_session_id]))
    expect(new Set(events.map((event) => event.cwd))).toEqual(new Set([dir]))
    expect(events.filter((event) => event.hook_event_name === 'UserPromptSubmit')).toHaveLength(1)
  }
  expect(new Set(ended.map(({ claude_session_id }) => claude_session_id)).size).toBe(3)
})

test(
  "model, permission mode and tool rules reach Claude Code, and the daemon's secrets do not",
  { timeout: LIMIT_MS },
  async () => {
    await using stage = await createStageHere(
      inTurn(runs('env | sort'), calls('Write', { file_path: 'x', content: 'x' }), says('[DONE]')),
    )
    const secrets = { FOO_SECRET: 'hush-1', AWS_SECRET_ACCESS_KEY: 'hush-2', ANTHROPIC_AUTH_TOKEN: 'hush-3' }
    const started = await stage.ccm(['start'], { env: secrets })
    expect(started).toMatchObject({ code: 0 })
    const { id } = await stage.add(
      'Show the environment',
      ...'--model claude-nine --permission-mode manual --deny Write'.split(' '),
      '--allow',
      'Bash(env *)',
      '--allow',
      'Bash(sort)',
    )
    const { status, result } = await stage.end(id)
    expect(status).toBe('succeeded')
    const [first, second, third] = stage.model.requests
    expect(first?.model).toBe('claude-nine')
    // In manual mode a command needs a person, unless a rule allows it: it ran.
    const printed = second?.toolResults[0]?.text ?? ''
    expect(printed).toContain(`CCM_TASK_ID=${id}\n`)
    expect(printed).toContain('CCM_ATTEMPT=1\n')
    expect(printed).not.toContain('hush-')
    expect(printed).not.toMatch(/^(CCM_HOME|CCM_CONFIG|TMUX)=/m)
    expect(third?.toolResults).toMatchObject([{ isError: true }])
    expect(result?.tools.map(({ tool, ok }) => [tool, ok])).toEqual([
      ['Bash', true],
      ['Write', false],
    ])
    const modes = (await stage.events(id)).flatMap((event) => event['permission_mode'] ?? [])
    expect(new Set(modes)).toEqual(new Set(['default']))
  },
)

/** Waits until the daemon itself has read this text from the agent's window. */
async function screenWith(stage: Stage, id: string, text: string): Promise<void> {
  const token = readFileSync(join(stage.home, 'token'), 'utf8').trim()
  const { port } = await stage.status()
  for (let tries = 0; tries < 200; tries++) {
    const reply = await fetch(`http://127.0.0.1:${port}/api/tasks/${id}/screen`, {
      headers: { authorization: `Bearer ${token}` },
    })
    if ((await reply.text()).includes(text)) return
    await sleep(100)
  }
  throw new Error(`the window never showed ${text}`)
}

/** The neutral questions in the conversation, as the model got it last. */
function questions(stage: Stage): string[] {
  return stage.model.requests.slice(-1).flatMap(questionsIn)
}

// Claude Code may join its own reminder and a prompt into one message.
function questionsIn({ userBlocks }: ModelRequest): string[] {
  return userBlocks.flatMap((block) => block.match(/Is the task finished\?/g) ?? [])
}
