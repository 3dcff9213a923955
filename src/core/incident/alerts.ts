import type { IncidentKind } from './incident.ts'

/** When people are told. Durations are milliseconds, the rate is in percent. */
export type AlertRules = {
  daemonDownMs: number
  failureRate: number
  /** The window of `failureRate` and `startFailures`. */
  windowMs: number
  startFailures: number
  queueAgeMs: number
  waitingMs: number
}

/** What is known of the fleet now. Times are milliseconds since 1970. */
export type FleetFacts = {
  now: number
  /** Attempts that ended within the window. */
  ended: number
  failed: number
  startFailures: number
  /** Since when the longest waiting task could have been started; null: none could. */
  oldestQueued: { taskId: string; since: number } | null
  /** Agents that wait for a person. */
  waiting: { taskId: string; since: number; reason: string }[]
}

/** Something that people are told as long as it lasts. */
export type Alert = {
  key: string
  kind: IncidentKind
  what: string
  evidence: string
  action: string
  taskId?: string
}

/** Fewer attempts than this are no rate. */
const RATE_LEAST = 10

/** Every alert that holds now; the same fact always has the same key. */
export function alertsOf(facts: FleetFacts, rules: AlertRules): Alert[] {
  const { now, ended, failed, startFailures, oldestQueued, waiting } = facts
  const minutes = (ms: number) => `${Math.round(ms / 60_000)} min`
  const alerts: Alert[] = []
  const rate = ended === 0 ? 0 : (failed / ended) * 100
  if (ended >= RATE_LEAST && rate > rules.failureRate) {
    alerts.push({
      key: 'failure_rate',
      kind: 'failure_rate',
      what: `More than ${rules.failureRate} % of the attempts fail.`,
      evidence: `${failed} of ${ended} attempts within ${minutes(rules.windowMs)} failed (${rate.toFixed(0)} %).`,
      action: 'See: ccm tasks --status failed',
    })
  }
  if (startFailures >= rules.startFailures) {
    alerts.push({
      key: 'start_failures',
      kind: 'start_failures',
      what: 'Agents cannot be started.',
      evidence: `${startFailures} starts within ${minutes(rules.windowMs)} failed.`,
      action: 'See: ccm incidents, and ccm status',
    })
  }
  if (oldestQueued !== null && now - oldestQueued.since > rules.queueAgeMs) {
    alerts.push({
      key: 'queue_old',
      kind: 'queue_old',
      what: `A task has waited in the queue for more than ${minutes(rules.queueAgeMs)}.`,
      evidence: `It could have been started at ${new Date(oldestQueued.since).toISOString()}.`,
      action: `See why: ccm show ${oldestQueued.taskId}`,
      taskId: oldestQueued.taskId,
    })
  }
  for (const { taskId, since, reason } of waiting) {
    if (now - since <= rules.waitingMs) continue
    alerts.push({
      key: `waiting_long:${taskId}`,
      kind: 'waiting_long',
      what: `An agent has waited for a person for more than ${minutes(rules.waitingMs)}.`,
      evidence: reason,
      action: `See: ccm show ${taskId}`,
      taskId,
    })
  }
  return alerts
}

/** Keys of the alerts that `alertsOf` can hold: such an incident is over when its alert is. */
export function isFleetAlert(key: string): boolean {
  return /^(?:failure_rate|start_failures|queue_old|waiting_long:.*)$/.test(key)
}
