import type { Counter, Series, Timing } from '../core/incident/meter.ts'
import type { Meters } from '../core/incident/meters.ts'
import type { SpendingTotal } from '../store/spending.ts'

/** What is looked up at each scrape. */
export type MetricSources = {
  tasks: () => Promise<{ project: string; status: string; count: number }[]>
  /** Milliseconds since 1970; null: nothing that could run is queued. */
  oldestQueuedAt: () => Promise<number | null>
  agents: () => string[]
  outbox: () => { depth: number; oldestAt: number | null }
  spending: () => SpendingTotal[]
  /** Since the daemon began, and open now. */
  incidents: () => { opened: Partial<Record<string, number>>; open: string[] }
  holds: () => string[]
  databaseBytes: () => number
  /** Of the subscription to a shared queue, since the daemon began; zeros where there is none. */
  realtime: () => { gaps: number; unannounced: number }
}

type Kind = 'counter' | 'gauge'
type Read = (meters: Meters, sources: MetricSources, now: number) => Series[] | Promise<Series[]>

const counted =
  <L extends string>(pick: (meters: Meters) => Counter<L>): Read =>
  (meters) =>
    pick(meters).series()

const one = (value: number): Series[] => [{ labels: {}, value }]

/** Every number ccm tells, with the sentence that docs/metrics.md repeats. */
export const NUMBERS: { name: string; kind: Kind; labels: string[]; help: string; read: Read }[] = [
  {
    name: 'ccm_tasks',
    kind: 'gauge',
    labels: ['project', 'status'],
    help: 'Tasks in the queue by status, finished ones as long as they are kept.',
    read: async (_, { tasks }) => (await tasks()).map(({ count, ...labels }) => ({ labels, value: count })),
  },
  {
    name: 'ccm_queue_oldest_seconds',
    kind: 'gauge',
    labels: [],
    help: 'How long the oldest queued task could have been claimed; 0 when none waits.',
    read: async (_, { oldestQueuedAt }, now) => one(ageS(await oldestQueuedAt(), now)),
  },
  {
    name: 'ccm_claims_total',
    kind: 'counter',
    labels: ['project'],
    help: 'Tasks this daemon has claimed.',
    read: counted(({ claims }) => claims),
  },
  {
    name: 'ccm_attempts_ended_total',
    kind: 'counter',
    labels: ['project', 'outcome'],
    help: 'Attempts that ended, by outcome: succeeded, failed, failed_permanent, released, cancelled.',
    read: counted(({ attemptsEnded }) => attemptsEnded),
  },
  {
    name: 'ccm_leases_lost_total',
    kind: 'counter',
    labels: [],
    help: 'Running attempts whose task the queue gave to another attempt.',
    read: counted(({ leasesLost }) => leasesLost),
  },
  {
    name: 'ccm_agents',
    kind: 'gauge',
    labels: ['state'],
    help: 'Agents by what they are doing.',
    read: (_, { agents }) => tally(agents(), 'state'),
  },
  {
    name: 'ccm_holds',
    kind: 'gauge',
    labels: ['kind'],
    help: 'Reasons why nothing is claimed now: slots, memory, disk, claude, tmux, login, limit, breaker, budget.',
    read: (_, { holds }) => tally(holds(), 'kind'),
  },
  {
    name: 'ccm_outbox_depth',
    kind: 'gauge',
    labels: [],
    help: 'Reports the queue has not answered yet.',
    read: (_, { outbox }) => one(outbox().depth),
  },
  {
    name: 'ccm_outbox_oldest_seconds',
    kind: 'gauge',
    labels: [],
    help: 'Age of the oldest such report; 0 when there is none.',
    read: (_, { outbox }, now) => one(ageS(outbox().oldestAt, now)),
  },
  {
    name: 'ccm_realtime_gaps_total',
    kind: 'counter',
    labels: [],
    help: 'Times the subscription to the shared queue was interrupted; polling bridges each.',
    read: (_, { realtime }) => one(realtime().gaps),
  },
  {
    name: 'ccm_realtime_unannounced_total',
    kind: 'counter',
    labels: [],
    help: 'New tasks claimed from the shared queue that no event had told of.',
    read: (_, { realtime }) => one(realtime().unannounced),
  },
  {
    name: 'ccm_hook_events_total',
    kind: 'counter',
    labels: [],
    help: 'Hook events that were stored.',
    read: counted(({ hookEvents }) => hookEvents),
  },
  {
    name: 'ccm_tokens_total',
    kind: 'counter',
    labels: ['project', 'model', 'kind'],
    help: 'Tokens agents used: input, output, cache_read, cache_write.',
    read: (_, { spending }) =>
      spending().flatMap(({ project, model, input, output, cacheRead, cacheWrite }) =>
        Object.entries({ input, output, cache_read: cacheRead, cache_write: cacheWrite }).map(
          ([kind, value]) => ({ labels: { project, model, kind }, value }),
        ),
      ),
  },
  {
    name: 'ccm_cost_usd_total',
    kind: 'counter',
    labels: ['project', 'model'],
    help: 'What those tokens cost in US dollars, where the price of the model is known.',
    read: (_, { spending }) =>
      spending().map(({ project, model, costUsd }) => ({ labels: { project, model }, value: costUsd })),
  },
  {
    name: 'ccm_incidents_total',
    kind: 'counter',
    labels: ['kind'],
    help: 'Incidents opened by this daemon; `ccm incidents` tells them.',
    read: (_, { incidents }) =>
      Object.entries(incidents().opened).map(([kind, count = 0]) => ({ labels: { kind }, value: count })),
  },
  {
    name: 'ccm_incidents_open',
    kind: 'gauge',
    labels: ['kind'],
    help: 'Incidents that last.',
    read: (_, { incidents }) => tally(incidents().open, 'kind'),
  },
  {
    name: 'ccm_http_requests_total',
    kind: 'counter',
    labels: ['route', 'method', 'status'],
    help: 'Requests answered, by the pattern of the route and the class of the status.',
    read: counted(({ requests }) => requests),
  },
  {
    name: 'ccm_database_bytes',
    kind: 'gauge',
    labels: [],
    help: 'Bytes in use in the local database.',
    read: (_, { databaseBytes }) => one(databaseBytes()),
  },
  {
    name: 'process_resident_memory_bytes',
    kind: 'gauge',
    labels: [],
    help: 'Memory of the daemon itself.',
    read: () => one(process.memoryUsage.rss()),
  },
  {
    name: 'process_cpu_seconds_total',
    kind: 'counter',
    labels: [],
    help: 'Processor time of the daemon itself.',
    read: () => {
      const { user, system } = process.cpuUsage()
      return one((user + system) / 1e6)
    },
  },
  {
    name: 'process_start_time_seconds',
    kind: 'gauge',
    labels: [],
    help: 'When the daemon began, in seconds since 1970.',
    read: (_, __, now) => one(now / 1000 - process.uptime()),
  },
]

