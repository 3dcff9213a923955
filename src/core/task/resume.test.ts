import { expect, test } from 'vitest'
import { isPoisoned, isWorthResuming, type LeftSession, limitJitterMs } from './resume.ts'

const CRASH: LeftSession = {
  outcome: 'failed',
  kind: 'crash',
  resumed: false,
  progressed: true,
  hasTranscript: true,
}
const worth = (more: Partial<LeftSession>) => isWorthResuming({ ...CRASH, ...more })

test('after a crash and after everything that came from outside the session goes on', () => {
  for (const kind of ['crash', 'server', 'network', 'overloaded', 'rate_limit'])
    expect(worth({ kind })).toBe(true)
  for (const kind of ['lost', 'drain', 'usage_limit', 'auth'])
    expect(worth({ kind, outcome: 'released' })).toBe(true)
})

test('there is nothing to go on with: no transcript, or the task is over', () => {
  expect(worth({ hasTranscript: false })).toBe(false)
  for (const outcome of ['succeeded', 'failed_permanent', 'cancelled'] as const)
    expect(worth({ outcome })).toBe(false)
  expect(worth({ kind: 'invalid' })).toBe(false)
})

test('a history that fails again right after the resume is left; one that got further is not', () => {
  expect(worth({ resumed: true, progressed: false })).toBe(false)
  expect(worth({ resumed: true, progressed: true })).toBe(true)
  expect(worth({ kind: 'server', resumed: true, progressed: false })).toBe(false)
  // The network being down says nothing about the history.
  expect(worth({ kind: 'network', resumed: true, progressed: false })).toBe(true)
})

test('a refused request right after a resume is the fault of the history', () => {
  const refused = { kind: 'invalid', resumed: true, progressed: false }
  expect(isPoisoned(refused)).toBe(true)
  expect(isPoisoned({ ...refused, resumed: false })).toBe(false)
  expect(isPoisoned({ ...refused, progressed: true })).toBe(false)
  expect(isPoisoned({ ...refused, kind: 'billing' })).toBe(false)
})

test('tasks of one limit begin apart, but not by much', () => {
  expect(limitJitterMs(20_000, () => 0.999)).toBeLessThanOrEqual(3000)
  expect(limitJitterMs(5 * 3_600_000, () => 0.999)).toBeLessThanOrEqual(30_000)
  expect(limitJitterMs(1000, () => 0)).toBe(0)
})
