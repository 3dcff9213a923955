import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStage, createStageHere, type Stage } from '../e2e/stage.ts'

// Generous: the machine may be busy with other things. Every wait ends as soon as it is over.
const WAIT_MS = 120_000
const TEST = { timeout: 400_000 }

const say = (text: string): ScriptedReply => ({ kind: 'message', text })
const call = (...tools: [name: string, input: Record<string, unknown>][]): ScriptedReply => ({
  kind: 'message',
  tools: tools.map(([name, input]) => ({ name, input })),
})
const bash = (...commands: string[]) =>
  call(
    ...commands.map((command): [string, Record<string, unknown>] => [
      'Bash',
      { command, description: 'a step' },
    ]),
  )
/** One reply a turn; after the last one `[DONE]`. */
const turns =
  (...replies: ScriptedReply[]) =>
  ({ turn }: ModelRequest) =>
    replies[turn] ?? say('[DONE]')

/** Runs until the test says so. */
const LONG = 'until [ -e go ]; do sleep 0.1; done; touch one'

const isWaiting = (task: TaskJson) => task.agent_state === 'waiting' && task.waiting_for !== null
const asksFor = (detail: string) => (task: TaskJson) =>
  isWaiting(task) && task.waiting_for?.detail.includes(detail) === true

/** Runs a command that must be taken; what it says when it is not. */
async function ccm(stage: Stage, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await stage.ccm(args, { timeoutMs: WAIT_MS })
  if (code !== 0) throw new Error(`ccm ${args.join(' ')}: exit ${code}: ${stdout}${stderr}`)
}

/** Runs a command that must be refused with a sentence like this. */
async function refused(stage: Stage, why: RegExp, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await stage.ccm(args, { timeoutMs: WAIT_MS })
  if (code === 0 || !why.test(stderr)) {
    throw new Error(`ccm ${args.join(' ')} was not refused as wanted: exit ${code}: ${stdout}${stderr}`)
  }
}

async function press(stage: Stage, task: TaskJson, ...keys: string[]): Promise<void> {
  await stage.tmux('send-keys', '-t', `ccm:${task.window ?? ''}`, ...keys)
}

const screenOf = (stage: Stage, task: TaskJson) =>
  stage.tmux('capture-pane', '-p', '-t', `ccm:${task.window ?? ''}`)

/** Waits until the dialog itself, and not only its hook, is there. */
async function dialogShows(stage: Stage, task: TaskJson, text: RegExp): Promise<string> {
  await expect.poll(() => screenOf(stage, task), { timeout: WAIT_MS, interval: 200 }).toMatch(text)
  return screenOf(stage, task)
}

const reasonsOf = async (stage: Stage, id: string) => (await stage.chain(id)).map(({ reason }) => reason)

