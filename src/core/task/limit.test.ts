import { expect, test } from 'vitest'
import { familyOfLimit, familyOfModel, resetTimeIn } from './limit.ts'

const NOW = Date.parse('2026-11-20T14:30:00Z')
const at = (text: string) => {
  const time = resetTimeIn(text, NOW)
  return time === null ? null : new Date(time).toISOString()
}

test('a limit of one family of models is told from one of all', () => {
  expect(familyOfLimit('seven_day_opus')).toBe('opus')
  expect(familyOfLimit('seven_day_sonnet')).toBe('sonnet')
  for (const type of ['five_hour', 'seven_day', 'unknown', '', null]) expect(familyOfLimit(type)).toBe(null)
})

test('models by id and by alias belong to their family', () => {
  expect(familyOfModel('claude-opus-5-5')).toBe('opus')
  expect(familyOfModel('sonnet[1m]')).toBe('sonnet')
  expect(familyOfModel('my-own-model')).toBe('other')
})

test('the screen tells the reset to the minute: later today, tomorrow, or on a date', () => {
  expect(at("You've hit your 5-hour limit · resets 3:26pm (UTC)")).toBe('2026-11-20T15:26:00.000Z')
  expect(at('resets 12am (UTC)')).toBe('2026-11-21T00:00:00.000Z')
  expect(at('resets 12:05pm (UTC)')).toBe('2026-11-21T12:05:00.000Z')
  expect(at('resets Nov 24, 10:39am (UTC)')).toBe('2026-11-24T10:39:00.000Z')
  expect(at('resets Jan 2, 1am (UTC)')).toBe('2027-01-02T01:00:00.000Z')
  // A minute is cut off, never rounded up: what has just passed is not tomorrow.
  expect(at('resets 2:29pm (UTC)')).toBe('2026-11-20T14:29:00.000Z')
  for (const text of ['', 'resets soon', 'resets 3:26pm (Europe/Berlin)', 'resets Foo 24, 1am (UTC)'])
    expect(at(text)).toBe(null)
})
