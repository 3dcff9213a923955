import { expect, test } from 'vitest'
import { createRateLimit } from './rate-limit.ts'

test('a caller may make ten seconds of requests at once, then as many as are refilled, and others are not touched', () => {
  let now = 1000
  const { take } = createRateLimit(5, () => now)
  for (let count = 0; count < 50; count++) expect(take('a')).toBe(0)
  expect(take('a')).toBe(200)
  expect(take('b')).toBe(0)
  now += 200
  expect(take('a')).toBe(0)
  expect(take('a')).toBe(200)
  now += 3_600_000
  for (let count = 0; count < 50; count++) expect(take('a')).toBe(0)
  expect(take('a')).toBeGreaterThan(0)
})

test('a clock that is set back locks nobody out', () => {
  let now = 1_000_000
  const { take } = createRateLimit(5, () => now)
  for (let count = 0; count < 50; count++) take('a')
  now = 0
  expect(take('a')).toBe(200)
  now = 200
  expect(take('a')).toBe(0)
})

test('callers without end take no memory without end, and a busy one is not forgotten', () => {
  const { take } = createRateLimit(1, () => 0)
  for (const caller of ['busy', 'quiet']) for (let count = 0; count < 10; count++) take(caller)
  expect(take('quiet')).toBe(1000)
  const waits: number[] = []
  for (let count = 0; count < 30_000; count++) {
    take(`caller-${count}`)
    if (count % 5000 === 0) waits.push(take('busy'))
  }
  expect(waits).toEqual([1000, 1000, 1000, 1000, 1000, 1000])
  expect(take('quiet')).toBe(0)
})