test(
  'permissions are allowed and refused through the held hook, the reason reaches the model, and nothing is typed into a dialog',
  TEST,
  async () => {
    await using stage = await createStageHere((request) =>
      turns(
        bash('touch one', 'touch two'),
        call(['Read', { file_path: `${stage.work}/parser.ts` }]),
        call([
          'Edit',
          { file_path: `${stage.work}/parser.ts`, old_string: 'answer = 41', new_string: 'answer = 42' },
        ]),
        call(['Write', { file_path: `${stage.work}/new.ts`, content: 'a\nb\n' }]),
      )(request),
    )
    const { id } = await stage.add('go', '--permission-mode', 'manual')

    const first = await stage.until(id, asksFor('touch one'), WAIT_MS)
    expect(first.status).toBe('running')
    expect(first.waiting_for).toMatchObject({
      kind: 'permission',
      tool: 'Bash',
      detail: 'touch one',
      options: [],
    })
    const before = await dialogShows(stage, first, /Do you want to proceed\?/)
    await refused(stage, /ccm approve/, 'send', id, '1')
    expect(await screenOf(stage, first)).toBe(before)
    await ccm(stage, 'approve', id)

    // The second call of the same message asks only after the first was answered.
    await stage.until(id, asksFor('touch two'), WAIT_MS)
    await ccm(stage, 'deny', id, '--reason', 'two is in use: "take three"')

    const edit = await stage.until(id, asksFor('parser.ts'), WAIT_MS)
    expect(edit.waiting_for?.detail).toBe(`${stage.work}/parser.ts\n-answer = 41\n+answer = 42`)
    await ccm(stage, 'approve', id)
    const write = await stage.until(id, asksFor('new.ts'), WAIT_MS)
    expect(write.waiting_for?.detail).toBe(`${stage.work}/new.ts\n+a\n+b`)
    await ccm(stage, 'deny', id)

    const task = await stage.end(id, WAIT_MS)
    expect(task.status).toBe('succeeded')
    const results = stage.model.requests.map(({ toolResults }) => toolResults)
    expect(results[1]).toMatchObject([
      { isError: false },
      { isError: true, text: 'two is in use: "take three"' },
    ])
    expect(results[4]?.[0]?.text).toContain('A person denied this')
    expect(existsSync(join(stage.work, 'one'))).toBe(true)
    expect(existsSync(join(stage.work, 'two'))).toBe(false)
    expect(existsSync(join(stage.work, 'new.ts'))).toBe(false)
    expect(readFileSync(join(stage.work, 'parser.ts'), 'utf8')).toContain('42')
    expect(await reasonsOf(stage, id)).toEqual(
      expect.arrayContaining([
        'It asks for permission: Bash touch one',
        'Approved by a person: Bash touch one',
        'Denied by a person: Bash touch two',
      ]),
    )
    expect(task.result?.files.map(({ path }) => path).toSorted()).toEqual(['one', 'parser.ts'])
  },
)

test(
  'whoever answers first wins: a key in the window closes the held request, Escape leaves a task that `ccm send` takes on',
  TEST,
  async () => {
    await using stage = await createStageHere(
      ({ turn, userText }) => {
        if (userText.includes('go on without it')) return say('Went on.\n[DONE]')
        return turn === 0 ? bash(LONG, 'touch two') : bash('touch three')
      },
      { config: '[sweep]\nquiet = "500ms"\n' },
    )
    const { id } = await stage.add('go', '--permission-mode', 'manual')
    const first = await stage.until(id, asksFor('touch one'), WAIT_MS)
    await dialogShows(stage, first, /Do you want to proceed\?/)
    await press(stage, first, '1')
    // No hook tells of the key before the command has ended: the session file does.
    const works = await stage.until(id, (task) => task.agent_state === 'working', WAIT_MS)
    expect(works.state_reason).toContain('Answered in the window: Bash until')
    expect(works.waiting_for).toBeNull()
    writeFileSync(join(stage.work, 'go'), '')
    // Two tools in one message: the first by key, the second by command.
    await stage.until(id, asksFor('touch two'), WAIT_MS)
    await ccm(stage, 'approve', id)

    const third = await stage.until(id, asksFor('touch three'), WAIT_MS)
    expect(existsSync(join(stage.work, 'one')) && existsSync(join(stage.work, 'two'))).toBe(true)
    await dialogShows(stage, third, /Do you want to proceed\?/)
    await press(stage, third, 'Escape')
    const interrupted = await stage.until(
      id,
      (task) => isWaiting(task) && task.waiting_for?.kind === 'dialog',
      WAIT_MS,
    )
    expect(interrupted.state_reason).toContain('interrupted')
    await refused(stage, /cannot be approved/, 'approve', id)
    await refused(stage, /no dialog that can be denied/, 'deny', id)
    await ccm(stage, 'send', id, 'go on without it')
    expect((await stage.end(id, WAIT_MS)).result?.text).toBe('Went on.')
    expect(existsSync(join(stage.work, 'three'))).toBe(false)
    expect(await reasonsOf(stage, id)).toEqual(
      expect.arrayContaining([
        `Answered in the window: Bash ${LONG}`,
        'Approved by a person: Bash touch two',
      ]),
    )
  },
)

