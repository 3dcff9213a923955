import type { Entry } from './ledger.ts'

/** What is left when everything is over; read by the test, from outside the daemon. */
export type Remains = {
  /** Tasks that were accepted, and when by the ledger's clock. */
  accepted: { id: string; at: number }[]
  tasks: { id: string; status: string }[]
  /** Stored events that carry a `seq`, oldest first. */
  events: { task: string; attempt: number; seq: number }[]
  /** How many events an attempt lost, as the record tells. */
  lost: { task: string; attempt: number; count: number }[]
  /** Attempts that are neither settled nor reported. */
  openAttempts: number
  /** Outcomes that were not delivered. */
  undelivered: number
  /** What `PRAGMA integrity_check` says. */
  integrity: string
  /** Processes of agents that still live. */
  processes: number[]
}

/** What was done to the daemon's disk, and may honestly have cost something. Times are of the ledger's clock. */
export type Damage = {
  /** It could not be written: an event that was sent in this time may be missing where the record counts it as lost. */
  troubles?: { from: number; until: number }[]
  /**
   * When the database itself was destroyed: what was accepted before may be gone, with its outcome and its events.
   * It may not run again, twice at once, or leave anything behind.
   */
  destroyedAt?: number
}

const FINAL = new Set(['succeeded', 'failed', 'cancelled', 'dead'])

/**
 * What is wrong, one sentence each; nothing: the run was right. Pure. The ledger decides who ran when and what was
 * said; the daemon's tables are only asked what it made of that. Of `poisoned` tasks nobody can say what they told.
 */
export function judge(
  ledger: Entry[],
  remains: Remains,
  poisoned: string[] = [],
  { troubles = [], destroyedAt = -Infinity }: Damage = {},
): string[] {
  const faults: string[] = []
  const say = (sentence: string) => faults.push(sentence)
  const mayBeGone = new Set(remains.accepted.flatMap(({ id, at }) => (at < destroyedAt ? [id] : [])))
  for (const { id, status } of remains.tasks) if (!FINAL.has(status)) say(`task ${id} is ${status}`)
  const there = new Set(remains.tasks.map(({ id }) => id))
  for (const { id } of remains.accepted)
    if (!there.has(id) && !mayBeGone.has(id)) say(`task ${id} was accepted and is gone`)
  for (const [task, entries] of groupBy(ledger, ({ task }) => task)) {
    judgeTurns(task, entries, say)
    if (poisoned.includes(task)) continue
    judgeSuccess(task, entries, remains.tasks.find(({ id }) => id === task)?.status, mayBeGone.has(task), say)
    for (const [attempt, own] of groupBy(entries, ({ attempt }) => attempt)) {
      const stored = storedOf(remains, task, attempt)
      const missing = missingOf(own, stored)
      const counted = remains.lost.find((lost) => lost.task === task && lost.attempt === attempt)?.count ?? 0
      const isExcused = missing.every(({ at }) =>
        troubles.some(({ from, until }) => at >= from && at <= until),
      )
      if (!mayBeGone.has(task) && (missing.length > counted || !isExcused))
        say(
          `task ${task}, attempt ${attempt}: the events ${missing.map(({ seq }) => seq).join(' ')} were sent and are not stored; ${counted} count as lost`,
        )
      const given = new Set(own.flatMap((entry) => (entry.kind === 'sending' ? [entry.seq] : [])))
      if (counted > [...given].filter((seq) => !stored.includes(seq)).length)
        say(`task ${task}, attempt ${attempt}: ${counted} events count as lost, more than are missing`)
      judgeEvents(`task ${task}, attempt ${attempt}`, own, stored, say)
    }
  }
  for (const { id, status } of remains.tasks)
    if (
      status === 'succeeded' &&
      !poisoned.includes(id) &&
      !ledger.some((entry) => entry.task === id && (isSuccess(entry) || isSaying(entry)))
    )
      say(`task ${id} is succeeded, and no agent said so`)
  if (remains.openAttempts > 0) say(`${remains.openAttempts} attempts are open`)
  if (remains.undelivered > 0) say(`${remains.undelivered} outcomes were not delivered`)
  if (remains.integrity !== 'ok') say(`the database is damaged: ${remains.integrity}`)
  if (remains.processes.length > 0) say(`processes are left: ${remains.processes.join(' ')}`)
  return faults
}

function judgeSuccess(
  task: string,
  entries: Entry[],
  status: string | undefined,
  mayBeGone: boolean,
  say: (text: string) => void,
) {
  if (status === undefined && !mayBeGone) say(`task ${task} is gone`)
  const successes = entries.filter(isSuccess)
  if (successes.length > 1) say(`task ${task} succeeded ${successes.length} times`)
  if (successes.length === 1 && status !== undefined && status !== 'succeeded' && status !== 'cancelled')
    say(`task ${task} is ${status}, and an agent said that it is done`)
}

/** One attempt at a time, and one agent an attempt. */
function judgeTurns(task: string, entries: Entry[], say: (text: string) => void) {
  for (const entry of entries)
    if (entry.kind === 'lock_failed') say(`task ${task}: its lock was held by ${entry.holder}`)
  const attempts = [...groupBy(entries, ({ attempt }) => attempt).values()].map((own) => ({
    attempt: own[0]?.attempt ?? 0,
    from: own[0]?.at ?? 0,
    until: own.at(-1)?.at ?? 0,
    agents: own.filter(({ kind }) => kind === 'start').length,
  }))
  for (const { attempt, agents } of attempts)
    if (agents > 1) say(`task ${task}, attempt ${attempt}: ${agents} agents were started`)
  // In the order in which they were first heard of; one that was killed was last heard of before that.
  for (const [index, one] of attempts.entries())
    for (const other of attempts.slice(index + 1)) {
      if (one.from < other.until && other.from < one.until)
        say(`task ${task}: the attempts ${one.attempt} and ${other.attempt} overlap`)
      if (other.attempt < one.attempt)
        say(`task ${task}: attempt ${other.attempt} began after ${one.attempt}`)
    }
}

/** What was sent and is not stored, with the time it was sent. */
function missingOf(own: Entry[], stored: number[]): { seq: number; at: number }[] {
  return own.flatMap((entry) =>
    entry.kind === 'sent' && !stored.includes(entry.seq) ? [{ seq: entry.seq, at: entry.at }] : [],
  )
}

function judgeEvents(name: string, own: Entry[], stored: number[], say: (text: string) => void) {
  const given = new Set(own.flatMap((entry) => (entry.kind === 'sending' ? [entry.seq] : [])))
  const strange = stored.filter((seq) => !given.has(seq))
  if (strange.length > 0) say(`${name}: the events ${strange.join(' ')} are stored and were never sent`)
  if (new Set(stored).size < stored.length) say(`${name}: an event is stored twice`)
  if (stored.some((seq, index) => seq < (stored[index - 1] ?? 0))) say(`${name}: its events are out of order`)
}

/** Its hook may have failed, or it was killed before it could note more: its transcript says so all the same. */
function isSaying(entry: Entry): boolean {
  return entry.kind === 'saying' && entry.outcome === 'done'
}

function isSuccess(entry: Entry): boolean {
  return entry.kind === 'outcome' && entry.outcome === 'done'
}

function storedOf({ events }: Remains, task: string, attempt: number): number[] {
  return events.filter((event) => event.task === task && event.attempt === attempt).map(({ seq }) => seq)
}

function groupBy<T, K>(items: T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}
