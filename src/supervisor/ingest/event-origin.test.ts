import pino from 'pino'
import { expect, test } from 'vitest'
import { createOriginCheck } from './event-origin.ts'

const check = () =>
  createOriginCheck({ taskId: 't', sessions: new Set(['own']), logger: pino({ level: 'silent' }) })
const event = (name: string, session: string, more: object = {}) => ({
  hook_event_name: name,
  session_id: session,
  ...more,
})

test('a session that a person cleared goes on under another id, though one of the two notices is lost', () => {
  const both = check()
  expect(both(event('SessionEnd', 'own', { reason: 'clear' }))).toBe(null)
  expect(both(event('SessionStart', 'next', { source: 'clear' }))).toBe(null)
  expect(both(event('Stop', 'next'))).toBe(null)
  // Only the next one.
  expect(both(event('Stop', 'other'))).toBe('foreign-session')

  const noStart = check()
  expect(noStart(event('SessionEnd', 'own', { reason: 'clear' }))).toBe(null)
  expect(noStart(event('UserPromptSubmit', 'next'))).toBe(null)
  expect(noStart(event('Stop', 'next'))).toBe(null)
  expect(noStart(event('Stop', 'other'))).toBe('foreign-session')

  const noEnd = check()
  expect(noEnd(event('SessionStart', 'next', { source: 'clear' }))).toBe(null)
  expect(noEnd(event('Stop', 'next'))).toBe(null)
})

test('another session stays another while the own one goes on, and after it ended for good', () => {
  const told = check()
  expect(told(event('Stop', 'other'))).toBe('foreign-session')
  expect(told(event('SessionStart', 'other', { source: 'startup' }))).toBe('foreign-session')
  expect(told(event('SessionEnd', 'own', { reason: 'other' }))).toBe(null)
  expect(told(event('UserPromptSubmit', 'other'))).toBe('foreign-session')
})
