import { expect, test } from 'vitest'
import type { Ask } from '../core/agent/ask.ts'
import { initialView, move, type View } from '../core/agent/view.ts'
import { onHook } from '../core/agent/watch.ts'
import { createAnswers, type Answers } from './answers.ts'
import type { Pane } from './pane.ts'

const RULE = '─'.repeat(80)
const FRAME = '╌'.repeat(80)
const permission = (command: string) =>
  `${RULE}\n Bash command\n${FRAME}\n ${command}\n${FRAME}\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel · Tab to amend\n`
const plan = `${RULE}\n Ready to code?\n\n Here is the plan.\n\n Would you like to proceed?\n\n ❯ 1. Yes, manually approve edits\n   2. No\n\n ctrl+g to edit in Vim · ~/plan.md\n`
const question = (line: string, mark = '') =>
  `${RULE}\n ☐ Tool\n\n${line}\n\n❯ 1. ${mark}Saw\n  2. ${mark}Axe\n${RULE}\n  3. Chat about this\n\nEnter to select · ↑/↓ to navigate · Esc to cancel\n`

const bash = (command: string): Ask => ({ tool: 'Bash', input: { command } })
const asks = (...lines: [question: string, multiSelect: boolean][]): Ask => {
  const options = [{ label: 'Saw' }, { label: 'Axe' }]
  const questions = lines.map(([question, multiSelect]) => ({ question, multiSelect, options }))
  return { tool: 'AskUserQuestion', input: { questions } }
}

/** An agent that asks for all of that, as a daemon finds it that was restarted: no request is held any more. */
function stage(screen: string, ...asks: Ask[]) {
  const why = { reason: '', source: 'supervisor', evidence: '' } as const
  let view: View = move(initialView(0), 0, 'opened', why).view
  for (const { tool, input } of asks)
    view = onHook(view, { hook_event_name: 'PermissionRequest', tool_name: tool, tool_input: input }, 0).view
  const keys: string[] = []
  /** What comes of a key. */
  const show = (next: string, ask: Ask) => {
    screen = next
    view = { ...view, asks: [ask] }
  }
  const pane: Pane = {
    capture: async () => screen,
    paste: async () => undefined,
    press: async (key) => void keys.push(key),
    isAttended: async () => false,
    close: async () => undefined,
  }
  const answers = createAnswers({
    pane,
    view: () => view,
    screen: () => screen,
    deliver: async () => 'delivered',
    answered: () => undefined,
    holdMs: 1000,
    unanswered: () => undefined,
    clock: () => 60_000,
  })
  return { answers, keys, show }
}

const REFUSED = { refused: expect.any(String) }

test('a key answers only the dialog of what the person was shown', async () => {
  for (const [screen, ...asked] of [
    [permission('rm -r b'), bash('touch a'), bash('rm -r b')],
    [plan, bash('touch a')],
    [permission('rm -r b'), { tool: 'ExitPlanMode', input: { plan: 'Here is the plan.' } }],
  ] as const) {
    const { answers, keys } = stage(screen, ...asked)
    expect(await answers.approve(null)).toEqual(REFUSED)
    expect(await answers.deny(null, null)).toEqual(REFUSED)
    expect(keys).toEqual([])
  }
  for (const [screen, ...asked] of [
    [permission('touch a'), bash('touch a'), bash('rm -r b')],
    [permission('touch a'), bash('touch a')],
    [plan, { tool: 'ExitPlanMode', input: {} }],
  ] as const) {
    const { answers, keys } = stage(screen, ...asked)
    expect(await answers.approve(null)).toBe('done')
    expect(await answers.deny(null, null)).toBe('done')
    expect(keys).toEqual(['1', 'Escape'])
  }
})

test('a question is answered by key where one key answers all of it', async () => {
  const one = stage(question('Which?'), asks(['Which?', false]))
  expect(await one.answers.send('axe', null)).toBe('done')
  expect(one.keys).toEqual(['2'])
  const marks = stage(question('Which?', '[ ] '), asks(['Which?', true]))
  expect(await marks.answers.send('axe', null)).toEqual(REFUSED)
  const two = stage(question('Which?'), asks(['Which?', false], ['And then?', false]))
  expect(await two.answers.send('axe\nsaw', null)).toEqual(REFUSED)
  expect([...marks.keys, ...two.keys]).toEqual([])
})

test('two answers at once are one key: the second would answer what is asked behind', async () => {
  for (const both of [
    [(one: Answers) => one.approve(null), (one: Answers) => one.approve(null)],
    [(one: Answers) => one.deny('No.', null), (one: Answers) => one.deny('No.', null)],
    [(one: Answers) => one.deny('No.', null), (one: Answers) => one.approve(null)],
  ]) {
    const first = bash('touch a')
    const { answers, keys, show } = stage(permission('touch a'), first)
    const ends = both.map(async (answer) => answer(answers))
    await expect.poll(() => keys.length).toBe(1)
    // The screen follows a moment later, with the next dialog.
    await new Promise((resolve) => setTimeout(resolve, 60))
    show(permission('rm -r b'), bash('rm -r b'))
    expect(await Promise.all(ends)).toEqual(['done', REFUSED])
    expect(keys).toHaveLength(1)
  }
})
