import { expect, test } from 'vitest'
import { addUsage, type MessageUsage, NO_USAGE, totalUsage, usageByModel } from './usage.ts'

const usage = (input: number, output: number, read: number, created: number) => ({
  input_tokens: input,
  output_tokens: output,
  cache_read_input_tokens: read,
  cache_creation_input_tokens: created,
})
const message = (model: string, tokens: MessageUsage['usage']): MessageUsage => ({
  id: 'msg',
  model,
  usage: tokens,
  cacheCreation1hTokens: 0,
  webSearches: 0,
})

test('adds each count to its own', () => {
  expect(addUsage(usage(1, 2, 3, 4), usage(10, 20, 30, 40))).toEqual(usage(11, 22, 33, 44))
})

test('keeps models apart, whatever their ids are', () => {
  const byModel = usageByModel([
    message('a', usage(1, 1, 1, 1)),
    message('__proto__', usage(5, 5, 5, 5)),
    message('a', usage(2, 2, 2, 2)),
  ])
  expect(Object.entries(byModel)).toEqual([
    ['a', usage(3, 3, 3, 3)],
    ['__proto__', usage(5, 5, 5, 5)],
  ])
  expect(totalUsage(byModel)).toEqual(usage(8, 8, 8, 8))
})

test('nothing used is zero', () => {
  expect(usageByModel([])).toEqual({})
  expect(totalUsage({})).toEqual(NO_USAGE)
})