test(
  'what a person answers in the window is in the record, once, also where no daemon ran meanwhile',
  TEST,
  async () => {
    await using stage = await createStageHere(
      ({ turn, userText }) => {
        if (userText.includes('go on without it')) return say('Went on.\n[DONE]')
        return bash(['touch one', 'touch two', 'rm absent', 'touch four'][turn] ?? 'touch five')
      },
      { config: '[sweep]\nquiet = "500ms"\n' },
    )
    const { id } = await stage.add('go', '--permission-mode', 'manual')
    const answer = async (command: string, key: string) => {
      const task = await stage.until(id, asksFor(command), WAIT_MS)
      await dialogShows(stage, task, new RegExp(`${command}[^]*Do you want to proceed`))
      await press(stage, task, key)
    }
    await answer('touch one', '1')
    const asks = await stage.until(id, asksFor('touch two'), WAIT_MS)
    await dialogShows(stage, asks, /touch two[^]*Do you want to proceed/)
    await stage.crash()
    // An event of another session moves nothing, also where it is read as the past.
    const foreign = { hook_event_name: 'Stop', session_id: 'another', last_assistant_message: '[DONE]' }
    writeFileSync(join(stage.home, `attempts/${id}.1/spool/1.foreign.json`), JSON.stringify(foreign))
    await press(stage, asks, '1')
    await expect.poll(() => existsSync(join(stage.work, 'two')), { timeout: WAIT_MS }).toBe(true)
    await ccm(stage, 'start')
    await answer('rm absent', '1')
    await answer('touch four', 'Escape')
    const isInterrupted = ({ state_reason }: TaskJson) => state_reason?.includes('interrupted') === true
    await stage.until(id, isInterrupted, WAIT_MS)
    // All of it is read again.
    await stage.crash()
    await ccm(stage, 'start')
    await stage.until(id, (task) => task.waiting_for?.kind === 'dialog', WAIT_MS)
    await ccm(stage, 'send', id, 'go on without it')
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    const events = await stage.events(id)
    const asked = events.filter(({ kind }) => kind === 'permission_asked')
    const decided = events.filter(({ hook_event_name: name }) => name === 'CcmPermission')
    expect(decided.map((event) => [event.tool_input?.['command'], event.kind, event['by']])).toEqual([
      ['touch one', 'permission_granted', 'window'],
      ['touch two', 'permission_granted', 'window'],
      ['rm absent', 'permission_granted', 'window'],
      ['touch four', 'permission_denied', 'window'],
    ])
    expect(decided.map((event) => event['request'])).toEqual(asked.map((event) => event.id))
    expect(decided[3]?.['proof']).toContain('Answered in the window: ')
  },
)

const option = (label: string) => ({ label, description: `Take ${label}` })
const DATABASE = {
  question: 'Which database?',
  header: 'DB',
  multiSelect: false,
  options: [option('SQLite'), option('Postgres')],
}
const FEATURES = {
  question: 'Which features?',
  header: 'Features',
  multiSelect: true,
  options: [option('Search'), option('Export'), option('Import')],
}

test(
  'questions are answered by number, label or free text, several at once, and a text that does not fit is refused',
  TEST,
  async () => {
    const ask = (...questions: object[]) => call(['AskUserQuestion', { questions }])
    await using stage = await createStageHere(
      turns(ask(DATABASE), ask(DATABASE), ask(DATABASE), ask(FEATURES), ask(DATABASE, FEATURES)),
    )
    const { id } = await stage.add('go')
    const asked: TaskJson['waiting_for'][] = []
    const answers = ['2', 'sqlite', 'Neither: use "flat files"', '1, Import', 'Postgres\nSearch,2']
    for (const [index, answer] of answers.entries()) {
      const isNext = (task: TaskJson) => isWaiting(task) && stage.model.requests.length === index + 1
      const task = await stage.until(id, isNext, WAIT_MS)
      asked.push(task.waiting_for)
      if (index === 0) await refused(stage, /ccm send/, 'approve', id)
      if (index === 4) await refused(stage, /2 lines/, 'send', id, 'Postgres')
      await ccm(stage, 'send', id, answer)
    }
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(asked[0]).toMatchObject({ kind: 'question', tool: 'AskUserQuestion', detail: 'Which database?' })
    expect(asked[0]?.options).toEqual(['SQLite', 'Postgres'])
    expect(asked[4]?.detail).toMatch(/Which database\?[^]*1\. SQLite[^]*Which features\?[^]*3\. Import/)
    const told = stage.model.requests.slice(1).map(({ toolResults }) => toolResults[0]?.text ?? '')
    const expected = [
      ['"Which database?"="Postgres"'],
      ['"Which database?"="SQLite"'],
      ['flat files'],
      ['"Which features?"="Search, Import"'],
      ['"Which database?"="Postgres"', '"Which features?"="Search, Export"'],
    ]
    const misses = told.filter(
      (text, index) => expected[index]?.every((part) => text.includes(part)) !== true,
    )
    expect(misses).toEqual([])
  },
)

