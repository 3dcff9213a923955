import { expect, test } from 'vitest'
import type { MessageUsage } from '../core/task/usage.ts'
import { costOf } from './price.ts'

const message = (model: string, extra: Partial<MessageUsage> = {}): MessageUsage => ({
  id: 'msg',
  model,
  usage: {
    input_tokens: 1234,
    output_tokens: 10,
    cache_read_input_tokens: 2000,
    cache_creation_input_tokens: 100,
  },
  cacheCreation1hTokens: 0,
  webSearches: 0,
  ...extra,
})

test('agrees with what Claude Code 2.1.328 recorded for the same three messages', async () => {
  const messages = [1234, 1234, 1234].map(() => message('claude-opus-5-5'))
  // Its cost-state for them: 3,702 in, 30 out, 6,000 read from the cache, 300 written.
  expect(await costOf(messages)).toBeCloseTo(0.018108, 10)
})

test('no message costs nothing', async () => {
  expect(await costOf([])).toBe(0)
})

test.each([
  'claude-opus-5-5',
  'claude-opus-5-5-20261001',
  'claude-haiku-4-5-20251001',
  'claude-opus-4-20250514',
])('knows %s', async (model) => {
  expect(await costOf([message(model)])).toBeGreaterThan(0)
})

test.each([
  'claude-sonnet-5-5',
  'claude-opus-99',
  'claude-opus-5-5-fast',
  'claude-opus-5-5-2026',
  'claude-sonnet-4-5-made-up',
  'claude-opus-5.5',
  'gpt-4o',
  '<synthetic>',
  '',
])('guesses no price for %j', async (model) => {
  expect(await costOf([message(model)])).toBe(null)
})

test('one unknown model makes the whole unknown', async () => {
  expect(await costOf([message('claude-opus-5-5'), message('claude-opus-99')])).toBe(null)
})

test('an hour in the cache and web searches have prices of their own', async () => {
  const plain = (await costOf([message('claude-opus-5-5')])) ?? 0
  const hour = (await costOf([message('claude-opus-5-5', { cacheCreation1hTokens: 100 })])) ?? 0
  const search = (await costOf([message('claude-opus-5-5', { webSearches: 1 })])) ?? 0
  expect(hour - plain).toBeCloseTo((100 * (8 - 5)) / 1e6, 10)
  expect(search - plain).toBeCloseTo(0.01, 10)
})

test('many short messages never reach the price of a long context', async () => {
  const one = (await costOf([message('claude-sonnet-4-5')])) ?? 0
  const many = await costOf(Array.from({ length: 200 }, () => message('claude-sonnet-4-5')))
  expect(many).toBeCloseTo(one * 200, 8)
})
