import type { FleetFacts } from '../core/incident/alerts.ts'
import type { Clock } from '../core/clock.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Attempts } from '../store/attempts.ts'
import type { RunningAgent } from './attempts/running-agent.ts'

/** What alerts are decided by, from the queue, the attempts that ended within `windowMs`, and the agents. */
export async function fleetFacts(
  from: { queue: Queue; attempts: Attempts; agents: ReadonlyMap<string, RunningAgent>; clock: Clock },
  windowMs: number,
): Promise<FleetFacts> {
  const now = from.clock()
  const ends = from.attempts.endsSince(now - windowMs)
  const sum = (wanted: (end: (typeof ends)[number]) => boolean) =>
    ends.filter(wanted).reduce((total, { count }) => total + count, 0)
  const queued = (await from.queue.list({ status: 'queued', limit: 1000 }))
    .map(({ id, createdAt, scheduledAt }) => ({ taskId: id, since: Math.max(createdAt, scheduledAt) }))
    .filter(({ since }) => since <= now)
  return {
    now,
    ended: sum(({ outcome }) => outcome === 'succeeded' || outcome.startsWith('failed')),
    failed: sum(({ outcome }) => outcome.startsWith('failed')),
    startFailures: sum(({ kind }) => kind === 'start'),
    oldestQueued: queued.toSorted((a, b) => a.since - b.since)[0] ?? null,
    waiting: [...from.agents.values()].flatMap(({ task, watcher }) => {
      const view = watcher?.view()
      return view?.state === 'waiting' ? [{ taskId: task.id, since: view.stateAt, reason: view.reason }] : []
    }),
  }
}
