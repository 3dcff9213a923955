import { expect, test } from 'vitest'
import { type AgentFacts, alertsOf, type FleetFacts, isOver } from './alerts.ts'

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
  agents: [],
}
const KEYS = ['start_failures', 'queue_old', 'waiting_long:a', 'agent_left:c.1']
const kinds = (facts: Partial<FleetFacts>) => alertsOf({ ...WELL, ...facts }, RULES).map(({ kind }) => kind)

test('a failure rate is one above its limit over enough attempts', () => {
  expect(kinds({ ended: 100, failed: 10 })).toEqual([])
  expect(kinds({ ended: 100, failed: 11 })).toEqual(['failure_rate'])
  expect(kinds({ ended: 9, failed: 9 })).toEqual([])
})

const agent = (taskId: string, more: Partial<AgentFacts>): AgentFacts => ({
  taskId,
  attempt: 1,
  waiting: null,
  left: null,
  ...more,
})

test('starts that fail, an old queue, a long wait for a person and what does not die are told, each under its own key', () => {
  const agents = [
    agent('a', { waiting: { since: 939_999, reason: 'It asks.' } }),
    agent('b', { waiting: { since: 940_000, reason: 'It asks.' } }),
    agent('c', { left: 'These do not die: 7.' }),
  ]
  const alerts = alertsOf(
    { ...WELL, startFailures: 3, oldestQueued: { taskId: 'q', since: 939_999 }, agents },
    RULES,
  )
  expect(alerts.map(({ key }) => key)).toEqual(KEYS)
  expect(kinds({ startFailures: 2, oldestQueued: { taskId: 'q', since: 940_000 } })).toEqual([])
})

test('an alert is over when its fact is, and not where nobody knows', () => {
  const over = (facts: Partial<FleetFacts>, holding: string[] = []) =>
    [...KEYS, 'task:a'].filter((key) => isOver(key, { ...WELL, ...facts }, new Set(holding)))
  expect(over({})).toEqual(KEYS)
  expect(over({}, KEYS)).toEqual([])
  expect(over({ oldestQueued: undefined })).toEqual(KEYS.filter((key) => key !== 'queue_old'))
  // Those of before a restart: not taken back yet, or just being.
  expect(over({ agents: undefined })).toEqual(['start_failures', 'queue_old'])
  expect(over({ agents: [agent('a', { waiting: undefined }), agent('c', {})] })).toEqual([
    'start_failures',
    'queue_old',
  ])
  // The next attempt of its task is another agent.
  expect(over({ agents: [agent('a', {}), agent('c', { attempt: 2 })] })).toEqual(KEYS)
})
