import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { SERIES_MAX } from '../core/incident/meter.ts'
import { createMeters } from '../core/incident/meters.ts'
import { realtimeOf } from './metric-sources.ts'
import { NUMBERS, TIMINGS, type MetricSources } from './metric-table.ts'
import { createScrape } from './metrics.ts'

const NOW = 1_000_000
const ALERTS = fileURLToPath(new URL('../../docs/alerts.yml', import.meta.url))
const PROMTOOL = process.env['PROMTOOL'] ?? 'promtool'
const hasPromtool = spawnSync(PROMTOOL, ['--version']).status === 0
if (!hasPromtool)
  process.stderr.write(
    'SKIPPED: promtool (Debian: prometheus) is not installed; docs/alerts.yml is unchecked\n',
  )

test.runIf(hasPromtool)('promtool finds no fault in docs/alerts.yml and in a scrape', async () => {
  const rules = spawnSync(PROMTOOL, ['check', 'rules', '--lint=all', '--lint-fatal', ALERTS], {
    encoding: 'utf8',
  })
  expect(rules.stdout + rules.stderr).toMatch(/SUCCESS: \d+ rules found/)
  const { lines } = await scrapeOf()
  const checked = spawnSync(PROMTOOL, ['check', 'metrics'], { input: lines.join('\n'), encoding: 'utf8' })
  // Its own kind of advice: a name of ours is kept as it is where it has a reason.
  expect(checked.stdout + checked.stderr).toBe('')
  expect(checked.status).toBe(0)
})

const sourcesOf = (changed: Partial<MetricSources> = {}): MetricSources => ({
  tasks: async () => [{ project: 'app', status: 'queued', count: 3 }],
  oldestQueuedAt: async () => NOW - 5000,
  agents: () => ['working', 'working', 'waiting'],
  outbox: () => ({ depth: 1, oldestAt: NOW - 2000 }),
  spending: () => [
    { project: 'app', model: 'm', input: 1, output: 2, cacheRead: 3, cacheWrite: 4, costUsd: 0.5 },
  ],
  incidents: () => ({ opened: { tmux_died: 2 }, open: ['usage_limit'] }),
  holds: () => ['slots'],
  databaseBytes: () => 4096,
  realtime: () => ({ gaps: 2, unannounced: 3 }),
  ...changed,
})

async function scrapeOf(meters = createMeters(), sources = sourcesOf(), faults: string[] = []) {
  const scrape = createScrape(
    meters,
    sources,
    () => NOW,
    (name) => void faults.push(name),
  )
  return { lines: (await scrape()).text.split('\n'), scrape }
}

test('a scrape tells what is in the stores and what happened since the start', async () => {
  const meters = createMeters()
  meters.claims.add({ project: 'app' })
  meters.claims.add({ project: 'app' })
  meters.attemptsEnded.add({ project: 'app', outcome: 'failed' })
  meters.sweep.observe({}, 0.02)
  meters.sweep.observe({}, 100)
  meters.requests.add({ route: '/api/tasks/:id', method: 'GET', status: '2xx' })
  const { lines, scrape } = await scrapeOf(meters)
  for (const line of [
    'ccm_tasks{project="app",status="queued"} 3',
    'ccm_queue_oldest_seconds 5',
    'ccm_agents{state="working"} 2',
    'ccm_claims_total{project="app"} 2',
    'ccm_attempts_ended_total{project="app",outcome="failed"} 1',
    'ccm_leases_lost_total 0',
    'ccm_realtime_gaps_total 2',
    'ccm_realtime_unannounced_total 3',
    'ccm_outbox_depth 1',
    'ccm_outbox_oldest_seconds 2',
    'ccm_tokens_total{project="app",model="m",kind="cache_read"} 3',
    'ccm_cost_usd_total{project="app",model="m"} 0.5',
    'ccm_incidents_total{kind="tmux_died"} 2',
    'ccm_incidents_open{kind="usage_limit"} 1',
    'ccm_sweep_seconds_bucket{le="0.01"} 0',
    'ccm_sweep_seconds_bucket{le="0.025"} 1',
    'ccm_sweep_seconds_bucket{le="60"} 1',
    'ccm_sweep_seconds_bucket{le="+Inf"} 2',
    'ccm_sweep_seconds_sum 100.02',
    'ccm_sweep_seconds_count 2',
    'ccm_http_requests_total{route="/api/tasks/:id",method="GET",status="2xx"} 1',
  ])
    expect(lines).toContain(line)
  // Not once more.
  expect((await scrape()).text.split('\n')).toContain('ccm_claims_total{project="app"} 2')
})

