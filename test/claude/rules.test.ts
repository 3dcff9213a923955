import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { ModelRequest, ScriptedReply } from '../../src/demo/model.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStageHere, type Stage } from '../e2e/stage.ts'

const WAIT_MS = 120_000
const TEST = { timeout: 400_000 }

const say = (text: string): ScriptedReply => ({ kind: 'message', text })
const call = (name: string, input: Record<string, unknown>): ScriptedReply => ({
  kind: 'message',
  tools: [{ name, input }],
})
const bash = (command: string) => call('Bash', { command, description: 'a step' })
const turns =
  (...replies: ScriptedReply[]) =>
  ({ turn }: ModelRequest) =>
    replies[turn] ?? say('[DONE]')

async function ccm(stage: Stage, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await stage.ccm(args, { timeoutMs: WAIT_MS })
  if (code !== 0) throw new Error(`ccm ${args.join(' ')}: exit ${code}: ${stdout}${stderr}`)
}

async function withRules(stage: Stage, ...rules: string[]): Promise<void> {
  await ccm(stage, 'projects', 'add', stage.work, '--name', 'app', '--trust')
  await ccm(stage, 'projects', 'rules', 'app', ...rules)
}

const asksFor = (detail: string) => (task: TaskJson) =>
  task.agent_state === 'waiting' && task.waiting_for?.detail.includes(detail) === true
const decisions = async (stage: Stage, id: string) =>
  (await stage.events(id))
    .filter((event) => event.hook_event_name === 'CcmPermission')
    .map((event) => [event['decision'], event['rule'], event.tool_input?.['command']])

test(
  'rules allow, deny and ask at once; the refusal reaches the model, and states and events name the rule',
  TEST,
  async () => {
    await using stage = await createStageHere(
      turns(
        bash('touch one'),
        bash('touch one && rm -rf one'),
        bash('rm one'),
        bash('git push'),
        bash('touch four > five'),
      ),
    )
    await withRules(stage, '--allow', 'Bash(touch:*)', '--deny', 'Bash(rm:*)', '--ask', 'Bash(git push:*)')
    const { id } = await stage.add('go', '--permission-mode', 'manual')
    // It asks first, and which rule left that to a person is told right after.
    const isToldWhy = ({ state_reason }: TaskJson) => state_reason?.includes('Bash(git push:*)') === true
    await stage.until(id, (task) => asksFor('git push')(task) && isToldWhy(task), WAIT_MS)
    await ccm(stage, 'deny', id)
    // What the shell would do besides is for a person, whatever the first word allows.
    await stage.until(id, asksFor('touch four > five'), WAIT_MS)
    await ccm(stage, 'approve', id)
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')

    expect(existsSync(join(stage.work, 'one'))).toBe(true)
    const results = stage.model.requests.map(({ toolResults }) => toolResults[0])
    expect(results[1]).toMatchObject({ isError: false })
    expect(results[2]).toMatchObject({ isError: true, text: expect.stringContaining('Bash(rm:*)') })
    expect(results[3]).toMatchObject({
      isError: true,
      text: expect.stringContaining('rules of this project'),
    })
    expect(await decisions(stage, id)).toEqual([
      ['granted', 'Bash(touch:*)', 'touch one'],
      ['denied', 'Bash(rm:*)', 'touch one && rm -rf one'],
      ['denied', 'Bash(rm:*)', 'rm one'],
      ['ask', 'Bash(git push:*)', 'git push'],
      ['denied', undefined, 'git push'],
      ['granted', undefined, 'touch four > five'],
    ])
    const reasons = (await stage.chain(id)).map(({ reason }) => reason)
    expect(reasons).toEqual(
      expect.arrayContaining([
        'Allowed by the rule Bash(touch:*): Bash touch one',
        'Denied by the rule Bash(rm:*): Bash rm one',
      ]),
    )
  },
)

test('what a rule denies is asked for even where the permission mode would not ask', TEST, async () => {
  await using stage = await createStageHere((request) =>
    turns(
      call('Write', { file_path: `${stage.work}/secrets/key`, content: 'x' }),
      call('Write', { file_path: `${stage.work}/open`, content: 'x' }),
      bash('rm -rf kept'),
    )(request),
  )
  mkdirSync(join(stage.work, 'secrets'))
  writeFileSync(join(stage.work, 'kept'), '')
  await withRules(stage, '--deny', 'Edit(secrets/**)', '--deny', 'Bash(rm:*)')
  const { id } = await stage.add('go', '--permission-mode', 'bypassPermissions')
  expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
  expect(existsSync(join(stage.work, 'secrets/key'))).toBe(false)
  expect(existsSync(join(stage.work, 'open'))).toBe(true)
  expect(existsSync(join(stage.work, 'kept'))).toBe(true)
})

