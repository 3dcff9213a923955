import { expect, test } from 'vitest'
import { NOTHING_SPENT, narrower, overBudget } from './budget.ts'

const NONE = { maxTokens: null, maxCostUsd: null }

test('without a limit everything may be spent', () => {
  expect(overBudget('x', { tokens: 1e12, costUsd: 1e6, unpriced: 'm' }, NONE)).toBeNull()
})

test.each([
  [{ tokens: 99 }, { maxTokens: 100 }, null],
  [{ tokens: 100 }, { maxTokens: 100 }, 'The budget of this task is used up: 100 of 100 tokens.'],
  [{ costUsd: 0.99 }, { maxCostUsd: 1 }, null],
  [{ costUsd: 1 }, { maxCostUsd: 1 }, 'The budget of this task is used up: $1.00 of $1.00.'],
  [{ costUsd: 5, tokens: 5 }, { maxTokens: 6 }, null],
])('%j against %j is %j', (spent, limits, sentence) => {
  expect(overBudget('of this task', { ...NOTHING_SPENT, ...spent }, { ...NONE, ...limits })).toBe(sentence)
})

test('a limit in dollars is reached by a model without a price, and one in tokens is not', () => {
  const spent = { tokens: 1, costUsd: 0, unpriced: 'model-x' }
  expect(overBudget('of this task', spent, { ...NONE, maxCostUsd: 1 })).toContain('model-x')
  expect(overBudget('of this task', spent, { ...NONE, maxTokens: 2 })).toBeNull()
})

test('of two limits the narrower counts, in each unit', () => {
  expect(narrower({ maxTokens: 5, maxCostUsd: null }, { maxTokens: 7, maxCostUsd: 2 })).toEqual({
    maxTokens: 5,
    maxCostUsd: 2,
  })
  expect(narrower(NONE, NONE)).toEqual(NONE)
})
