import { expect, test } from 'vitest'
import { readPastTime, readTime } from './time.ts'

const NOW = new Date(2026, 10, 20, 12, 0, 0).getTime()

test('a duration counts from now', () => {
  expect(readTime('90s', NOW)).toBe(NOW + 90_000)
  expect(readTime('1h30m', NOW)).toBe(NOW + 5_400_000)
})

test('a time of day is the next one', () => {
  expect(readTime('12:01', NOW)).toBe(NOW + 60_000)
  expect(readTime('12:00', NOW)).toBe(new Date(2026, 10, 21, 12, 0).getTime())
  expect(readTime('7:30', NOW)).toBe(new Date(2026, 10, 21, 7, 30).getTime())
})

test('a date and time are those of this machine, unless a zone says otherwise', () => {
  expect(readTime('2030-01-31 07:30', NOW)).toBe(new Date(2030, 0, 31, 7, 30).getTime())
  expect(readTime('2030-01-31', NOW)).toBe(new Date(2030, 0, 31).getTime())
  expect(readTime('2030-01-31T07:30:00Z', NOW)).toBe(Date.UTC(2030, 0, 31, 7, 30))
  expect(readTime('2030-01-31T07:30+02:00', NOW)).toBe(Date.UTC(2030, 0, 31, 5, 30))
})

test('a time that has passed is still a time', () => {
  expect(readTime('2020-01-01T00:00Z', NOW)).toBe(Date.UTC(2020, 0, 1))
})

test.each(['', 'soon', '24:00', '12:60', '2030-02-31', '2030-13-01', '2030-01-31T25:00', '5', '-1h', '2030'])(
  '%o is no time',
  (text) => {
    expect(readTime(text, NOW)).toBeNull()
  },
)

test('what looks back takes a duration ago, the last time of day, and a date of this machine', () => {
  expect(readPastTime('1h30m', NOW)).toBe(NOW - 5_400_000)
  expect(readPastTime('11:59', NOW)).toBe(NOW - 60_000)
  expect(readPastTime('12:00', NOW)).toBe(NOW)
  expect(readPastTime('12:01', NOW)).toBe(new Date(2026, 10, 19, 12, 1).getTime())
  expect(readPastTime('2026-11-20', NOW)).toBe(new Date(2026, 10, 20).getTime())
  expect(readPastTime('2030-01-31', NOW)).toBe(new Date(2030, 0, 31).getTime())
})

test.each(['', '5', 'last 5', '2026-02-31', '30 m', 'yesterday'])('looking back, %o is no time', (text) => {
  expect(readPastTime(text, NOW)).toBeNull()
})
