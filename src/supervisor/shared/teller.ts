import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { MetricsMinute, SharedIncident, TaskEvent } from '../../core/task/worker.ts'
import type { Notes } from '../../store/notes.ts'
import type { SharedLog, ToldIncidents } from '../../store/shared-log.ts'
import type { StartPulse } from '../loops/beats.ts'
import { watchLoop } from '../loops/patience.ts'
import { isAway } from './away.ts'

/** Tells a shared queue what happened here: changes of states, summaries, incidents, and numbers of each minute. */
export type Teller = { nudge: () => void; close: () => Promise<void> }

/** How far each table was told. */
type Told = ToldIncidents & { state: number; summary: number }

const BATCH = 200
const MINUTE_MS = 60_000
const PRUNE_MS = 3_600_000

/**
 * In the order it happened, from where it stopped: the local tables wait while the queue is away, and how far it was
 * told is noted after each answer. What is told again after a crash is stored once.
 */
export function createTeller(options: {
  log: SharedLog
  notes: Notes
  remote: {
    putEvents: (events: readonly TaskEvent[]) => Promise<void>
    putMetrics: (minutes: readonly MetricsMinute[]) => Promise<void>
    putIncidents: (incidents: readonly SharedIncident[]) => Promise<void>
    prune: (olderThanMs: number) => Promise<void>
  }
  running: () => number
  queued: () => Promise<number>
  /** How long numbers are kept there. */
  keepMs: number
  everyMs: number
  clock: Clock
  logger: Logger
  pulse?: StartPulse
}): Teller {
  const { log, notes, clock, logger } = options
  const loop = watchLoop(options.remote, options.pulse, true)
  const remote = loop.api
  let told: Told = { ...log.newest(), open: [], ...readTold(notes) }
  let running: Promise<void> = Promise.resolve()
  let wanted = false
  let closed = false
  let prunedAt = 0
  /** As the queue said last. */
  let queued = 0
  const timer = setInterval(() => {
    noteMinute()
    nudge()
  }, options.everyMs)
  notes.write('told', told)
  noteMinute()
  const pulse = loop.watched.pulse?.('teller', () => running)

  async function tell(): Promise<void> {
    queued = await loop.during(options.queued()).catch(() => queued)
    noteMinute()
    for (;;) {
      const { events, last } = log.statesAfter(told.state, BATCH)
      await remote.putEvents(events)
      move({ ...told, state: last })
      if (closed || events.length < BATCH) break
    }
    for (;;) {
      const { events, last } = log.summariesAfter(told.summary, BATCH)
      await remote.putEvents(events)
      move({ ...told, summary: last })
      if (closed || events.length < BATCH) break
    }
    for (;;) {
      const { incidents, told: next } = log.incidentsAfter(told, BATCH)
      await remote.putIncidents(incidents)
      move({ ...told, ...next })
      if (closed || incidents.length < BATCH) break
    }
    for (;;) {
      const minutes = log.minutes(clock(), BATCH)
      await remote.putMetrics(minutes)
      const last = minutes.at(-1)
      if (last === undefined) break
      log.forgetMinutes(last.minute)
      if (closed || minutes.length < BATCH) break
    }
    if (clock() - prunedAt < PRUNE_MS) return
    prunedAt = clock()
    await remote.prune(options.keepMs)
  }

  function move(to: Told): void {
    if (isDeepStrictEqual(to, told)) return
    told = to
    notes.write('told', told)
  }

  /** By the timer, too: what ended in a minute is told with it, and a call to a queue that is away takes minutes. */
  function noteMinute(): void {
    const minute = Math.floor(clock() / MINUTE_MS) * MINUTE_MS
    try {
      log.noteMinute(minute, options.running(), queued)
    } catch (err) {
      logger.warn({ err }, 'what is known of this minute could not be noted')
    }
  }

  function nudge(): void {
    if (wanted || closed) return
    wanted = true
    running = running.then(async () => {
      wanted = false
      await tell().catch((err: unknown) => {
        if (!isAway(err)) logger.warn({ err }, 'the queue could not be told what happened; it is tried again')
      })
    })
  }

  return {
    nudge,
    async close() {
      nudge()
      closed = true
      pulse?.close()
      clearInterval(timer)
      await running
    },
  }
}

/** What an older ccm noted says nothing of incidents. */
function readTold(notes: Notes): Partial<Told> {
  const noted = notes.read('told')
  return typeof noted === 'object' && noted !== null ? noted : {}
}
