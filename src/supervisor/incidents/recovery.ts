import type { Logger } from 'pino'
import type { AgentEnd } from '../../agent/agent-end.ts'
import type { AlertRules, FleetFacts } from '../../core/incident/alerts.ts'
import type { BreakerRules } from '../../core/incident/breaker.ts'
import type { Clock } from '../../core/clock.ts'
import type { IncidentKind, Notifier } from '../../core/incident/incident.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { Task } from '../../core/task/task.ts'
import type { Incidents } from '../../store/incidents.ts'
import type { Notes } from '../../store/notes.ts'
import { createAlertWatch } from './alerts.ts'
import { createBreakers, type Breakers } from './breakers.ts'
import type { Hold } from '../claims/dispatcher.ts'
import { createLimits, type Limits } from './limits.ts'
import { createNoticeDelivery } from './notices.ts'
import { createRecorder, type Recorder } from './recorder.ts'
import { createTaskWatch } from './task-watch.ts'

/** What the supervisor needs to know to keep failures from spreading, and to tell of them. */
export type RecoverySettings = {
  breaker: BreakerRules
  alerts: AlertRules
  notifiers: readonly Notifier[]
  /** False: a usage limit fails the task instead of parking it. */
  park: boolean
}

/** What keeps failures from spreading and remembers them: incidents, alerts, breakers, limits. */
export type Recovery = {
  recorder: Recorder
  breakers: Breakers
  limits: Limits
  /** As `Breakers.gate`; nothing at all while a usage limit of all models holds. */
  gate: Breakers['gate']
  /** An attempt has ended and its outcome is stored. `model` is what it was started with; null: the default. */
  ended: (task: { id: string; project: string; model: string | null }, lease: Lease, end: AgentEnd) => void
  /** The task has an agent again, or needs none: what was wrong with it is over. */
  over: (taskId: string, action?: string) => void
  /** So many agents lost their tmux server and are not settled yet. */
  orphans: (count: number) => void
  /** What the start found of an earlier daemon, one sentence each. */
  adopted: (found: string[]) => void
  holds: () => Hold[]
  close: (onPurpose: boolean) => Promise<void>
}

export function createRecovery(deps: {
  settings: RecoverySettings
  incidents: Incidents
  notes: Notes
  facts: () => Promise<FleetFacts>
  isRunning: (taskId: string) => boolean
  taskOf: (id: string) => Promise<Task | null>
  worker: string
  clock: Clock
  random: () => number
  logger: Logger
}): Recovery {
  const { settings, incidents, notes, clock, logger } = deps
  const recorder = createRecorder({
    incidents,
    notifiers: settings.notifiers.map(({ name }) => name),
    clock,
    logger,
    nudge: () => notices.nudge(),
  })
  const notices = createNoticeDelivery({
    incidents,
    notifiers: settings.notifiers,
    recorder: () => recorder,
    clock,
    random: deps.random,
    logger,
  })
  // What cannot be stored holds as long as this daemon runs: a full disk must keep no outcome and no alert back.
  const kept: Notes = {
    read: notes.read,
    write(name, value) {
      try {
        notes.write(name, value)
      } catch (err) {
        logger.error({ err }, 'what holds claims back could not be stored')
      }
    },
  }
  const breakers = createBreakers({
    rules: settings.breaker,
    notes: kept,
    recorder,
    isRunning: deps.isRunning,
    clock,
  })
  const limits = createLimits({ notes: kept, clock })
  const alerts = createAlertWatch({
    rules: settings.alerts,
    incidents,
    recorder,
    notes,
    facts: deps.facts,
    tasks: createTaskWatch({ ...deps, recorder }),
    clock,
    logger,
  })

  return {
    recorder,
    breakers,
    limits,
    gate(projects) {
      const gate = breakers.gate(projects)
      const isLimited = limits.holds().some(({ model }) => model === undefined)
      return isLimited ? { ...gate, allow: 'none' } : gate
    },
    ended(task, lease, end) {
      // The limit itself: the times of its tasks are apart, and the last one is no reason to hold the others.
      if (end.limit !== undefined) limits.reached({ ...end.limit, model: task.model })
      breakers.heard(task, end)
      const kind = incidentOf(end)
      if (kind === null) return recorder.close(`task:${task.id}`, 'It came to its end.')
      recorder.open({
        kind,
        key: `task:${task.id}`,
        what: WHAT[kind] ?? 'An agent ended without a result.',
        evidence: `${end.kind}: ${end.error ?? ''}`,
        action:
          end.outcome === 'failed_permanent' ? 'Its task failed.' : 'Its task waits for its next attempt.',
        taskId: task.id,
        attempt: lease.attempt,
      })
      // Nothing follows that could close it.
      if (end.outcome === 'failed_permanent') recorder.close(`task:${task.id}`)
    },
    over: (taskId, action) => recorder.close(`task:${taskId}`, action),
    orphans(count) {
      if (count === 0)
        return recorder.close('tmux', 'It was started again; its tasks go on with other agents.')
      recorder.open({
        kind: 'tmux_died',
        key: 'tmux',
        what: 'The tmux server ended.',
        evidence: `${count} agents ended with it.`,
        action: 'It is started again; its tasks go on with other agents.',
      })
    },
    adopted(found) {
      if (found.length === 0) return
      recorder.note({
        kind: 'adopted',
        what: 'The daemon was started again and found work of before.',
        evidence: found.join('\n'),
        action: 'What lives is watched again; the rest was settled by what it left.',
      })
    },
    holds: () => [...breakers.holds(), ...limits.holds()],
    async close(onPurpose) {
      await alerts.close(onPurpose)
      await notices.close()
    },
  }
}

const WHAT: Partial<Record<IncidentKind, string>> = {
  usage_limit: "An agent ran into the account's usage limit.",
  agent_lost: 'An agent was lost.',
}

/** Null: nobody had to recover anything. */
function incidentOf({ outcome, kind }: AgentEnd): IncidentKind | null {
  if (outcome === 'succeeded' || outcome === 'cancelled') return null
  if (kind === 'drain' || kind === 'agent_error' || kind === 'unmarked') return null
  if (kind === 'usage_limit') return 'usage_limit'
  return kind === 'lost' || kind === 'lost_lease' ? 'agent_lost' : 'agent_failed'
}
