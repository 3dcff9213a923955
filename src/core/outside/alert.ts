import type { OutsideText } from './outside-text.ts'

/** One alert of an Alertmanager's message. */
export type Alert = {
  status: 'firing' | 'resolved'
  /** `am:<fingerprint>:<start>`: the same for as long as it lasts. */
  key: string
  fingerprint: string
  name: string
  labels: Record<string, string>
  annotations: Record<string, string>
  runbookUrl: string | null
  generatorUrl: string | null
  startsAt: string
  /** Milliseconds since 1970; null: not told, as of one that fires. */
  endsAt: number | null
}

const ALERTS_MAX = 1000

/** Reads an Alertmanager webhook message (version 4); null for anything else. Odd alerts of it are left out. */
export function readAlerts(payload: unknown): { alerts: Alert[]; odd: number } | null {
  const root = payload as { version?: unknown; alerts?: unknown } | null
  if (typeof root !== 'object' || root === null || !Array.isArray(root.alerts)) return null
  const given = root.alerts.slice(0, ALERTS_MAX)
  const alerts = given.map(readAlert).filter((alert) => alert !== null)
  return { alerts, odd: root.alerts.length - alerts.length }
}

function readAlert(value: unknown): Alert | null {
  if (typeof value !== 'object' || value === null) return null
  const row = value as Record<string, unknown>
  const { status, fingerprint, startsAt } = row
  if (status !== 'firing' && status !== 'resolved') return null
  if (typeof fingerprint !== 'string' || !/^[0-9a-f]{1,64}$/i.test(fingerprint)) return null
  if (typeof startsAt !== 'string' || startsAt.length > 64 || Number.isNaN(Date.parse(startsAt))) return null
  const labels = textsOf(row['labels'])
  const annotations = textsOf(row['annotations'])
  const start = new Date(Date.parse(startsAt)).toISOString()
  const end = typeof row['endsAt'] === 'string' ? Date.parse(row['endsAt']) : Number.NaN
  return {
    status,
    key: `am:${fingerprint.toLowerCase()}:${start}`,
    fingerprint: fingerprint.toLowerCase(),
    name: labels['alertname'] ?? 'unnamed',
    labels,
    annotations,
    runbookUrl: linkOf(annotations['runbook_url'] ?? annotations['runbook']),
    generatorUrl: linkOf(row['generatorURL']),
    startsAt: start,
    endsAt: Number.isNaN(end) ? null : end,
  }
}

/** Until when a resolved alert fired, in milliseconds since 1970: a clock that is ahead ends nothing that is to come. */
export function endOf({ startsAt, endsAt }: Alert, now: number): number {
  return Math.max(Date.parse(startsAt), Math.min(endsAt ?? 0, now))
}

/** An alert as the data of a prompt. */
export function alertText({
  name,
  labels,
  annotations,
  runbookUrl,
  generatorUrl,
  startsAt,
}: Alert): OutsideText {
  const pairs = (of: Record<string, string>) => Object.entries(of).map(([key, value]) => `  ${key}: ${value}`)
  const text = [
    `alert: ${name}`,
    `since: ${startsAt}`,
    ...(runbookUrl === null ? [] : [`runbook: ${runbookUrl}`]),
    ...(generatorUrl === null ? [] : [`source: ${generatorUrl}`]),
    'labels:',
    ...pairs(labels),
    'annotations:',
    ...pairs(annotations),
  ].join('\n')
  return { from: 'a Prometheus alert', by: null, text }
}

/** Which alerts become tasks of which project: every label of `match` must be as it says. */
export type AlertRule = {
  match: Readonly<Record<string, string>>
  project: string
  template: string | null
  approve: 'never' | 'always'
}

/** The first rule that matches, or null. */
export function alertRuleFor({ labels }: Alert, rules: readonly AlertRule[]): AlertRule | null {
  return (
    rules.find(({ match }) => Object.entries(match).every(([key, value]) => labels[key] === value)) ?? null
  )
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, 100)
      .filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

function linkOf(value: unknown): string | null {
  return typeof value === 'string' && /^https?:\/\/[^\s<>"]{1,2000}$/.test(value) ? value : null
}
