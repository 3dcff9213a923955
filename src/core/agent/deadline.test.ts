import { expect, test } from 'vitest'
import { passedDeadline } from './deadline.ts'
import { initialView, type View } from './view.ts'

const limits = { startMs: 60_000, noActivityMs: 300_000, totalMs: 1_800_000, waitingMs: 86_400_000 }
const view = (more: Partial<View>): View => ({
  ...initialView(0),
  state: 'working',
  prompts: 1,
  activeAt: 0,
  ...more,
})

test('five minutes without activity are too long, unless a tool runs', () => {
  expect(passedDeadline(view({}), 300_001, 300_001, limits)).toBe('It showed no activity for 5 min.')
  expect(passedDeadline(view({ openTools: ['t'] }), 300_001, 300_001, limits)).toBe(null)
})

test('the total deadline counts busy time only, and a running tool does not escape it', () => {
  expect(passedDeadline(view({ activeAt: 5e6, openTools: ['t'] }), 5e6, 1_800_001, limits)).toBe(
    'It took longer than 30 min.',
  )
  expect(passedDeadline(view({ activeAt: 5e6 }), 5e6, 1_000_000, limits)).toBe(null)
})

test('waiting for a person has its own limit and no other', () => {
  const waiting = view({ state: 'waiting', waitKind: 'permission', stateAt: 0 })
  expect(passedDeadline(waiting, 80_000_000, 9e9, limits)).toBe(null)
  expect(passedDeadline(waiting, 86_400_001, 0, limits)).toBe('Nobody answered for 24 h.')
})

test('a prompt that is never confirmed ends the start', () => {
  expect(
    passedDeadline(view({ state: 'initializing', prompts: 0, activeAt: 60_000 }), 60_001, 60_001, limits),
  ).toBe('It did not confirm its prompt within 1 min.')
})
