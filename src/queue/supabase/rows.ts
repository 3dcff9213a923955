import type { FinishReply, LeaseReply, ProjectLimits } from '../../core/task/queue.ts'
import { PERMISSION_MODES, TASK_STATUSES } from '../../core/task/task.ts'
import type { ListedTask, Task, TaskResult, TaskStatus } from '../../core/task/task.ts'
import type { Worker } from '../../core/task/worker.ts'

/**
 * Reads one answer of the database. Throws a plain Error that names what is wrong with it: whoever called turns
 * that into an answer that nobody can rely on.
 */
export function parseTask(value: unknown): Task {
  // Written by a worker and read by people: what it holds is never acted upon.
  const result = maybe(parseRow(value), 'result', (from, key) => from[key] as TaskResult)
  return { ...parseListedTask(value), result }
}

/** Reads a task of a list. */
export function parseListedTask(value: unknown): ListedTask {
  const row = parseRow(value)
  return {
    id: text(row, 'id'),
    project: text(row, 'project'),
    prompt: text(row, 'prompt'),
    role: maybe(row, 'role', text),
    model: maybe(row, 'model', text),
    priority: number(row, 'priority'),
    timeoutS: maybe(row, 'timeout_s', number),
    permissionMode: maybe(row, 'permission_mode', oneOf(PERMISSION_MODES)),
    allowedTools: texts(row, 'allowed_tools'),
    disallowedTools: texts(row, 'disallowed_tools'),
    dedupeKey: maybe(row, 'dedupe_key', text),
    dependsOn: texts(row, 'depends_on'),
    labels: texts(row, 'labels'),
    maxTokens: maybe(row, 'max_tokens', number),
    maxCostUsd: maybe(row, 'max_cost_usd', number),
    inPlace: maybe(row, 'in_place', flag),
    source: text(row, 'source'),
    onlyWorker: maybe(row, 'only_worker', text),
    status: oneOf(TASK_STATUSES)(row, 'status'),
    attempt: number(row, 'attempt'),
    worker: maybe(row, 'worker', text),
    failures: number(row, 'failures'),
    lostLeases: number(row, 'lost_leases'),
    scheduledAt: time(row, 'scheduled_at'),
    resumeWorker: maybe(row, 'resume_worker', text),
    resumeUntil: maybe(row, 'resume_until', time),
    claudeSessionId: maybe(row, 'claude_session_id', text),
    cancelRequested: flag(row, 'cancel_requested'),
    leaseExpiresAt: maybe(row, 'lease_expires_at', time),
    error: maybe(row, 'error', text),
    createdAt: time(row, 'created_at'),
    startedAt: maybe(row, 'started_at', time),
    finishedAt: maybe(row, 'finished_at', time),
  }
}

/** Reads what became of one lease. */
export function parseLeaseReply(value: unknown): LeaseReply {
  const row = parseRow(value)
  return {
    taskId: text(row, 'task_id'),
    attempt: number(row, 'attempt'),
    ok: flag(row, 'ok'),
    cancel: flag(row, 'cancel'),
    expiresAt: maybe(row, 'expires_at', time),
  }
}

/** Reads what became of one report. */
export function parseFinishReply(value: unknown): FinishReply {
  return oneOf([...TASK_STATUSES, 'duplicate', 'stale', 'not_yours', 'unknown'] as const)(
    parseRow(value),
    'reply',
  )
}

/** Reads one dependency. */
export function parseDependency(value: unknown): { id: string; status: TaskStatus } {
  const row = parseRow(value)
  return { id: text(row, 'id'), status: oneOf(TASK_STATUSES)(row, 'status') }
}

/** Reads what an insert answered. */
export function parseInserted(value: unknown): { task: Task; inserted: boolean } {
  const row = parseRow(value)
  return { task: parseTask(row['task']), inserted: flag(row, 'inserted') }
}

/** Reads one worker. Its row may be edited by hand: of a list what is no text, and of its projects what has no path, is left out. */
export function parseWorker(value: unknown): Worker {
  const row = parseRow(value)
  return {
    id: text(row, 'id'),
    host: maybe(row, 'host', text) ?? '',
    version: maybe(row, 'version', text) ?? '',
    capacity: maybe(row, 'capacity', number) ?? 0,
    running: number(row, 'running'),
    roles: row['roles'] === null ? null : textsIn(row['roles']),
    labels: textsIn(row['labels']),
    projects: Object.fromEntries(Object.entries(row['projects'] ?? {}).filter(isOfTexts)),
    draining: flag(row, 'draining'),
    seenAt: time(row, 'seen_at'),
    silentMs: number(row, 'silent_ms'),
  }
}

/** Reads the limits of one project. */
export function parseLimits(value: unknown): ProjectLimits {
  const row = parseRow(value)
  return {
    name: text(row, 'name'),
    maxRunning: maybe(row, 'max_running', number),
    paused: flag(row, 'paused'),
  }
}

/** Reads a list of which `parse` reads each. */
export function parseList<T>(parse: (value: unknown) => T): (value: unknown) => T[] {
  return (value) => {
    if (!Array.isArray(value)) throw new Error(`it is ${typeof value} and no list`)
    return value.map(parse)
  }
}

/** Reads a word that must be one of these. */
export function parseWord<W extends string>(words: readonly W[]): (value: unknown) => W {
  return (value) => oneOf(words)({ word: value }, 'word')
}

/** Reads any word. */
export function parseText(value: unknown): string {
  return text({ word: value }, 'word')
}

/** Reads a whole number. */
export function parseCount(value: unknown): number {
  return number({ count: value }, 'count')
}

type Row = Record<string, unknown>

function parseRow(value: unknown): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('it is no row')
  return value as Row
}

function maybe<T>(row: Row, key: string, read: (row: Row, key: string) => T): T | null {
  return row[key] === null ? null : read(row, key)
}

function text(row: Row, key: string): string {
  const value = row[key]
  if (typeof value !== 'string') throw new Error(`${key} is no text`)
  return value
}

function texts(row: Row, key: string): string[] {
  const value = row[key]
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string'))
    throw new Error(`${key} is no list of texts`)
  return value
}

function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}

function isOfTexts(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === 'string'
}

function flag(row: Row, key: string): boolean {
  const value = row[key]
  if (typeof value !== 'boolean') throw new Error(`${key} is neither true nor false`)
  return value
}

/** A number, also where it comes as text to keep all of its digits. */
function number(row: Row, key: string): number {
  const value = row[key]
  const read = typeof value === 'string' && value !== '' ? Number(value) : value
  if (typeof read !== 'number' || !Number.isFinite(read)) throw new Error(`${key} is no number`)
  return read
}

/** Milliseconds since 1970 of ISO 8601, also with a space for the T and an offset of hours only. */
function time(row: Row, key: string): number {
  const iso = text(row, key)
    .replace(' ', 'T')
    .replace(/([+-]\d\d)$/, '$1:00')
  const at = Date.parse(iso)
  if (Number.isNaN(at)) throw new Error(`${key} is no time`)
  return Math.round(at)
}

function oneOf<W extends string>(words: readonly W[]): (row: Row, key: string) => W {
  return (row, key) => {
    const value = row[key]
    const word = words.find((one) => one === value)
    if (word === undefined) throw new Error(`${key} is none of ${words.join(', ')}`)
    return word
  }
}
