import { clip } from '../clip.ts'

/** What can happen that a person may want to read of later. */
export const INCIDENT_KINDS = [
  /** An agent ended without a result; its task goes on. */
  'agent_failed',
  'agent_lost',
  /** Processes of an agent that ended are still there. */
  'agent_left',
  'tmux_died',
  /** The daemon was started again and found agents or tasks of before. */
  'adopted',
  'stray_ended',
  'usage_limit',
  'login_refused',
  'breaker',
  'daemon_down',
  /** The watchdog ended a daemon that gave no sign of life. */
  'daemon_hung',
  'failure_rate',
  'start_failures',
  'queue_old',
  'waiting_long',
  'database_moved',
  'disk_full',
  /** Every daemon died at work on it. */
  'deadly_task',
  'notice_lost',
  /** What was accepted while the shared queue was away, and refused by it. */
  'accepted_refused',
] as const
export type IncidentKind = (typeof INCIDENT_KINDS)[number]

/** One thing that went wrong and what was done about it. Times are milliseconds since 1970. */
export type Incident = {
  id: number
  kind: IncidentKind
  /** What it is about, `task:ID` say: at most one incident of a key is open. */
  key: string
  /** One sentence. */
  what: string
  /** What proved it: a hook's words, an exit status, a count. */
  evidence: string
  /** One sentence: what was done, or what a person has to do. */
  action: string
  /** True when people are told. */
  alert: boolean
  taskId: string | null
  attempt: number | null
  openedAt: number
  /** Null while it lasts. */
  closedAt: number | null
}

/** A message about an alert, as every notifier gets it. */
export type Notice = {
  id: number
  incident: Incident
  phase: 'opened' | 'resolved'
  /** How often it was tried before. */
  tries: number
}

/** What became of one message: given to its receiver, or why not and how long the receiver wants to be left alone. */
export type Sent = 'sent' | { failed: string; retryAfterMs: number | null }

/** One way to tell people. `send` never rejects and gives up when `signal` aborts. */
export type Notifier = { name: string; send: (notice: Notice, signal: AbortSignal) => Promise<Sent> }

type Telling = Pick<Notice, 'incident' | 'phase'>

/** The line that a person reads first; at most 250 characters. */
export function noticeTitle({ incident, phase }: Telling): string {
  const what = clip(visible(incident.what).replaceAll(/\s+/g, ' '), 220)
  return phase === 'opened' ? `ccm: ${what}` : `ccm, resolved: ${what}`
}

/** What follows the title: since when, what is to be done, what proved it; without control characters. */
export function noticeText({ incident, phase }: Telling): string {
  const { evidence, action, openedAt, closedAt, taskId } = incident
  const since = new Date(openedAt).toISOString()
  const lasted =
    phase === 'resolved' && closedAt !== null
      ? `It lasted ${Math.round((closedAt - openedAt) / 1000)} s, since ${since}.`
      : `Since ${since}.`
  const lines = [lasted, action, clip(evidence, 2000), taskId === null ? '' : `Task ${taskId}.`]
  return visible(lines.filter((line) => line !== '').join('\n'))
}

/** What agents printed must not steer whatever shows it. */
function visible(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is removed
  return text.replaceAll(/[\x00-\x09\x0b-\x1f\x7f-\x9f]+/g, ' ')
}
