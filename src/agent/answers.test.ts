import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { initialView, type View } from '../core/agent/view.ts'
import type { Ask } from '../core/agent/ask.ts'
import { createAnswers } from './answers.ts'
import type { Key } from './pane.ts'

const SCREENS = fileURLToPath(new URL('../../test/claude/screens/2.1.328/waiting/', import.meta.url))
const shown = (name: string) => readFileSync(`${SCREENS}permission-${name}.txt`, 'utf8')

const edit = (path: string): Ask => ({ tool: 'Edit', input: { file_path: path } })
const fetch = (url: string): Ask => ({ tool: 'WebFetch', input: { url, prompt: 'What is it?' } })
const APP = '/tmp/ccm-screens-XXXXXX/app'

/** An agent that asks since two seconds, and what its window shows. */
function stage(screen: string, asks: Ask[], more: { attended?: boolean; view?: Partial<View> } = {}) {
  const keys: Key[] = []
  const said: string[] = []
  const answered: (Ask | null)[] = []
  let view: View = { ...initialView(0), state: 'waiting', waitKind: 'permission', asks, ...more.view }
  const answers = createAnswers({
    pane: {
      capture: async () => screen,
      paste: async () => undefined,
      press: async (key) => void keys.push(key),
      isAttended: async () => more.attended === true,
      close: async () => undefined,
    },
    view: () => view,
    screen: () => screen,
    deliver: async (text) => (said.push(text), 'delivered'),
    answered: (ask) => void answered.push(ask),
    holdMs: 60_000,
    unanswered: () => undefined,
    clock: () => 2000,
  })
  return { answers, keys, said, answered, become: (next: Partial<View>) => (view = { ...view, ...next }) }
}

test.each<[screen: string, ask: Ask, isIt: boolean]>([
  ['edit-80x24-fullscreen', edit(`${APP}/retries.ts`), true],
  ['edit-200x50-classic', edit(`${APP}/retries.ts`), true],
  // Its name is the end of the other one's.
  ['edit-80x24-fullscreen', edit(`${APP}/tries.ts`), false],
  ['edit-80x24-fullscreen', edit(`${APP}/retries`), false],
  ['write-80x24-fullscreen', { tool: 'Write', input: { file_path: `${APP}/notes.md` } }, true],
  // Of the content, which the agent writes.
  ['write-80x24-fullscreen', edit(`${APP}/Notes`), false],
  // Of what can be chosen.
  ['write-80x24-fullscreen', edit(`${APP}/commands`), false],
  ['write-long-120x40-fullscreen', edit(`${APP}/step`), false],
  ['bash-80x24-classic', edit(`${APP}/Bash`), false],
  ['bash-80x24-classic', edit(`${APP}/command`), false],
  ['webfetch-120x40-classic', fetch('http://127.0.0.1:9/doc'), true],
  ['webfetch-200x50-fullscreen', fetch('http://127.0.0.1:9/doc'), true],
  ['webfetch-120x40-classic', fetch('http://127.0.0.1:9/do'), false],
  ['webfetch-120x40-classic', fetch('http://example.org/doc'), false],
  ['webfetch-120x40-classic', { tool: 'Bash', input: { command: 'curl http://127.0.0.1:9/doc' } }, false],
  ['webfetch-120x40-classic', { tool: 'Grep', input: { pattern: 'doc' } }, false],
])('a rule answers by key only in the dialog of its request: %s', async (screen, ask, isIt) => {
  const { answers, keys, answered } = stage(shown(screen), [ask])
  const reply = await answers.byRule(ask, 'allow', 'Edit')
  expect([reply === 'done', keys, answered]).toEqual(isIt ? [true, ['1'], [ask]] : [false, [], []])
})

test('a rule answers a command by key where the dialog shows all of it and nothing else, and tells what it denies', async () => {
  const screen = shown('bash-80x24-classic')
  const command =
    /^╌+\n([^]*?)\n╌+$/m
      .exec(screen)?.[1]
      ?.trim()
      .replaceAll(/\s*\n\s*/g, ' ') ?? ''
  expect(command).not.toBe('')
  const ask = (text: string): Ask => ({ tool: 'Bash', input: { command: text } })
  for (const other of [`${command} x`, command.slice(0, -1), ''])
    expect(await stage(screen, [ask(other)]).answers.byRule(ask(other), 'allow', 'Bash')).not.toBe('done')
  const asked = ask(command)
  const denied = stage(screen, [asked])
  expect(await denied.answers.byRule(asked, 'deny', 'Bash(rm:*)')).toBe('done')
  expect(denied.keys).toEqual(['Escape'])
  expect(denied.said).toEqual([expect.stringContaining('Bash(rm:*)')])
  const attended = stage(screen, [asked], { attended: true })
  expect(await attended.answers.byRule(asked, 'allow', 'Bash')).toEqual({ refused: expect.any(String) })
  expect(attended.keys).toEqual([])
  // Answered in the window since the look.
  const late = stage(screen, [asked])
  late.become({ state: 'working', asks: [] })
  expect(await late.answers.byRule(asked, 'allow', 'Bash')).toBe('not_waiting')
  expect(late.keys).toEqual([])
})

test('what no hook holds is one permission request that has been asked for long enough', () => {
  const [one, two] = [edit('/a'), edit('/b')]
  const of = (asks: Ask[], view: Partial<View> = {}) => stage('', asks, { view }).answers.unheld()
  expect(of([one])).toBe(one)
  expect(of([one, two])).toBeNull()
  expect(of([])).toBeNull()
  expect(of([one], { stateAt: 1000 })).toBeNull()
  expect(of([one], { waitKind: 'plan' })).toBeNull()
  expect(of([one], { state: 'working' })).toBeNull()
  const held = stage('', [one])
  void held.answers.hold({ ...one }, new AbortController().signal)
  expect(held.answers.unheld()).toBeNull()
  held.answers.release()
})
