import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { Notice, Notifier, Sent } from '../../src/core/incident/incident.ts'
import { createIncidents } from '../../src/store/incidents.ts'
import { createNotes } from '../../src/store/notes.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createAlertWatch } from '../../src/supervisor/incidents/alerts.ts'
import { createNoticeDelivery } from '../../src/supervisor/incidents/notices.ts'
import { createRecorder } from '../../src/supervisor/incidents/recorder.ts'

const logger = pino({ level: 'silent' })
const WELL = {
  now: 1_000_000,
  ended: 0,
  failed: 0,
  startFailures: 0,
  oldestQueued: null,
  agents: [],
}
const RULES = {
  daemonDownMs: 300_000,
  failureRate: 10,
  windowMs: 3_600_000,
  startFailures: 3,
  queueAgeMs: 60_000,
  waitingMs: 60_000,
}

/** Incidents on a real database, told to one notifier that answers with `answer`. */
function prepare(answer: (count: number, notice: Notice) => Sent | Promise<Sent>) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  const incidents = createIncidents(db)
  const told: string[] = []
  let now = 1_000_000
  const clock = () => now
  const notifier: Notifier = {
    name: 'phone',
    async send(notice) {
      told.push(`${notice.phase} ${notice.incident.what}`)
      return answer(told.length, notice)
    },
  }
  const make = (notifiers: Notifier[] = [notifier]) => {
    const recorder = createRecorder({
      incidents,
      notifiers: notifiers.map(({ name }) => name),
      clock,
      logger,
      nudge: () => delivery.nudge(),
    })
    const delivery = createNoticeDelivery({
      incidents,
      notifiers,
      recorder: () => recorder,
      clock,
      random: () => 0.5,
      logger,
    })
    return { recorder, delivery }
  }
  return {
    incidents,
    notes: createNotes(db),
    told,
    clock,
    make,
    /** As on a full disk: nothing can be noted of messages until it is called. */
    unwritable() {
      const raise = "SELECT RAISE(ABORT, 'unwritable')"
      db.prepare(`CREATE TRIGGER unwritable BEFORE UPDATE ON notices BEGIN ${raise}; END`).run({})
      return () => void db.prepare('DROP TRIGGER unwritable').run({})
    },
    pass: (ms: number) => void (now += ms),
    async [Symbol.asyncDispose]() {
      db.close()
      home[Symbol.dispose]()
    },
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 20))
const QUEUE = { key: 'queue_old', kind: 'queue_old', what: 'Old.', action: 'Look.', alert: true } as const

test('an alert is told once, however often it is seen, and its end once', async () => {
  await using made = prepare(() => 'sent')
  const { recorder, delivery } = made.make()
  expect([recorder.open(QUEUE), recorder.open(QUEUE), recorder.open(QUEUE)]).toEqual([true, false, false])
  await settled()
  recorder.close('queue_old')
  recorder.close('queue_old')
  await settled()
  expect(made.told).toEqual(['opened Old.', 'resolved Old.'])
  expect(recorder.counts()).toEqual({ queue_old: 1 })
  await delivery.close()
})

test('what was not confirmed is tried again with backoff, also by the next daemon', async () => {
  await using made = prepare((count) => (count < 3 ? { failed: 'HTTP 500', retryAfterMs: null } : 'sent'))
  const first = made.make()
  first.recorder.open(QUEUE)
  await settled()
  first.delivery.nudge()
  await settled()
  expect(made.told).toHaveLength(1)
  made.pass(5000)
  first.delivery.nudge()
  await settled()
  expect(made.told).toHaveLength(2)
  await first.delivery.close()
  made.pass(10_000)
  const second = made.make()
  await settled()
  expect(made.told).toHaveLength(3)
  expect(made.incidents.list({ limit: 1, open: false })[0]?.notices).toMatchObject([
    { notifier: 'phone', state: 'delivered', tries: 3, error: null },
  ])
  await second.delivery.close()
})

