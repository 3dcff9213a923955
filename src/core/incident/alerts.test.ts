import { expect, test } from 'vitest'
import { alertsOf, type FleetFacts, isFleetAlert } from './alerts.ts'

const RULES = {
  daemonDownMs: 300_000,
  failureRate: 10,
  windowMs: 3_600_000,
  startFailures: 3,
  queueAgeMs: 60_000,
  waitingMs: 60_000,
}
const WELL: FleetFacts = {
  now: 1_000_000,
  ended: 0,
  failed: 0,
  startFailures: 0,
  oldestQueued: null,
  waiting: [],
}
const kinds = (facts: Partial<FleetFacts>) => alertsOf({ ...WELL, ...facts }, RULES).map(({ kind }) => kind)

test('a failure rate is one above its limit over enough attempts', () => {
  expect(kinds({ ended: 100, failed: 10 })).toEqual([])
  expect(kinds({ ended: 100, failed: 11 })).toEqual(['failure_rate'])
  expect(kinds({ ended: 9, failed: 9 })).toEqual([])
})

test('starts that fail, an old queue and a long wait for a person are told, each under its own key', () => {
  const waiting = [
    { taskId: 'a', since: 939_999, reason: 'It asks.' },
    { taskId: 'b', since: 940_000, reason: 'It asks.' },
  ]
  const alerts = alertsOf(
    { ...WELL, startFailures: 3, oldestQueued: { taskId: 'q', since: 939_999 }, waiting },
    RULES,
  )
  expect(alerts.map(({ key }) => key)).toEqual(['start_failures', 'queue_old', 'waiting_long:a'])
  expect(alerts.every(({ key }) => isFleetAlert(key))).toBe(true)
  expect(isFleetAlert('task:a')).toBe(false)
  expect(kinds({ startFailures: 2, oldestQueued: { taskId: 'q', since: 940_000 } })).toEqual([])
})
