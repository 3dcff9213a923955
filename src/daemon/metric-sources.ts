import type { Clock } from '../core/clock.ts'
import { countsOfShared, createQueueCounts } from '../queue/counts.ts'
import type { Database } from '../store/database.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import type { MetricSources } from './metric-table.ts'
import type { ChosenQueue } from './chosen-queue.ts'
import type { Stores } from './stores.ts'

/** What a scrape looks up, of the parts of a running daemon. */
export function createMetricSources(of: {
  db: Database
  stores: Pick<Stores, 'outbox' | 'spending' | 'incidents'>
  chosen: ChosenQueue
  supervisor: Pick<Supervisor, 'agents' | 'holds' | 'recorder'>
  clock: Clock
}): MetricSources {
  const { db, stores, chosen, supervisor, clock } = of
  const counts = chosen.shared === null ? createQueueCounts(db, chosen.system) : countsOfShared(chosen.queue)
  return {
    tasks: () => counts.byProject(),
    oldestQueuedAt: () => counts.oldestQueuedAt(clock()),
    agents: () => supervisor.agents().map(({ watcher }) => watcher?.view().state ?? 'spawning'),
    outbox: () => stores.outbox.waiting(),
    spending: () => stores.spending.totals(),
    incidents: () => ({
      opened: supervisor.recorder.counts(),
      open: stores.incidents.openOnes().map(({ kind }) => kind),
    }),
    holds: () => supervisor.holds().map(({ kind }) => kind),
    databaseBytes: () => db.usedBytes(),
    realtime: () => realtimeOf(chosen.state()),
  }
}

/** How often the subscription was interrupted, from how it is now. */
export function realtimeOf(
  shared: { realtime: 'connecting' | 'ready' | 'broken'; readies: number; unannounced: number } | null,
): { gaps: number; unannounced: number } {
  if (shared === null || shared.readies === 0) return { gaps: 0, unannounced: shared?.unannounced ?? 0 }
  return { gaps: shared.readies - (shared.realtime === 'ready' ? 1 : 0), unannounced: shared.unannounced }
}
