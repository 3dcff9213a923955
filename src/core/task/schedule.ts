import type { NewTask } from './task.ts'

/** What becomes of a time that passed while nobody could act: nothing, or one run for all of them. */
export const MISSED_POLICIES = ['skip', 'run-once'] as const
export type MissedPolicy = (typeof MISSED_POLICIES)[number]

/** What every task of a schedule asks for. */
export type ScheduledTask = Pick<
  NewTask,
  'prompt' | 'role' | 'model' | 'timeoutS' | 'permissionMode' | 'allowedTools' | 'disallowedTools'
> & {
  /** null: the project's. */
  priority: number | null
}

/** A task that recurs. Times are milliseconds since 1970. */
export type Schedule = {
  /** Never given twice. */
  id: number
  name: string
  project: string
  /** Five fields or a nickname such as `@daily`. */
  cron: string
  /** IANA name. */
  timeZone: string
  missed: MissedPolicy
  /** Whether a run may start while the one before is queued or running. */
  overlap: boolean
  paused: boolean
  task: ScheduledTask
  createdAt: number
  /** Every time up to here is dealt with. */
  settledUntil: number
}

/** What became of one time. `missed` stands for all times up to it since the run before. */
export type RunOutcome = 'queued' | 'skipped' | 'missed' | 'failed'

export type ScheduleRun = {
  dueAt: number
  outcome: RunOutcome
  taskId: string | null
  /** One sentence; null for a plain run. */
  reason: string | null
}

/** A run that begins within this time of its due time is on time. */
export const ON_TIME_MS = 5 * 60_000

/**
 * What to do about the newest time that is due: `queue` it, or note that it was missed. `earlier`: how many
 * times before it passed unused as well. At most one run makes up for all of them.
 */
export function planRun(
  schedule: Pick<Schedule, 'missed'>,
  due: { newest: number; earlier: number },
  now: number,
): { act: 'queue' | 'miss'; reason: string | null } {
  const late = now - due.newest > ON_TIME_MS
  if (late && schedule.missed === 'skip') {
    return { act: 'miss', reason: `${times(due.earlier + 1)} passed while ccm could not act.` }
  }
  const earlier = due.earlier === 0 ? '' : ` ${times(due.earlier)} before it passed unused.`
  if (!late) return { act: 'queue', reason: earlier === '' ? null : earlier.trim() }
  return { act: 'queue', reason: `Made up for later.${earlier}` }
}

/** The key that makes one time one task, however often it is tried. */
export function runKey(scheduleId: number, dueAt: number): string {
  return `cron:${scheduleId}:${dueAt}`
}

function times(count: number): string {
  return count === 1 ? '1 time' : `${count} times`
}
