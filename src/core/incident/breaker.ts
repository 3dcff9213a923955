/** When a breaker opens and how long it stays open. */
export type BreakerRules = {
  /** So many different tasks failing one after the other open it. */
  failures: number
  /** Failures further apart than this are not one row. */
  windowMs: number
  /** How long nothing is tried after the first opening; doubled at each that follows. */
  pauseMs: number
  maxPauseMs: number
}

/** What a breaker remembers; plain data that can be stored. Times are milliseconds since 1970. */
export type Breaker = {
  /** The newest failure of each task that failed since the last success, oldest first. */
  row: { taskId: string; project: string; kind: string; at: number }[]
  /** Null while it is closed. From then on one task at a time is tried. */
  openUntil: number | null
  /** How often it opened without a success in between. */
  trips: number
  /** The task that tries whether it works again. */
  probe: string | null
}

/** How one attempt ended, as a breaker counts it; `neutral` says nothing about whether the next will fare better. */
export type BreakerNews = {
  taskId: string
  project: string
  /** The end's kind, for the sentence a person reads. */
  kind: string
  at: number
  verdict: 'success' | 'failure' | 'neutral'
}

/** What may be claimed: everything, one task to try it, or nothing until the time given. */
export type Allowance = { allow: 'all' } | { allow: 'probe' } | { allow: 'none'; until: number | null }

export const CLOSED_BREAKER: Breaker = Object.freeze({ row: [], openUntil: null, trips: 0, probe: null })

/** Takes one end of an attempt in. `counts` says which rows of failures may open it; default: any. */
export function afterAttempt(
  breaker: Breaker,
  news: BreakerNews,
  rules: BreakerRules,
  counts: (row: Breaker['row']) => boolean = () => true,
): Breaker {
  const probe = breaker.probe === news.taskId ? null : breaker.probe
  if (news.verdict === 'success') return CLOSED_BREAKER
  if (news.verdict === 'neutral') return { ...breaker, probe }
  const { taskId, project, kind, at } = news
  const row = [...breaker.row.filter((failure) => failure.taskId !== taskId), { taskId, project, kind, at }]
    .filter((failure) => at - failure.at <= rules.windowMs)
    .slice(-ROW_MAX)
  const failedProbe = breaker.openUntil !== null && breaker.probe === taskId
  // Agents that were at work when it opened may fail as well; they are no further proof.
  if (breaker.openUntil !== null && !failedProbe) return { ...breaker, row, probe }
  if (!failedProbe && !(row.length >= rules.failures && counts(row))) return { ...breaker, row, probe }
  const pauseMs = Math.min(rules.pauseMs * 2 ** breaker.trips, rules.maxPauseMs)
  return { row, openUntil: at + pauseMs, trips: breaker.trips + 1, probe: null }
}

/** The task was claimed while the breaker let one through. */
export function probing(breaker: Breaker, taskId: string): Breaker {
  return { ...breaker, probe: taskId }
}

/** Nothing is tried yet. An end further ahead than the longest pause is of a clock that was set back since. */
export function isPausing({ openUntil }: Breaker, now: number, { maxPauseMs }: BreakerRules): boolean {
  return openUntil !== null && now < openUntil && openUntil <= now + maxPauseMs
}

/** What the breaker allows now; `isRunning` tells whether its probe still is under way. */
export function allowance(
  breaker: Breaker,
  now: number,
  rules: BreakerRules,
  isRunning: (taskId: string) => boolean,
): Allowance {
  const { openUntil, probe } = breaker
  if (openUntil === null) return { allow: 'all' }
  if (isPausing(breaker, now, rules)) return { allow: 'none', until: openUntil }
  return probe !== null && isRunning(probe) ? { allow: 'none', until: null } : { allow: 'probe' }
}

/** One row of failures says something about the machine only if more than one project, or no agent at all, was reached. */
export function concernsFleet(row: Breaker['row']): boolean {
  return new Set(row.map(({ project }) => project)).size > 1 || row.every(({ kind }) => kind === 'start')
}

/** A breaker as it was stored; a closed one for anything else. */
export function readBreaker(value: unknown): Breaker {
  const stored = value as Partial<Breaker> | null | undefined
  if (typeof stored !== 'object' || stored === null || !Array.isArray(stored.row)) return CLOSED_BREAKER
  const { row, openUntil, trips, probe } = stored
  return {
    row: row.filter((failure) => typeof failure?.taskId === 'string' && typeof failure.at === 'number'),
    openUntil: typeof openUntil === 'number' ? openUntil : null,
    trips: typeof trips === 'number' ? trips : 0,
    probe: typeof probe === 'string' ? probe : null,
  }
}

const ROW_MAX = 20
