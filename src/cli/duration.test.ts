import { expect, test } from 'vitest'
import { readSeconds, showDuration, showElapsed } from './duration.ts'

test.each([
  ['90s', 90],
  ['30m', 1800],
  ['1h30m', 5400],
  ['7d', 604_800],
  ['30', null],
  ['', null],
  ['1.5h', null],
  ['-5m', null],
  ['99999999999999999999d', null],
])('%j is %j seconds', (text, seconds) => {
  expect(readSeconds(text)).toBe(seconds)
})

test.each([
  [0, '0 ms'],
  [840, '840 ms'],
  [1040, '1.0 s'],
  [59_400, '59 s'],
  [59_600, '1m 00s'],
  [185_000, '3m 05s'],
  [3_599_700, '1h 00m'],
  [7_620_000, '2h 07m'],
])('%i ms reads %j', (ms, text) => {
  expect(showDuration(ms)).toBe(text)
})

test('a running clock has whole seconds', () => {
  expect([0, 7900, 754_000, 7_620_000].map(showElapsed)).toEqual(['0:00', '0:07', '12:34', '2:07:00'])
})
