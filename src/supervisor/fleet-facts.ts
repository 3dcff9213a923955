import type { AgentFacts, FleetFacts } from '../core/incident/alerts.ts'
import type { Clock } from '../core/clock.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Attempts } from '../store/attempts.ts'
import type { RunningAgent } from './attempts/running-agent.ts'
import { isAway } from './shared/away.ts'

/**
 * What alerts are decided by, from the queue, the attempts that ended within `windowMs`, and the agents; null: those of
 * an earlier daemon are not taken back yet.
 */
export async function fleetFacts(
  from: {
    queue: Queue
    attempts: Attempts
    agents: ReadonlyMap<string, RunningAgent> | null
    /** Of attempts that are none of theirs any more. */
    left: AgentFacts[]
    clock: Clock
  },
  windowMs: number,
): Promise<FleetFacts> {
  const now = from.clock()
  const ends = from.attempts.endsSince(now - windowMs)
  const sum = (wanted: (end: (typeof ends)[number]) => boolean) =>
    ends.filter(wanted).reduce((total, { count }) => total + count, 0)
  return {
    now,
    ended: sum(({ outcome }) => outcome === 'succeeded' || outcome.startsWith('failed')),
    failed: sum(({ outcome }) => outcome.startsWith('failed')),
    startFailures: sum(({ kind }) => kind === 'start'),
    oldestQueued: await oldestQueued(from.queue, now),
    agents: from.agents === null ? undefined : [...[...from.agents.values()].map(factsOf), ...from.left],
  }
}

function factsOf({ attempt: { taskId, attempt }, watcher, left }: RunningAgent): AgentFacts {
  const view = watcher?.view()
  const waiting = view?.state === 'waiting' ? { since: view.stateAt, reason: view.reason } : null
  return { taskId, attempt, waiting: view === undefined ? undefined : waiting, left }
}

/** Agents wait for people also while the queue is away. */
async function oldestQueued(queue: Queue, now: number): Promise<FleetFacts['oldestQueued']> {
  try {
    // The oldest, where there are more: the newest would say that nobody waits.
    const queued = (await queue.list({ status: 'queued', sort: 'created_at', limit: 1000 }))
      .map(({ id, createdAt, scheduledAt }) => ({ taskId: id, since: Math.max(createdAt, scheduledAt) }))
      .filter(({ since }) => since <= now)
    return queued.toSorted((a, b) => a.since - b.since)[0] ?? null
  } catch (error) {
    if (isAway(error)) return undefined
    throw error
  }
}