test('names do not fill the memory: what is new beyond the most series counts as other', async () => {
  const meters = createMeters()
  for (let n = 0; n < 3 * SERIES_MAX; n++) meters.claims.add({ project: `p${n}` })
  expect(meters.claims.series()).toHaveLength(SERIES_MAX)
  const many = Array.from({ length: 3 * SERIES_MAX }, (_, n) => ({
    project: `p${n}`,
    status: 'queued',
    count: n === 500 ? 9 : 1,
  }))
  const { lines } = await scrapeOf(meters, sourcesOf({ tasks: async () => many }))
  const of = (name: string) => lines.filter((line) => line.startsWith(`${name}{`))
  expect(of('ccm_claims_total')).toHaveLength(SERIES_MAX)
  expect(of('ccm_claims_total').at(-1)).toBe(`ccm_claims_total{project="other"} ${2 * SERIES_MAX + 1}`)
  expect(of('ccm_tasks')).toHaveLength(SERIES_MAX)
  expect(of('ccm_tasks')[0]).toBe('ccm_tasks{project="p500",status="queued"} 9')
  expect(of('ccm_tasks').at(-1)).toBe(`ccm_tasks{project="other",status="other"} ${2 * SERIES_MAX + 1}`)
})

test('a source that fails leaves out its own metric and nothing else', async () => {
  const faults: string[] = []
  const broken = sourcesOf({ tasks: () => Promise.reject(new Error('away')) })
  const { lines } = await scrapeOf(createMeters(), broken, faults)
  expect(faults).toEqual(['ccm_tasks'])
  expect(lines.some((line) => line.startsWith('ccm_tasks{'))).toBe(false)
  expect(lines).toContain('ccm_queue_oldest_seconds 5')
})

test('docs/metrics.md has a row for each metric, with its kind, labels and sentence', () => {
  const rows = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, 5),
    )
  const labelsOf = (labels: string[]) => labels.join(', ') || '-'
  expect(rows).toEqual([
    ...NUMBERS.map(({ name, kind, labels, help }) => [`\`${name}\``, kind, labelsOf(labels), help]),
    ...TIMINGS.map(({ name, labels, help }) => [`\`${name}\``, 'histogram', labelsOf(labels), help]),
  ])
})

test('docs/alerts.yml speaks only of metrics that exist', () => {
  const text = readFileSync(new URL('../../docs/alerts.yml', import.meta.url), 'utf8')
  const known = new Set([...NUMBERS, ...TIMINGS].map(({ name }) => name))
  const named = [...text.matchAll(/\b(?:ccm|process)_[a-z_]+/g)].map(([name]) => name.replace(/_bucket$/, ''))
  expect(named.length).toBeGreaterThan(8)
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

test('interruptions of the subscription only ever go up, whether it is back yet or not', () => {
  const gaps = (realtime: 'connecting' | 'ready' | 'broken', readies: number) =>
    realtimeOf({ realtime, readies, unannounced: 0 }).gaps
  const history = [
    gaps('connecting', 0),
    gaps('ready', 1),
    gaps('broken', 1),
    gaps('connecting', 1),
    gaps('ready', 2),
  ]
  expect([...history, gaps('broken', 2)]).toEqual([0, 0, 1, 1, 1, 2])
  expect(realtimeOf(null)).toEqual({ gaps: 0, unannounced: 0 })
})