test(
  'a plan is shown as Claude Code wrote it, refused with feedback and approved without leaving the asking mode',
  TEST,
  async () => {
    await using stage = await createStageHere(({ turn }) => {
      const [transcript = ''] = globSync(join(stage.home, 'claude/*/projects/*/*.jsonl'))
      // Where the plan belongs is told to the model in a system turn; the transcript has it too.
      const planFile = () => /"planFilePath":"([^"]+)"/.exec(readFileSync(transcript, 'utf8'))?.[1] ?? ''
      const replies = [
        () => call(['Read', { file_path: join(stage.work, 'parser.ts') }]),
        () => call(['Write', { file_path: planFile(), content: '# The plan\n\n1. touch one\n' }]),
        () => call(['ExitPlanMode', {}]),
        () => call(['ExitPlanMode', {}]),
        () => call(['Write', { file_path: join(stage.work, 'one'), content: '1\n' }]),
      ]
      return replies[turn]?.() ?? say('[DONE]')
    })
    const { id } = await stage.add('go', '--permission-mode', 'plan')
    const isPlan = (task: TaskJson) => isWaiting(task) && task.waiting_for?.kind === 'plan'
    const first = await stage.until(id, isPlan, WAIT_MS)
    expect(first.waiting_for).toMatchObject({
      tool: 'ExitPlanMode',
      detail: '# The plan\n\n1. touch one\n',
      options: [],
    })
    expect(await dialogShows(stage, first, /Would you like to proceed\?/)).toMatch(
      /Ready to code\?[^]*The plan[^]*1\. touch one/,
    )
    await ccm(stage, 'deny', id, '--reason', 'say why, too')
    await stage.until(id, (task) => isPlan(task) && stage.model.requests.length === 4, WAIT_MS)
    expect(stage.model.requests[3]?.toolResults).toMatchObject([{ isError: true, text: 'say why, too' }])

    // The second time its daemon is gone: the dialog's own key approves, and not the one for auto mode.
    await stage.crash()
    await ccm(stage, 'approve', id)
    const write = await stage.until(id, asksFor('/one\n'), WAIT_MS)
    expect(write.waiting_for).toMatchObject({ kind: 'permission', tool: 'Write' })
    expect(stage.model.requests[4]?.toolResults[0]?.text).toContain('approved your plan')
    await ccm(stage, 'approve', id)
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(readFileSync(join(stage.work, 'one'), 'utf8')).toBe('1\n')
  },
)

