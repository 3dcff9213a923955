import { expect, test } from 'vitest'
import type { Ask } from '../core/agent/ask.ts'
import { createHeldAsks, detailOf, toAnswers } from './held-ask.ts'

const bash = (command: string): Ask => ({ tool: 'Bash', input: { command } })
const question = (question: string, options: string[], multiSelect = false) => ({
  question,
  multiSelect,
  options: options.map((label) => ({ label })),
})
const questions = (...asked: object[]): Ask => ({ tool: 'AskUserQuestion', input: { questions: asked } })
const alive = new AbortController().signal

test('a decision reaches the request it is for, also when an older one is still held', async () => {
  const held = createHeldAsks(() => undefined)
  const first = held.hold(bash('one'), alive)
  const second = held.hold(bash('two'), alive)
  const ask = held.of([bash('two')])
  expect(ask).toEqual(bash('two'))
  expect(held.decide(ask, { behavior: 'allow' })).toBe(true)
  expect(held.decide(ask, { behavior: 'allow' })).toBe(false)
  expect(await second).toMatchObject({ hookSpecificOutput: { decision: { behavior: 'allow' } } })
  held.release()
  expect(await first).toEqual({})
})

test('a request whose dialog was answered in the window is let go, although its client keeps it open', async () => {
  const held = createHeldAsks(() => undefined)
  const answered = held.hold(bash('one'), alive)
  held.follow([bash('one')])
  held.follow([])
  expect(await answered).toEqual({})
  expect(held.of([])).toBeNull()
})

test('a request that came before its hook event is kept until the event is there', () => {
  const held = createHeldAsks(() => undefined)
  void held.hold(bash('one'), alive)
  held.follow([])
  expect(held.of([])).toEqual(bash('one'))
  held.follow([bash('one')])
  expect(held.of([bash('one')])).toEqual(bash('one'))
  expect(held.of([bash('other')])).toBeNull()
})

test('an agent has at most 16 requests held; what it asks beyond that is left to its window', async () => {
  const held = createHeldAsks(() => undefined)
  const replies = Array.from({ length: 16 }, (_, n) => held.hold(bash(`command ${n}`), alive))
  expect(await held.hold(bash('one too many'), alive)).toEqual({})
  held.decide(held.of([]), { behavior: 'allow' })
  expect(await replies[0]).not.toEqual({})
  void held.hold(bash('the next'), alive)
  expect(held.of([bash('the next')])).toEqual(bash('the next'))
  held.release()
})

test('a client that closes its request answered in the window; one that had closed before is not held', async () => {
  const gone: Ask[] = []
  const held = createHeldAsks((ask) => gone.push(ask))
  const client = new AbortController()
  const reply = held.hold(bash('one'), client.signal)
  client.abort()
  expect(await reply).toEqual({})
  expect(await held.hold(bash('two'), client.signal)).toEqual({})
  expect(gone).toEqual([bash('one')])
  expect(held.of([])).toBeNull()
})

test('answers are labels, numbers or free text, one line a question', () => {
  const one = questions(question('Which?', ['SQLite', 'Postgres']))
  expect(toAnswers(one, ' 2\n')).toEqual({ answers: { 'Which?': 'Postgres' } })
  expect(toAnswers(one, 'sqlite')).toEqual({ answers: { 'Which?': 'SQLite' } })
  expect(toAnswers(one, '3')).toEqual({ answers: { 'Which?': '3' } })
  expect(toAnswers(one, 'none,\nreally')).toEqual({ answers: { 'Which?': 'none,\nreally' } })
  const two = questions(question('A?', ['x', 'y']), question('B?', ['p', 'q', 'r'], true))
  expect(toAnswers(two, 'y\n1, R')).toEqual({ answers: { 'A?': 'y', 'B?': 'p, r' } })
  expect(toAnswers(two, 'y')).toEqual({ refused: expect.stringContaining('2 lines') })
  expect(toAnswers(bash('x'), 'y')).toEqual({ refused: expect.any(String) })
})

test('what is asked for is shown in full', () => {
  expect(detailOf(bash('rm -rf build'))).toBe('rm -rf build')
  const edit = { file_path: '/a', old_string: 'x\ny', new_string: 'z' }
  expect(detailOf({ tool: 'Edit', input: edit })).toBe('/a\n-x\n-y\n+z')
  expect(detailOf({ tool: 'Write', input: { file_path: '/a', content: 'x\n\ny\n' } })).toBe('/a\n+x\n+\n+y')
  expect(detailOf({ tool: 'ExitPlanMode', input: { plan: '# Plan' } })).toBe('# Plan')
  expect(detailOf({ tool: 'WebFetch', input: { url: 'https://x' } })).toContain('https://x')
})

test('a request that nobody answers is let go after its time, and somebody hears of it', async () => {
  const late: Ask[] = []
  const held = createHeldAsks(() => undefined, { holdMs: 20, onLate: (ask) => late.push(ask) })
  const answered = held.hold(bash('answered'), alive)
  held.decide(held.of([]), { behavior: 'allow' })
  expect(await held.hold(bash('one'), alive)).toEqual({})
  expect(await answered).not.toEqual({})
  expect(late).toEqual([bash('one')])
  expect(held.of([])).toBeNull()
})
