import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { readCron } from './cron-times.ts'

const at = (iso: string) => new Date(iso).getTime()
const iso = (ms: number | null | undefined) => (ms == null ? null : new Date(ms).toISOString())

function times(pattern: string, zone: string, from: string, count: number): (string | null)[] {
  const { nextAfter } = readCron(pattern, zone)
  const found: (string | null)[] = []
  for (let time = nextAfter(at(from)); time !== null && found.length < count; time = nextAfter(time))
    found.push(iso(time))
  return found
}

test('a time is of the zone, also over the change of the clocks', () => {
  expect(times('0 7 * * 1-5', 'Europe/Vienna', '2026-10-22T12:00:00Z', 3)).toEqual([
    '2026-10-23T05:00:00.000Z',
    '2026-10-26T06:00:00.000Z',
    '2026-10-27T06:00:00.000Z',
  ])
})

test('a time in the gap of spring is made up for right after it, once', () => {
  expect(times('30 2 * * *', 'Europe/Vienna', '2026-03-28T12:00:00Z', 2)).toEqual([
    '2026-03-29T01:00:00.000Z',
    '2026-03-30T00:30:00.000Z',
  ])
})

test('a time that comes twice in autumn is taken once; an hourly one both times', () => {
  expect(times('30 2 * * *', 'Europe/Vienna', '2026-10-24T12:00:00Z', 2)).toEqual([
    '2026-10-25T00:30:00.000Z',
    '2026-10-26T01:30:00.000Z',
  ])
  expect(times('0 * * * *', 'Europe/Vienna', '2026-10-24T23:30:00Z', 3)).toEqual([
    '2026-10-25T00:00:00.000Z',
    '2026-10-25T01:00:00.000Z',
    '2026-10-25T02:00:00.000Z',
  ])
})

test('what lies between two moments is what the next times say, to the millisecond', () => {
  const zones = ['Europe/Vienna', 'America/New_York', 'Australia/Lord_Howe', 'UTC']
  const patterns = ['*/5 * * * *', '30 2 * * *', '0 7 * * 1-5', '0 * * * *', '15 1,2,3 * * *']
  // Weeks around the changes of the clocks of all four zones.
  const starts = ['2026-03-05', '2026-03-26', '2026-04-02', '2026-10-01', '2026-10-22', '2026-10-30'].map(
    (day) => at(`${day}T00:00:00Z`),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.constantFrom(...patterns),
      fc.constantFrom(...starts),
      fc.integer({ min: 0, max: 6 * 86_400_000 }),
      fc.integer({ min: 0, max: 4 * 3_600_000 }),
      fc.boolean(),
      (zone, pattern, start, offset, length, onTime) => {
        const cron = readCron(pattern, zone)
        const after = onTime ? (cron.nextAfter(start + offset) ?? 0) : start + offset
        const expected: number[] = []
        for (
          let time = cron.nextAfter(after);
          time !== null && time <= after + length;
          time = cron.nextAfter(time)
        )
          expected.push(time)
        const found = cron.between(after, after + length)
        expect(found).toEqual(
          expected.length === 0 ? null : { newest: expected.at(-1), earlier: expected.length - 1 },
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('a moment counts as passed once it is there', () => {
  const { between } = readCron('0 7 * * *', 'UTC')
  const seven = at('2026-11-20T07:00:00Z')
  expect(between(seven - 1000, seven - 1)).toBeNull()
  expect(between(seven - 1000, seven)).toEqual({ newest: seven, earlier: 0 })
  expect(between(seven, seven + 5000)).toBeNull()
  expect(between(seven - 7 * 86_400_000, seven)).toEqual({ newest: seven, earlier: 6 })
})

test.each([
  ['61 * * * *', 'UTC', 'cannot be read: Invalid value for minute: 61.'],
  ['* * * * * *', 'UTC', 'is not five fields'],
  ['', 'UTC', 'is not five fields'],
  ['2026-12-01T00:00:00', 'UTC', 'is not five fields'],
  ['@reboot', 'UTC', 'cannot be read: @reboot is not supported'],
  ['0 7 * * *', 'Europe/Wien', 'There is no time zone "Europe/Wien"; Europe/Vienna is one.'],
  ['0 7 * * *', '', 'There is no time zone ""'],
])('%j in %j is refused with a sentence', (pattern, zone, sentence) => {
  expect(() => readCron(pattern, zone)).toThrow(sentence)
})

test('times that never come have no next one', () => {
  expect(readCron('0 0 31 2 *', 'UTC').nextAfter(0)).toBeNull()
})