test(
  'a question in prose makes the task wait: exit 5 with what it waits for, and `ccm send` goes on exactly once',
  TEST,
  async () => {
    await using stage = await createStageHere(({ userText, turn }) =>
      turn === 0
        ? say('I found two ways.\n\nShould I take the short one?')
        : say(`Took: ${userText}\n[DONE]`),
    )
    const args = ['run', '--no-input', '--json', '--trust', 'go']
    const waits = await stage.ccm(args, { timeoutMs: WAIT_MS })
    expect(waits.code).toBe(5)
    const { id, ...task } = JSON.parse(waits.stdout) as TaskJson
    expect(task).toMatchObject({ status: 'running', agent_state: 'waiting' })
    expect(task.waiting_for).toMatchObject({
      kind: 'question',
      tool: null,
      detail: 'I found two ways.\n\nShould I take the short one?',
    })
    expect(waits.stderr).toContain(`ccm send ${id}`)
    await refused(stage, /ccm send/, 'approve', id)
    await refused(stage, /no dialog that can be denied/, 'deny', id)

    // What would be a command in the input box is text: here it would run in a shell.
    await ccm(stage, 'send', id, '!touch x; yes')
    const ended = await stage.end(id, WAIT_MS)
    expect(ended.result?.text).toBe('Took: The answer is this text:\n!touch x; yes')
    expect(existsSync(join(stage.work, 'x'))).toBe(false)
    const submitted = (await stage.events(id)).filter((event) => event.hook_event_name === 'UserPromptSubmit')
    expect(submitted.map(({ prompt }) => prompt)).toEqual(['go', 'The answer is this text:\n!touch x; yes'])
    await refused(stage, /./, 'send', id, 'more')
  },
)

test('no next prompt is suggested in the input box, where a text would wait for it to go', TEST, async () => {
  // Where it is switched on, Claude Code suggests from the second turn of a session on.
  await using stage = await createStageHere(
    ({ userText }) => say(userText.includes('the last') ? '[DONE]' : 'Which one?'),
    { claudeEnv: { CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION: '1' } },
  )
  const { id } = await stage.add('go')
  for (const [index, text] of ['the first', 'the second', 'the last'].entries()) {
    await stage.until(id, (task) => isWaiting(task) && stage.model.requests.length === index + 1, WAIT_MS)
    await ccm(stage, 'send', id, text)
  }
  expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
  expect(stage.model.requests).toHaveLength(4)
})

test(
  'after a crash of the daemon the next command takes the agent back and answers by the keys of its dialog',
  TEST,
  async () => {
    await using stage = await createStageHere(({ turn, userText }) => {
      if (userText.includes('Denied: only searching')) return say('[DONE]')
      if (userText.includes('Denied: not two')) return call(['AskUserQuestion', { questions: [DATABASE] }])
      if (turn === 0) return bash('touch one')
      return turn === 1 ? bash('touch two') : call(['AskUserQuestion', { questions: [FEATURES] }])
    })
    const { id } = await stage.add('go', '--permission-mode', 'manual')
    const crashAt = async (detail: string, text: RegExp) => {
      await dialogShows(stage, await stage.until(id, asksFor(detail), WAIT_MS), text)
      await stage.crash()
    }
    await crashAt('touch one', /Do you want to proceed\?/)
    await ccm(stage, 'approve', id)
    await crashAt('touch two', /touch two[^]*Do you want to proceed\?/)
    expect(existsSync(join(stage.work, 'one'))).toBe(true)
    await ccm(stage, 'deny', id, '--reason', 'not two')
    await crashAt('Which database?', /Enter to select/)
    await ccm(stage, 'send', id, 'postgres')
    await crashAt('Which features?', /Which features\?/)
    // Several choices have no single key.
    await refused(stage, /ccm attach/, 'send', id, '1,2')
    await ccm(stage, 'deny', id, '--reason', 'only searching')

    const task = await stage.end(id, WAIT_MS)
    expect(task).toMatchObject({ status: 'succeeded', attempt: 1 })
    expect(existsSync(join(stage.work, 'two'))).toBe(false)
    const texts = stage.model.requests.flatMap(({ toolResults }) => toolResults.map(({ text }) => text))
    expect(texts.join()).toContain('"Which database?"="Postgres"')
    const submitted = (await stage.events(id)).filter((event) => event.hook_event_name === 'UserPromptSubmit')
    expect(submitted.map(({ prompt }) => prompt)).toEqual(['go', 'Denied: not two', 'Denied: only searching'])
    expect((await stage.status()).found_at_start).toEqual([expect.stringContaining('taken back')])
  },
)

