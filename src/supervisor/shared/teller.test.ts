import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { MetricsMinute } from '../../core/task/worker.ts'
import { createNotes } from '../../store/notes.ts'
import { createSharedLog } from '../../store/shared-log.ts'
import { createSpending } from '../../store/spending.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createTeller } from './teller.ts'

const NOON = Date.UTC(2026, 0, 1, 12)
const MINUTE_MS = 60_000

/** A teller at noon, on a queue whose answers may be held back. */
function open(file: string) {
  const db = openForTest(file, Date.now)
  const log = createSharedLog(db)
  const spending = createSpending(db)
  const world = { now: NOON, queued: 7, running: 3, held: Promise.resolve() }
  const told: MetricsMinute[] = []
  const answer = async () => world.held
  const teller = createTeller({
    log,
    notes: createNotes(db),
    remote: {
      putEvents: answer,
      putMetrics: async (minutes) => void told.push(...minutes),
      putIncidents: answer,
      prune: answer,
    },
    running: () => world.running,
    queued: async () => world.queued,
    keepMs: 86_400_000,
    everyMs: 5,
    clock: () => world.now,
    logger: pino({ level: 'silent' }),
  })
  /** A message of this many tokens is seen now; again: it has grown. */
  const spend = (id: string, tokens: number) => {
    const usage = {
      input_tokens: 0,
      output_tokens: tokens,
      cache_read_input_tokens: 0,
      cache_creation_input_tokens: 0,
    }
    spending.record('t', 'app', [{ id, model: 'm', usage, costUsd: 0, at: world.now }])
  }
  const noted = () => log.minutes(Infinity, 99)
  return { world, teller, told, spend, noted }
}

test('what happened in minutes in which the queue answered nothing is told when it does', async () => {
  using home = temporaryHome()
  const { world, teller, told, spend, noted } = open(home.file)
  const { promise, resolve } = Promise.withResolvers<void>()
  world.held = promise
  spend('a', 1)
  for (const minute of [1, 2]) {
    world.now = NOON + minute * MINUTE_MS
    spend(`m${minute}`, 10 * minute)
    await expect.poll(noted).toHaveLength(minute + 1)
  }
  world.now += 3 * MINUTE_MS
  resolve()
  await expect.poll(() => told.map(({ outputTokens }) => outputTokens)).toEqual([1, 10, 20])
  await teller.close()
})

test('a minute is told as it was at the last look, with all of what was only begun when it ended', async () => {
  using home = temporaryHome()
  const { world, teller, told, spend, noted } = open(home.file)
  await expect.poll(noted).toMatchObject([{ running: 3, queued: 7 }])
  Object.assign(world, { now: NOON + 59_000, queued: 2, running: 1 })
  spend('a', 1)
  await expect.poll(noted).toMatchObject([{ running: 1, queued: 2 }])
  world.now = NOON + MINUTE_MS + 20_000
  await expect.poll(noted).toHaveLength(2)
  spend('a', 100)
  world.now = NOON + 2 * MINUTE_MS
  await expect.poll(() => told).toMatchObject([{ minute: NOON, running: 1, queued: 2, outputTokens: 100 }])
  await teller.close()
})

test('what the queue did not take is told again, also by the next daemon, and what it took is not', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file, Date.now)
  const told: string[] = []
  let minutes = [{ minute: 1 }]
  const put = async (names: unknown[]) => void told.push(...names.map(String))
  const log = {
    statesAfter: (id: number) => ({ events: id < 1 ? ['state'] : [], last: 1 }),
    summariesAfter: (id: number) => ({ events: id < 1 ? ['summary'] : [], last: 1 }),
    incidentsAfter: ({ incident }: { incident: number }) => ({
      incidents: incident < 1 ? ['incident'] : [],
      told: { incident: 1, open: [] },
    }),
    newest: () => ({ state: 0, summary: 0, incident: 0 }),
    noteMinute: () => undefined,
    minutes: () => minutes,
    forgetMinutes: () => void (minutes = []),
  }
  const remote = {
    putEvents: put,
    putIncidents: put,
    putMetrics: (some: unknown[]) => put(some.map(() => 'minute')),
    prune: async () => undefined,
  }
  const next = () =>
    createTeller({
      log,
      notes: createNotes(db),
      remote,
      running: () => 0,
      queued: async () => 0,
      keepMs: 1,
      everyMs: 60_000,
      clock: () => NOON,
      logger: pino({ level: 'silent' }),
    } as unknown as Parameters<typeof createTeller>[0])
  for (const part of ['putEvents', 'putIncidents', 'putMetrics'] as const) {
    const works = remote[part]
    remote[part] = async () => {
      throw new Error('away')
    }
    await next().close()
    remote[part] = works
  }
  for (let time = 0; time < 2; time++) await next().close()
  expect(told.toSorted()).toEqual(['incident', 'minute', 'state', 'summary'])
  db.close()
})
