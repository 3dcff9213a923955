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
  /** Since when the longest waiting task could have been started; null: none could, undefined: nobody knows. */
  oldestQueued: { taskId: string; since: number } | null | undefined
  /** Undefined: those of an earlier daemon are not taken back yet. */
  agents: AgentFacts[] | undefined
}

export type AgentFacts = {
  taskId: string
  attempt: number
  /** It waits for a person; undefined: nobody knows yet. */
  waiting: { since: number; reason: string } | null | undefined
  /** It ended, and why processes of it are still there: a sentence. */
  left: string | null
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
  const { now, ended, failed, startFailures, oldestQueued, agents = [] } = facts
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
  if (oldestQueued != null && now - oldestQueued.since > rules.queueAgeMs) {
    alerts.push({
      key: 'queue_old',
      kind: 'queue_old',
      what: `A task has waited in the queue for more than ${minutes(rules.queueAgeMs)}.`,
      evidence: `It could have been started at ${new Date(oldestQueued.since).toISOString()}.`,
      action: `See why: ccm show ${oldestQueued.taskId}`,
      taskId: oldestQueued.taskId,
    })
  }
  for (const { taskId, waiting } of agents) {
    if (waiting == null || now - waiting.since <= rules.waitingMs) continue
    alerts.push({
      key: `waiting_long:${taskId}`,
      kind: 'waiting_long',
      what: `An agent has waited for a person for more than ${minutes(rules.waitingMs)}.`,
      evidence: waiting.reason,
      action: `See: ccm show ${taskId}`,
      taskId,
    })
  }
  for (const { taskId, attempt, left } of agents) {
    if (left === null) continue
    alerts.push({
      key: `agent_left:${taskId}.${attempt}`,
      kind: 'agent_left',
      what: 'An agent ended, and processes of it are still there.',
      evidence: left,
      action: 'It is tried again and again to end them; until then its attempt is not over. See: ccm logs',
      taskId,
    })
  }
  return alerts
}

/**
 * Whether an incident of that key is over by these facts. Where they do not tell it lasts: after a restart, or while the
 * queue is away, nobody is told of an end that is none.
 */
export function isOver(key: string, facts: FleetFacts, holding: ReadonlySet<string>): boolean {
  const { agents, oldestQueued } = facts
  if (holding.has(key)) return false
  const [kind = '', id] = key.split(':')
  switch (kind) {
    case 'failure_rate':
    case 'start_failures':
      return true
    case 'queue_old':
      return oldestQueued !== undefined
    case 'waiting_long':
      return agents?.every(({ taskId, waiting }) => taskId !== id || waiting !== undefined) === true
    case 'agent_left':
      // An attempt that is over is no agent any more.
      return agents?.every(({ taskId, attempt }) => `${taskId}.${attempt}` !== id) === true
    default:
      return false
  }
}