test('while a person is attached nothing is typed or pressed, and no deadline passes', TEST, async () => {
  await using stage = await createStageHere(
    ({ turn, userText }) => {
      if (turn === 0) return { kind: 'message', text: 'Which one?', delayMs: 12_000 }
      return userText.includes('the second') ? bash('touch one') : say('[DONE]')
    },
    { config: '[timeouts]\nno_activity = "6s"\nstart = "60s"\n' },
  )
  const { id, window } = await stage.until(
    (await stage.add('go', '--permission-mode', 'manual')).id,
    (task) => task.agent_state === 'working' && task.window !== null,
    WAIT_MS,
  )
  await using person = await attach(stage, window ?? '')
  // The model is silent for 12 s with a limit of 6 s.
  await stage.until(id, isWaiting, WAIT_MS)
  await refused(stage, /a person has its window open/, 'send', id, 'the second')
  expect(stage.model.requests.length).toBe(1)
  await person.leave()
  await ccm(stage, 'send', id, 'the second')

  // The same for keys, where the daemon that held the request is gone.
  const asking = await stage.until(id, asksFor('touch one'), WAIT_MS)
  await dialogShows(stage, asking, /Do you want to proceed\?/)
  await stage.crash()
  await using second = await attach(stage, window ?? '')
  await refused(stage, /A person has its window open/, 'approve', id)
  await refused(stage, /A person has its window open/, 'deny', id)
  expect(existsSync(join(stage.work, 'one'))).toBe(false)
  await second.leave()
  await ccm(stage, 'approve', id)
  expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
  expect(existsSync(join(stage.work, 'one'))).toBe(true)
})

/** A person who looks at a window: a second tmux whose only program is a client of the first. */
async function attach(
  stage: Stage,
  window: string,
): Promise<{ leave: () => Promise<void> } & AsyncDisposable> {
  const socket = join(stage.folder, 'person.sock')
  const options = { env: { ...stage.env, TERM: 'xterm-256color' }, extendEnv: false }
  const person = (...args: string[]) =>
    execa('tmux', ['-S', socket, '-f', '/dev/null', ...args], { ...options, reject: false })
  const client = [
    'env',
    '-u',
    'TMUX',
    'tmux',
    '-S',
    join(stage.home, 'tmux/tmux.sock'),
    'attach',
    '-t',
    `ccm:${window}`,
  ]
  await person('new-session', '-d', '-x', '200', '-y', '50', ...client)
  const people = async () =>
    (await stage.tmux('list-clients', '-F', '#{client_control_mode} #{window_name}'))
      .split('\n')
      .filter((line) => line === `0 ${window}`)
  await expect.poll(people, { timeout: WAIT_MS }).toHaveLength(1)
  const leave = async () => {
    await person('kill-server')
    await expect.poll(people, { timeout: WAIT_MS }).toHaveLength(0)
  }
  return { leave, [Symbol.asyncDispose]: async () => void (await person('kill-server')) }
}

test(
  'a waiting task frees its slot and outlives the no-activity deadline, until its own limit ends it',
  TEST,
  async () => {
    await using stage = await createStage(
      ({ turn, userText }) => (userText.includes('second') || turn > 0 ? say('[DONE]') : bash('touch one')),
      { config: '[agents]\nmax_concurrent = 1\n[timeouts]\nno_activity = "8s"\nwaiting = "25s"\n' },
    )
    const { id } = await stage.add('first', '--permission-mode', 'manual')
    await stage.until(id, isWaiting, WAIT_MS)
    const second = await stage.add('second')
    expect((await stage.end(second.id, WAIT_MS)).status).toBe('succeeded')
    expect(await stage.task(id)).toMatchObject({ status: 'running', agent_state: 'waiting' })
    const [waitedSince] = (await stage.chain(id)).filter(({ to }) => to === 'waiting')

    const task = await stage.end(id, WAIT_MS)
    expect(task).toMatchObject({
      status: 'failed',
      agent_state: 'timeout',
      error: 'Nobody answered for 25 s.',
    })
    expect(Date.parse(task.finished_at ?? '') - Date.parse(waitedSince?.at ?? '')).toBeGreaterThan(25_000)
    expect(existsSync(join(stage.work, 'one'))).toBe(false)
    expect(stage.processesOf(id)).toEqual([])
  },
)
