import type { Logger } from 'pino'
import { backoffMs } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import type { Notice, Notifier } from '../../core/incident/incident.ts'
import type { Incidents } from '../../store/incidents.ts'
import type { Recorder } from './recorder.ts'

/** Brings the messages about alerts to their receivers, each until it is confirmed or given up. */
export type NoticeDelivery = { nudge: () => void; close: () => Promise<void> }

/** One try; a receiver that is slower is tried again. */
const SEND_MS = 15_000
/** With the backoff of 5 s to 1 h that is about half a day. */
const TRIES_MAX = 20
/** How often due messages are looked for without a nudge. */
const LOOK_MS = 5000

/**
 * Each message is sent at least once: a daemon killed between the receiver's confirmation and the note of it sends
 * it again, under the same id. Receivers do not wait for each other.
 */
export function createNoticeDelivery(deps: {
  incidents: Incidents
  notifiers: readonly Notifier[]
  recorder: () => Recorder
  clock: Clock
  random: () => number
  logger: Logger
}): NoticeDelivery {
  const { incidents, clock, logger } = deps
  const leave = new AbortController()
  const busy = new Map<string, Promise<void>>()
  /** What came of messages and is not stored yet: in the database they are due, but they wait until `nextAt`. */
  const unstored = new Map<number, { tries: number; nextAt: number; write: () => void }>()
  const timer = setInterval(nudge, LOOK_MS)

  function nudge(): void {
    if (leave.signal.aborted) return
    store()
    try {
      for (const name of new Set(due().map(({ notifier }) => notifier))) {
        if (!busy.has(name))
          busy.set(
            name,
            deliver(name).finally(() => busy.delete(name)),
          )
      }
    } catch (err) {
      logger.error({ err }, 'due alerts could not be read')
    }
  }

  function due(): ReturnType<Incidents['dueNotices']> {
    const now = clock()
    return incidents.dueNotices(now, 1000).filter(({ id }) => (unstored.get(id)?.nextAt ?? 0) <= now)
  }

  /** On a full disk an alert must not be sent at each look: only the note of it is tried again. */
  function store(): void {
    try {
      for (const [id, { write }] of unstored) {
        write()
        unstored.delete(id)
      }
    } catch (err) {
      logger.error({ err }, 'what came of an alert could not be stored; it is tried again')
    }
  }

  /** `nextAt` null: it is not sent again. */
  function settle(id: number, tries: number, nextAt: number | null, write: () => void): void {
    unstored.set(id, { tries, nextAt: nextAt ?? Infinity, write })
    store()
  }

  async function deliver(name: string): Promise<void> {
    const notifier = deps.notifiers.find((candidate) => candidate.name === name)
    try {
      for (;;) {
        const notice = due().find((one) => one.notifier === name)
        if (notice === undefined || leave.signal.aborted) return
        if (notifier === undefined) {
          const why = 'It is not configured any more.'
          settle(notice.id, notice.tries, null, () => incidents.noticeFailed(notice.id, why, null))
          continue
        }
        const signal = AbortSignal.any([leave.signal, AbortSignal.timeout(SEND_MS)])
        const sent = await notifier.send(notice, signal)
        // Ended by us in the middle: the next daemon tries again, at no cost.
        if (leave.signal.aborted && sent !== 'sent') return
        if (sent === 'sent') settle(notice.id, notice.tries, null, () => incidents.noticeDelivered(notice.id))
        else fail(name, notice, sent)
      }
    } catch (err) {
      logger.error({ err }, 'an alert could not be sent')
    }
  }

  function fail(
    name: string,
    { id, tries: stored, incident, phase }: Notice,
    { failed, retryAfterMs }: { failed: string; retryAfterMs: number | null },
  ): void {
    const tries = unstored.get(id)?.tries ?? stored
    const over = tries + 1 >= TRIES_MAX
    const waitMs = Math.max(backoffMs(tries, deps.random), retryAfterMs ?? 0)
    const nextAt = over ? null : clock() + waitMs
    settle(id, tries + 1, nextAt, () => incidents.noticeFailed(id, failed, nextAt))
    logger.warn(
      { code: 'ALERT_NOT_SENT', err: { message: `${name}: ${failed}` } },
      'an alert was not delivered',
    )
    if (!over) return
    deps.recorder().note({
      kind: 'notice_lost',
      what: `An alert could not be delivered by ${name}.`,
      evidence: `${failed} It was (${phase}): ${incident.what}`,
      action: 'It was given up. Look at [alerts] in the configuration.',
    })
  }

  nudge()
  return {
    nudge,
    async close() {
      clearInterval(timer)
      leave.abort()
      await Promise.all(busy.values())
    },
  }
}
