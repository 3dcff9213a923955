import { expect, test } from 'vitest'
import { backoffMs } from './backoff.ts'

test('the wait doubles from five seconds', () => {
  expect([0, 1, 2, 3].map((tries) => backoffMs(tries, () => 0.5))).toEqual([5_000, 10_000, 20_000, 40_000])
})

test('the wait is spread by a quarter to both sides', () => {
  expect(backoffMs(0, () => 0)).toBe(3_750)
  expect(backoffMs(0, () => 0.999_999)).toBe(6_250)
})

test('the wait is never longer than an hour', () => {
  expect(backoffMs(10, () => 1)).toBe(3_600_000)
  expect(backoffMs(5_000, () => 0.5)).toBe(3_600_000)
})
