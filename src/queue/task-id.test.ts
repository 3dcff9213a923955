import { expect, test } from 'vitest'
import { nextTaskId } from './task-id.ts'

const NOW = Date.UTC(2026, 10, 20)

test('an id is twelve lower-case characters that are safe in branch names', () => {
  expect(nextTaskId(NOW, () => 0.123, null)).toMatch(/^[0-9a-hjkmnp-tv-z]{12}$/)
  expect(nextTaskId(1, () => 0, null)).toHaveLength(12)
})

test('ids sort by the time they were made at', () => {
  const times = [NOW, NOW + 1, NOW + 1_000, NOW + 86_400_000, NOW + 50 * 365 * 86_400_000]
  const ids = times.map((now, index) => nextTaskId(now, () => 1 - index / 5 - 0.01, null))
  expect([...ids].sort()).toEqual(ids)
})

test('ids stay unique and in order when the clock stands still or goes back', () => {
  const ids: string[] = []
  for (let count = 0; count < 2_000; count += 1) {
    ids.push(nextTaskId(NOW - count, () => 0.999_99, ids.at(-1) ?? null))
  }
  expect([...ids].sort()).toEqual(ids)
  expect(new Set(ids).size).toBe(2_000)
})