test('an alert that was sent is sent once also while that cannot be stored', async () => {
  await using made = prepare(() => 'sent')
  const { recorder, delivery } = made.make()
  const writable = made.unwritable()
  recorder.open(QUEUE)
  await settled()
  for (let look = 0; look < 3; look++) {
    made.pass(5000)
    delivery.nudge()
    await settled()
  }
  expect(made.told).toEqual(['opened Old.'])
  writable()
  recorder.close('queue_old')
  await settled()
  expect(made.told).toEqual(['opened Old.', 'resolved Old.'])
  expect(made.incidents.list({ limit: 1, open: false })[0]?.notices).toMatchObject([
    { phase: 'opened', state: 'delivered', tries: 1 },
    { phase: 'resolved', state: 'delivered', tries: 1 },
  ])
  await delivery.close()
})

test('what was not confirmed waits longer each time also while that cannot be stored', async () => {
  await using made = prepare((count) => (count < 3 ? { failed: 'HTTP 500', retryAfterMs: null } : 'sent'))
  const { recorder, delivery } = made.make()
  const writable = made.unwritable()
  recorder.open(QUEUE)
  const sent: number[] = []
  for (let look = 0; look < 8; look++) {
    await settled()
    sent.push(made.told.length)
    made.pass(2500)
    delivery.nudge()
  }
  expect(sent).toEqual([1, 1, 2, 2, 2, 2, 3, 3])
  writable()
  delivery.nudge()
  expect(made.incidents.list({ limit: 1, open: false })[0]?.notices).toMatchObject([{ state: 'delivered' }])
  await delivery.close()
})

test('a receiver that asks for patience gets it', async () => {
  await using made = prepare(() => ({ failed: 'HTTP 429', retryAfterMs: 600_000 }))
  const { recorder, delivery } = made.make()
  recorder.open(QUEUE)
  await settled()
  made.pass(599_000)
  delivery.nudge()
  await settled()
  expect(made.told).toHaveLength(1)
  made.pass(1000)
  delivery.nudge()
  await settled()
  expect(made.told).toHaveLength(2)
  await delivery.close()
})

test('what cannot be delivered is given up in the end, and that is an incident itself', async () => {
  await using made = prepare(() => ({ failed: 'HTTP 500', retryAfterMs: null }))
  const { recorder, delivery } = made.make()
  recorder.open(QUEUE)
  for (let tries = 0; tries < 25; tries++) {
    await settled()
    made.pass(3_600_000)
    delivery.nudge()
  }
  await settled()
  expect(made.told).toHaveLength(20)
  expect(made.incidents.list({ limit: 10, open: false })).toMatchObject([
    { kind: 'notice_lost', alert: false, evidence: expect.stringContaining('HTTP 500') },
    { kind: 'queue_old', notices: [{ state: 'given_up', tries: 20 }] },
  ])
  await delivery.close()
})

test('a fleet alert opens and closes with its fact', async () => {
  await using made = prepare(() => 'sent')
  const { recorder, delivery } = made.make()
  const facts = { ...WELL, ended: 20, failed: 19 }
  const watch = createAlertWatch({
    rules: RULES,
    incidents: made.incidents,
    recorder,
    notes: made.notes,
    facts: async () => facts,
    tasks: async () => undefined,
    clock: made.clock,
    logger,
  })
  await watch.look()
  await watch.look()
  facts.failed = 0
  await watch.look()
  await settled()
  expect(made.told.map((line) => line.split(' ')[0])).toEqual(['opened', 'resolved'])
  await watch.close(false)
  await delivery.close()
})

test('a daemon that was away too long says so; one that a person stopped does not', async () => {
  await using made = prepare(() => 'sent')
  const run = async (onPurpose: boolean) => {
    const { recorder, delivery } = made.make()
    const watch = createAlertWatch({
      rules: RULES,
      incidents: made.incidents,
      recorder,
      notes: made.notes,
      facts: async () => WELL,
      tasks: async () => undefined,
      clock: made.clock,
      logger,
    })
    await watch.close(onPurpose)
    await settled()
    await delivery.close()
    return made.incidents.list({ limit: 9, open: false }).length
  }
  expect(await run(true)).toBe(0)
  made.pass(400_000)
  expect(await run(false)).toBe(0)
  made.pass(300_000)
  expect(await run(false)).toBe(0)
  made.pass(300_001)
  expect(await run(false)).toBe(1)
  expect(made.incidents.list({ limit: 1, open: false })).toMatchObject([
    { kind: 'daemon_down', what: 'The daemon did not run for 5 min.', alert: true },
  ])
})
