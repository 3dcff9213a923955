import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { Incident, IncidentKind } from '../../core/incident/incident.ts'
import type { Incidents } from '../../store/incidents.ts'

/** What somebody saw go wrong. */
export type News = {
  kind: IncidentKind
  /** At most one incident of a key is open; what is over at once needs none. */
  key?: string
  what: string
  evidence?: string
  action: string
  alert?: boolean
  taskId?: string
  attempt?: number
  /** When it began; now unless told. */
  openedAt?: number
}

/** Writes incidents down, and into the log. No call throws: a full disk must not stop what recovers. */
export type Recorder = {
  /** Opens an incident that lasts. False when one of its key is open already. */
  open: (news: News & { key: string }) => boolean
  /** Closes it; nothing happens when none is open. */
  close: (key: string, action?: string) => void
  /** Something that is over by now: opened and closed in one. */
  note: (news: News) => void
  isOpen: (key: string) => boolean
  /** How many incidents of each kind this daemon has opened. */
  counts: () => Readonly<Partial<Record<IncidentKind, number>>>
}

export function createRecorder(deps: {
  incidents: Incidents
  /** Names of those who are told of alerts. */
  notifiers: readonly string[]
  clock: Clock
  logger: Logger
  /** An alert was opened or closed: its messages are due. */
  nudge: () => void
}): Recorder {
  const { incidents, clock, logger } = deps
  const counts: Partial<Record<IncidentKind, number>> = {}
  let serial = 0

  function guarded<T>(otherwise: T, work: () => T): T {
    try {
      return work()
    } catch (err) {
      logger.error({ err }, 'an incident could not be recorded')
      return otherwise
    }
  }

  function open(news: News & { key: string }): boolean {
    const { kind, key, what, evidence = '', action, alert = false, taskId = null, attempt = null } = news
    const openedAt = news.openedAt ?? clock()
    const fields = { kind, key, what, evidence, action, alert, taskId, attempt, openedAt }
    const opened = incidents.open(fields, deps.notifiers)
    if (opened === null) return false
    counts[kind] = (counts[kind] ?? 0) + 1
    tell(opened, 'an incident')
    if (alert) deps.nudge()
    return true
  }

  function close(key: string, action: string | undefined, at: number): void {
    const closed = incidents.close(key, at, action ?? null)
    if (closed === null) return
    tell(closed, 'an incident is over')
    if (closed.alert) deps.nudge()
  }

  function tell({ kind, what, taskId, attempt, openedAt, closedAt }: Incident, message: string): void {
    const lasted = closedAt === null ? {} : { durationMs: closedAt - openedAt }
    const task = taskId === null ? {} : { taskId, ...(attempt === null ? {} : { attempt }) }
    logger.warn({ code: kind.toUpperCase(), ...task, ...lasted, err: { message: what } }, message)
  }

  return {
    open: (news) => guarded(false, () => open(news)),
    close: (key, action) => guarded(undefined, () => close(key, action, clock())),
    note: (news) =>
      guarded(undefined, () => {
        const key = news.key ?? `${news.kind}:${clock()}:${serial++}`
        if (open({ ...news, key })) close(key, undefined, clock())
      }),
    isOpen: (key) => guarded(false, () => incidents.openOne(key) !== null),
    counts: () => ({ ...counts }),
  }
}
