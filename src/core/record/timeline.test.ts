import { expect, test } from 'vitest'
import { waitsOf } from './timeline.ts'

const change = (at: number, to: string, attempt = 1, reason = to) => ({ at, to, attempt, reason })

test('a wait lasts from its first change to the first that is none', () => {
  const changes = [
    change(1, 'working'),
    change(2, 'waiting', 1, 'first'),
    change(4, 'waiting', 1, 'its dialog stays'),
    change(7, 'working'),
    change(8, 'waiting', 1, 'second'),
  ]
  expect(waitsOf(changes, 10)).toEqual({
    waits: [
      { startedAt: 2, endedAt: 7, reason: 'first' },
      { startedAt: 8, endedAt: null, reason: 'second' },
    ],
    waitedMs: 7,
  })
})

test('a wait ends where the next attempt begins, also with a wait', () => {
  expect(waitsOf([change(1, 'waiting', 1), change(5, 'waiting', 2), change(6, 'exited', 2)], 9)).toEqual({
    waits: [
      { startedAt: 1, endedAt: 5, reason: 'waiting' },
      { startedAt: 5, endedAt: 6, reason: 'waiting' },
    ],
    waitedMs: 5,
  })
})