test('what may not be written is asked for by whatever name of the tools that write', TEST, async () => {
  await using stage = await createStageHere((request) =>
    turns(
      call('Write', { file_path: `${stage.work}/secrets/key`, content: 'x' }),
      call('Write', { file_path: `${stage.work}/open`, content: 'x' }),
      call('Write', { file_path: `${stage.work}/rooted`, content: 'x' }),
      call('Read', { file_path: `${stage.work}/book.ipynb` }),
      call('NotebookEdit', { notebook_path: `${stage.work}/book.ipynb`, cell_id: 'one', new_source: 'x' }),
    )(request),
  )
  mkdirSync(join(stage.work, 'secrets'))
  const cell = { cell_type: 'code', id: 'one', metadata: {}, source: 'y', outputs: [], execution_count: null }
  const book = JSON.stringify({ cells: [cell], metadata: {}, nbformat: 4, nbformat_minor: 5 })
  writeFileSync(join(stage.work, 'book.ipynb'), book)
  const denied = ['Write(secrets/**)', 'Edit(/rooted)', 'NotebookEdit(*.ipynb)'].flatMap((rule) => [
    '--deny',
    rule,
  ])
  await withRules(stage, ...denied)
  const { id } = await stage.add('go', '--permission-mode', 'bypassPermissions')
  expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
  const isThere = (file: string) => existsSync(join(stage.work, file))
  expect(['secrets/key', 'open', 'rooted'].filter(isThere)).toEqual(['open'])
  expect(readFileSync(join(stage.work, 'book.ipynb'), 'utf8')).toBe(book)
})

test(
  'what Claude Code itself would not take for what a rule denies is looked at first, too',
  TEST,
  async () => {
    await using stage = await createStageHere((request) =>
      turns(
        bash('echo hi > said'),
        bash('/bin/rm -rf kept'),
        call('Write', { file_path: `${stage.work}/link/key`, content: 'x' }),
        bash('git -C . push'),
      )(request),
    )
    mkdirSync(join(stage.work, 'secrets'))
    symlinkSync('secrets', join(stage.work, 'link'))
    writeFileSync(join(stage.work, 'kept'), '')
    const denied = ['Bash(rm:*)', 'Edit(secrets/**)', 'Bash(git push:*)'].flatMap((rule) => ['--deny', rule])
    await withRules(stage, ...denied)
    const { id } = await stage.add('go', '--permission-mode', 'bypassPermissions')
    await stage.until(id, asksFor('git -C . push'), WAIT_MS)
    await ccm(stage, 'deny', id)
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    const isThere = (file: string) => existsSync(join(stage.work, file))
    expect(['said', 'kept', 'secrets/key'].filter(isThere)).toEqual(['said', 'kept'])
    expect(await decisions(stage, id)).toEqual([
      ['denied', 'Bash(rm:*)', '/bin/rm -rf kept'],
      ['denied', 'Edit(secrets/**)', undefined],
      ['ask', 'Bash(git push:*)', 'git -C . push'],
      ['denied', undefined, 'git -C . push'],
    ])
  },
)

test(
  'a request that nobody answers in time is left to its dialog, and is approved by key from then on',
  TEST,
  async () => {
    await using stage = await createStageHere(turns(bash('touch one')), {
      config: '[timeouts]\nask = "2s"\n',
    })
    const { id } = await stage.add('go', '--permission-mode', 'manual')
    const left = await stage.until(
      id,
      (task) => task.state_reason?.startsWith('Nobody answered in time') === true,
      WAIT_MS,
    )
    expect(left).toMatchObject({ agent_state: 'waiting', waiting_for: { detail: 'touch one' } })
    await ccm(stage, 'approve', id)
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(existsSync(join(stage.work, 'one'))).toBe(true)
    expect((await stage.chain(id)).map(({ reason }) => reason)).toContain('Approved by a person, by key.')
  },
)

test.each([
  ['allow', 'granted', true],
  ['deny', 'denied', false],
] as const)(
  'what was asked while no daemon ran is answered by the rules of then: %s',
  TEST,
  async (effect, decision, ran) => {
    await using stage = await createStageHere(turns(bash('sleep 8'), bash('touch one && touch two')))
    await withRules(stage, `--${effect}`, 'Bash(touch:*)')
    const { id } = await stage.add('go', '--permission-mode', 'manual', '--allow', 'Bash(sleep:*)')
    await stage.until(id, ({ state_reason }) => state_reason?.includes('sleep 8') === true, WAIT_MS)
    await stage.crash()
    const window = async () => stage.tmux('capture-pane', '-p', '-t', 'agent-app-1')
    while (!(await window()).includes('Do you want to proceed?')) await sleep(200)
    await ccm(stage, 'start')
    expect((await stage.end(id, WAIT_MS)).status).toBe('succeeded')
    expect(existsSync(join(stage.work, 'two'))).toBe(ran)
    expect(await decisions(stage, id)).toEqual([[decision, 'Bash(touch:*)', 'touch one && touch two']])
  },
)
