import { expect, test } from 'vitest'
import { afterLostLease, afterReport } from './lease.ts'

const task = { failures: 0, lostLeases: 0, cancelRequested: false }

test('the third agent failure fails the task, a permanent one at once', () => {
  expect(afterReport(task, 'failed')).toEqual({ status: 'queued', failures: 1, lostLeases: 0 })
  expect(afterReport({ ...task, failures: 2 }, 'failed')).toEqual({
    status: 'failed',
    failures: 3,
    lostLeases: 0,
  })
  expect(afterReport(task, 'failed_permanent').status).toBe('failed')
})

test('the third lost lease makes the task dead', () => {
  expect(afterLostLease(task)).toEqual({ status: 'queued', failures: 0, lostLeases: 1 })
  expect(afterLostLease({ ...task, lostLeases: 2 })).toEqual({ status: 'dead', failures: 0, lostLeases: 3 })
})

test('the two budgets do not add up', () => {
  expect(afterReport({ ...task, lostLeases: 2 }, 'failed').status).toBe('queued')
  expect(afterLostLease({ ...task, failures: 2 }).status).toBe('queued')
})

test('releasing costs neither budget', () => {
  const tired = { failures: 2, lostLeases: 2, cancelRequested: false }
  expect(afterReport(tired, 'released')).toEqual({ status: 'queued', failures: 2, lostLeases: 2 })
})

test('a requested cancel ends what would be tried again, and loses against an end of its own', () => {
  const asked = { ...task, cancelRequested: true }
  expect(afterReport(asked, 'failed').status).toBe('cancelled')
  expect(afterReport(asked, 'released').status).toBe('cancelled')
  expect(afterLostLease(asked).status).toBe('cancelled')
  expect(afterReport(asked, 'cancelled').status).toBe('cancelled')
  expect(afterReport(asked, 'succeeded').status).toBe('succeeded')
  expect(afterReport(asked, 'failed_permanent').status).toBe('failed')
})
