import { expect, test } from 'vitest'
import { createIncidents } from './incidents.ts'
import { createNotes } from './notes.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

const BREAKER = {
  kind: 'breaker' as const,
  key: 'breaker:fleet',
  what: 'It failed.',
  evidence: 'seen',
  action: 'Wait.',
  alert: true,
  taskId: null,
  attempt: null,
  openedAt: 1000,
}

function prepare() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  return {
    incidents: createIncidents(db),
    reopen: () => createIncidents(db),
    notes: createNotes(db),
    [Symbol.dispose]() {
      db.close()
      home[Symbol.dispose]()
    },
  }
}

test('one incident of a key is open at a time, and only its opening makes messages', () => {
  using made = prepare()
  const { incidents } = made
  expect(incidents.open(BREAKER, ['webhook', 'ntfy'])).toMatchObject({ id: 1, closedAt: null })
  expect(incidents.open(BREAKER, ['webhook', 'ntfy'])).toBe(null)
  expect(incidents.dueNotices(1000, 10)).toMatchObject([
    { notifier: 'webhook', phase: 'opened', incident: { id: 1 } },
    { notifier: 'ntfy', phase: 'opened' },
  ])
  expect(incidents.close('breaker:fleet', 3000, null)).toMatchObject({ closedAt: 3000 })
  expect(incidents.close('breaker:fleet', 4000, null)).toBe(null)
  expect(incidents.open(BREAKER, [])).toMatchObject({ id: 2 })
  expect(incidents.list({ limit: 10, open: true }).map(({ id }) => id)).toEqual([2])
})

test('what is no alert is told to nobody', () => {
  using made = prepare()
  made.incidents.open({ ...BREAKER, alert: false }, ['webhook'])
  made.incidents.close('breaker:fleet', 2000, null)
  expect(made.incidents.dueNotices(9000, 10)).toEqual([])
})

test('a clock that was set back keeps back no message that was never tried, nor any for more than a day', () => {
  using made = prepare()
  const { incidents } = made
  const day = 86_400_000
  incidents.open({ ...BREAKER, openedAt: 9 * day }, ['webhook'])
  const due = (at: number) => incidents.dueNotices(at, 10).map(({ id }) => id)
  expect(due(5 * day)).toEqual([1])
  incidents.noticeFailed(1, 'HTTP 500', 10 * day)
  expect(due(9 * day)).toEqual([])
  expect(due(9 * day - 1)).toEqual([1])
})

test('the end is told after the beginning, and only to whom that was told', () => {
  using made = prepare()
  const { incidents } = made
  incidents.open(BREAKER, ['webhook', 'ntfy'])
  incidents.close('breaker:fleet', 2000, 'It works again.')
  const due = incidents.dueNotices(2000, 10)
  expect(due.map(({ phase }) => phase)).toEqual(['opened', 'opened'])
  const [webhook, ntfy] = due
  incidents.noticeDelivered(webhook?.id ?? 0)
  incidents.noticeFailed(ntfy?.id ?? 0, 'HTTP 500', 5000)
  expect(incidents.dueNotices(2000, 10)).toMatchObject([
    { notifier: 'webhook', phase: 'resolved', incident: { action: 'It works again.', closedAt: 2000 } },
  ])
  expect(
    incidents.dueNotices(5000, 10).map(({ notifier, phase, tries }) => [notifier, phase, tries]),
  ).toEqual([
    ['ntfy', 'opened', 1],
    ['webhook', 'resolved', 0],
  ])
})

test('a message that was given up is not sent, and its end is not told either', () => {
  using made = prepare()
  const { incidents } = made
  incidents.open(BREAKER, ['webhook'])
  const [notice] = incidents.dueNotices(1000, 10)
  incidents.noticeFailed(notice?.id ?? 0, 'HTTP 410', null)
  incidents.close('breaker:fleet', 2000, null)
  expect(incidents.dueNotices(9000, 10)).toEqual([])
  expect(incidents.list({ limit: 1, open: false })[0]?.notices).toEqual([
    { notifier: 'webhook', phase: 'opened', state: 'given_up', tries: 1, error: 'HTTP 410' },
  ])
})

test('notes are read as they were written; what is not there or broken is undefined', () => {
  using made = prepare()
  made.notes.write('a', { x: [1] })
  made.notes.write('a', { x: [2] })
  expect(made.notes.read('a')).toEqual({ x: [2] })
  expect(made.notes.read('b')).toBe(undefined)
})
