import type { Metric, Registry } from 'prom-client'
import { SERIES_MAX, type Series, type Timing } from '../core/incident/meter.ts'
import type { Meters } from '../core/incident/meters.ts'
import { NUMBERS, TIMINGS, type MetricSources } from './metric-table.ts'

/** The text of a scrape in the format of Prometheus. */
export type Scrape = () => Promise<{ type: string; text: string }>

/**
 * Metrics over the meters and the stores. prom-client takes 20 MB, so it is loaded at the first scrape: until then
 * there are only the meters' numbers. A source that fails leaves out its metric and nothing else.
 */
export function createScrape(
  meters: Meters,
  sources: MetricSources,
  clock: () => number,
  onFault: (name: string, error: unknown) => void,
): Scrape {
  let registry: Promise<Registry> | null = null
  const load = async () => {
    // Bundled, it has nothing but its default.
    const { default: prom } = await import('prom-client')
    const { Counter, Gauge, Registry } = prom
    const made = new Registry()
    for (const { name, kind, labels, help, read } of NUMBERS) {
      // What was read takes the place of what it had; a counter without labels is there as 0 from the start.
      const collect = async function (this: InstanceType<typeof Gauge> | InstanceType<typeof Counter>) {
        this.reset()
        try {
          for (const { labels: at, value } of capped(await read(meters, sources, clock())))
            this.inc(at, value)
        } catch (error) {
          onFault(name, error)
        }
      }
      const options = { name, help, labelNames: labels, registers: [], collect }
      made.registerMetric(kind === 'counter' ? new Counter(options) : new Gauge(options))
    }
    for (const { name, help, pick } of TIMINGS) made.registerMetric(asMetric(name, help, () => pick(meters)))
    return made
  }
  return async () => {
    const loaded = await (registry ??= load())
    return { type: loaded.contentType, text: await loaded.metrics() }
  }
}

/** prom-client's own histogram keeps its own counts; this one tells those of a timing. */
function asMetric(name: string, help: string, timing: () => Timing<string>): Metric {
  const get = async () => ({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: timing()
      .series()
      .flatMap(({ labels, counts, sum }) => {
        let below = 0
        const buckets = counts.map((count, index) => {
          const le = timing().bounds[index] ?? '+Inf'
          return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: (below += count) }
        })
        return [
          ...buckets,
          { metricName: `${name}_sum`, labels, value: sum },
          { metricName: `${name}_count`, labels, value: below },
        ]
      }),
  })
  return { name, help, get, reset: () => undefined } as unknown as Metric
}

/** At most SERIES_MAX series: the largest, and one for all others. */
function capped(series: Series[]): Series[] {
  if (series.length <= SERIES_MAX) return series
  const sorted = series.toSorted((a, b) => b.value - a.value)
  const names = Object.keys(sorted[0]?.labels ?? {})
  const rest = sorted.slice(SERIES_MAX - 1).reduce((sum, { value }) => sum + value, 0)
  const other = Object.fromEntries(names.map((name) => [name, 'other']))
  return [...sorted.slice(0, SERIES_MAX - 1), { labels: other, value: rest }]
}
