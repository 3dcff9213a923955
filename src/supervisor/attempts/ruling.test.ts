import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import type { Answered } from '../../agent/answers.ts'
import type { Watcher } from '../../agent/watcher.ts'
import type { Ask } from '../../core/agent/ask.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import type { PermissionRule } from '../../core/permission/permission-rule.ts'
import { PLAIN_TASK } from '../../core/task/task.ts'
import { createRedactor } from '../../core/redact.ts'
import { createHookEvents } from '../../store/hook-events.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createRuling } from './ruling.ts'
import type { RunningAgent } from './running-agent.ts'

const ASK: Ask = { tool: 'Bash', input: { command: 'make' } }

function prepare(rules: PermissionRule[] = []) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const hookEvents = createHookEvents(db)
  const heard: HookEvent[] = []
  const ruling = createRuling({
    rulesOf: () => rules,
    hookEvents,
    readSpool: async () => undefined,
    onEvents: (_, events) => void heard.push(...events),
    redactor: createRedactor(),
    userHome: '/home/me',
    clock: () => 1000,
    logger: pino({ level: 'silent' }),
  })
  const watcher = { requestOf: () => 7 } as Partial<Watcher>
  const attempt = { taskId: 't1', attempt: 1, dir: tmpdir(), claudeSessionId: 'c0ffee' }
  const agent = {
    task: { ...PLAIN_TASK, id: 't1', source: 'cli' },
    attempt,
    watcher,
  } as unknown as RunningAgent
  const rows = () =>
    hookEvents
      .ofTask('t1', { limit: 10 })
      .map(({ kind, payload }) => [kind, payload['by'], payload['request']])
  return { ruling, agent, heard, rows }
}

const inWindow = (id: number, decision: 'granted' | 'denied') => ({
  request: { id, ask: ASK, agentId: null },
  decision,
  proof: 'Its tool ran.',
})

test('a request has one decision, however often it is told', async () => {
  const { ruling, agent, heard, rows } = prepare()
  ruling.inWindow(agent, inWindow(7, 'granted'))
  ruling.inWindow(agent, inWindow(7, 'granted'))
  await ruling.through(agent, 'denied', async (decides) => (decides(ASK), 'done'))
  expect(rows()).toEqual([['permission_granted', 'window', 7]])
  expect(heard[0]?.payload['proof']).toBe('Answered in the window: Its tool ran.')
  ruling.inWindow(agent, inWindow(8, 'denied'))
  expect(rows()).toHaveLength(2)
  expect(heard).toHaveLength(2)
})

test('what comes of a key that ccm presses was not answered in the window; what it could not answer may be', async () => {
  const { ruling, agent, rows } = prepare()
  await ruling.through(agent, 'denied', async (decides) => {
    decides(ASK)
    ruling.inWindow(agent, inWindow(7, 'denied'))
    return 'done'
  })
  expect(rows()).toEqual([['permission_denied', 'ccm', 7]])
  const other = prepare()
  await other.ruling.through(other.agent, 'denied', async (decides) => (decides(ASK), 'not_waiting'))
  expect(other.rows()).toEqual([])
  other.ruling.inWindow(other.agent, inWindow(7, 'granted'))
  expect(other.rows()).toEqual([['permission_granted', 'window', 7]])
})

test('before a tool runs it is asked for what a rule forbids, and for what cannot be told', () => {
  const { ruling, agent } = prepare([
    { effect: 'deny', rule: 'Bash(rm:*)' },
    { effect: 'allow', rule: 'Bash(make:*)' },
  ])
  const of = (command: string, whose: RunningAgent | null = agent) =>
    ruling.look(whose, { tool: 'Bash', input: { command } }).hookSpecificOutput?.permissionDecision ?? null
  expect(['/bin/rm x', 'taskset 1 rm x', 'make', 'ls'].map((command) => of(command))).toEqual([
    'ask',
    'ask',
    null,
    null,
  ])
  expect(of('ls', null)).toBe('ask')
  // A loop of links.
  const folder = mkdtempSync(join(tmpdir(), 'ccm-ruling-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  symlinkSync('loop', join(folder, 'loop'))
  const reading = prepare([{ effect: 'deny', rule: 'Read(//etc/**)' }])
  const lost: Ask = { tool: 'Read', input: { file_path: join(folder, 'loop') } }
  expect(reading.ruling.look(reading.agent, lost).hookSpecificOutput?.permissionDecision).toBe('ask')
  const broken = { ...agent, task: { id: 't1' } } as unknown as RunningAgent
  expect(of('ls', broken)).toBe('ask')
})

test('what nobody heard of as it was asked is decided by the rules once', async () => {
  const pressed: [string, string][] = []
  const { ruling, agent, rows, heard } = prepare([
    { effect: 'deny', rule: 'Bash(rm:*)' },
    { effect: 'allow', rule: 'Bash(make:*)' },
  ])
  let answer: Answered = { refused: 'Its dialog is not that of the request.' }
  const asks = (ask: Ask | null) =>
    Object.assign(agent.watcher as object, {
      answers: {
        unheld: () => ask,
        byRule: async ({ input }: Ask, effect: string) => {
          pressed.push([String(input['command']), effect])
          return answer
        },
      },
    })
  const bash = (command: string): Ask => ({ tool: 'Bash', input: { command } })
  for (const ask of [null, bash('ls')]) {
    asks(ask)
    await ruling.unheld(agent)
  }
  expect(pressed).toEqual([])
  asks(bash('make all'))
  await ruling.unheld(agent)
  expect(rows()).toEqual([])
  answer = 'done'
  // Its record says that it was decided only later.
  for (const _ of [1, 2]) await ruling.unheld(agent)
  expect(pressed).toEqual([
    ['make all', 'allow'],
    ['make all', 'allow'],
  ])
  expect(rows()).toEqual([['permission_granted', 'rule', 7]])
  expect(heard[0]?.payload['rule']).toBe('Bash(make:*)')
  asks(bash('rm x'))
  await ruling.unheld(agent)
  expect(pressed.at(-1)).toEqual(['rm x', 'deny'])
})

test('no rule allows what nobody heard of where something of it was not stored', async () => {
  const { ruling, agent } = prepare([{ effect: 'allow', rule: 'Bash' }])
  const pressed: string[] = []
  for (const command of ['make *** all', 'make … (9 bytes) … all', 'make']) {
    Object.assign(agent.watcher as object, {
      answers: {
        unheld: (): Ask => ({ tool: 'Bash', input: { command } }),
        byRule: async () => (pressed.push(command), 'done'),
      },
    })
    await ruling.unheld(agent)
  }
  expect(pressed).toEqual(['make'])
})