/** Every distribution ccm tells, likewise; in seconds. */
export const TIMINGS: {
  name: string
  labels: string[]
  help: string
  pick: (meters: Meters) => Timing<never> | Timing<'route'>
}[] = [
  {
    name: 'ccm_queue_wait_seconds',
    labels: [],
    help: 'From when a task could be claimed until it was.',
    pick: ({ wait }) => wait,
  },
  {
    name: 'ccm_start_seconds',
    labels: [],
    help: 'From the claim until the agent works.',
    pick: ({ start }) => start,
  },
  {
    name: 'ccm_sweep_seconds',
    labels: [],
    help: 'One look at all screens.',
    pick: ({ sweep }) => sweep,
  },
  {
    name: 'ccm_ingest_seconds',
    labels: [],
    help: 'One commit of hook events, with reading them.',
    pick: ({ ingest }) => ingest,
  },
  {
    name: 'ccm_http_request_seconds',
    labels: ['route'],
    help: 'From a request until its answer begins.',
    pick: ({ requestTime }) => requestTime,
  },
]

function tally(words: readonly string[], label: string): Series[] {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts].map(([word, value]) => ({ labels: { [label]: word }, value }))
}

function ageS(at: number | null, now: number): number {
  return at === null ? 0 : Math.max(0, (now - at) / 1000)
}
