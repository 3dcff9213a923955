import { toHookPayload, type HookEvent } from '../core/agent/hook-event.ts'
import { columnsOf, type EventColumns, type EventKind, type RecordedEvent } from '../core/record/hook-kind.ts'
import type { Lease } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { Database } from './database.ts'

/** A hook event before it is stored. `fileName` is its identity: its spool file's name, unique for ever. */
export type NewHookEvent = Omit<HookEvent, 'id'> & {
  fileName: string
  /** What is stored of it, where that is not simply its payload: redacted, bounded. */
  record?: {
    /** JSON of an object. */
    text: string
    columns: EventColumns
    size: number
    truncated: boolean
    sha256: string | null
    suspect: RecordedEvent['suspect']
  }
}

/** Which events of a task: those with an id above `afterId`; what is left out does not matter. */
export type TaskEventFilter = {
  afterId?: number
  limit: number
  /** Claude Code's hook_event_name. */
  name?: string | undefined
  /** A kind, or a phase of tool events. */
  kind?: string | undefined
  tool?: string | undefined
  /** By `at`, ms since 1970: from `since`, before `until`. */
  since?: number | undefined
  until?: number | undefined
}

/** The record of what Claude Code's hooks reported. */
export type HookEvents = {
  /** Stores all of them or none; those whose file name is known are left out. Returns the new ones as given, in order. */
  insertBatch: (events: readonly NewHookEvent[]) => HookEvent[]
  /** Events of a task that pass the filter, oldest first; fewer where they are large together: 8 MB. */
  ofTask: (taskId: string, filter: TaskEventFilter) => RecordedEvent[]
  /** Events with a greater id, oldest first; `taskId` null: of all tasks. */
  after: (id: number, taskId: string | null, limit: number) => RecordedEvent[]
  /** Events of one attempt, oldest first, read in steps: they may be many and large. */
  ofAttempt: (lease: Lease) => Iterable<RecordedEvent>
  /** Sessions that this attempt was in, as it told itself. */
  sessionsOf: (lease: Lease) => string[]
  /** How many events of this attempt could not be written, as far as is known. */
  lostOf: (lease: Lease) => number
  /**
   * How many events were stored of names nobody knows, could not be read, or were lost, of all tasks. An agent can make
   * up names: few are told, cut, those that most tasks tell of first; `unknown_others` are the events of all others.
   */
  oddOnes: () => {
    unknown: Record<string, number>
    unknown_others: number
    unreadable: number
    lost: number
  }
  /** The newest event's id; 0 when there is none. */
  lastId: () => number
}

type Row = {
  id: number
  task_id: string
  attempt: number
  session: string | null
  hook_event_name: string
  at: number
  payload: string
  agent_id: string | null
  kind: string
  phase: string | null
  tool: string | null
  tool_use_id: string | null
  path: string | null
  started: number
  duration_ms: number | null
  exit_code: number | null
  detail: string | null
  size: number
  truncated: number
  sha256: string | null
  suspect: string | null
}

/** In the order of `valuesOf`. */
const WRITTEN = [
  'file_name',
  'task_id',
  'attempt',
  'session',
  'hook_event_name',
  'at',
  'payload',
  'agent_id',
  'kind',
  'phase',
  'tool',
  'tool_use_id',
  'path',
  'started',
  'duration_ms',
  'exit_code',
  'detail',
  'size',
  'truncated',
  'sha256',
  'suspect',
] as const satisfies ('file_name' | keyof Row)[]
const COLUMNS = `id, ${WRITTEN.slice(1).join(', ')}`

/** Nothing is redacted: for tests and tools that store what is known to be harmless. */
const PLAIN: Pick<Redactor, 'value'> = { value: (value) => value }

/** Hook events on the local database; what comes without a `record` of its own is redacted here. */
export function createHookEvents(db: Database, redactor: Pick<Redactor, 'value'> = PLAIN): HookEvents {
  const insert = db.prepareInsert(
    `INSERT INTO hook_events (${WRITTEN.join(', ')}) VALUES (${WRITTEN.map(() => '?').join(', ')})
     ON CONFLICT (file_name) DO NOTHING`,
  )
  const ofTask = db.prepare<{ taskId: string; id: number; limit: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events WHERE task_id = :taskId AND id > :id ORDER BY id LIMIT :limit`,
  )
  const ofTaskFiltered = db.prepare<
    { taskId: string; id: number; limit: number } & Record<
      'name' | 'kind' | 'tool' | 'since' | 'until',
      string | number | null
    >,
    Row
  >(
    `SELECT ${COLUMNS} FROM hook_events WHERE id IN (
       SELECT id FROM (
         SELECT id, row_number() OVER in_turn AS place, sum(bytes) OVER in_turn AS bytes FROM (
           SELECT id, octet_length(payload) AS bytes FROM hook_events
           WHERE task_id = :taskId AND id > :id AND (:name IS NULL OR hook_event_name = :name)
             AND (:kind IS NULL OR kind = :kind OR phase = :kind) AND (:tool IS NULL OR tool = :tool)
             AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
           ORDER BY id LIMIT :limit)
         WINDOW in_turn AS (ORDER BY id ROWS UNBOUNDED PRECEDING))
       WHERE place = 1 OR bytes <= 8000000) ORDER BY id`,
  )
  const ofAttempt = db.prepare<{ taskId: string; attempt: number; id: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events
     WHERE task_id = :taskId AND attempt = :attempt AND id > :id ORDER BY id LIMIT 100`,
  )
  const all = db.prepare<{ id: number; limit: number }, Row>(
    `SELECT ${COLUMNS} FROM hook_events WHERE id > :id ORDER BY id LIMIT :limit`,
  )
  const lastId = db.prepare<Record<string, never>, { id: number }>(
    'SELECT coalesce(max(id), 0) AS id FROM hook_events',
  )

  const sessions = db.prepare<Lease, { session: string }>(
    `SELECT DISTINCT session FROM hook_events
     WHERE task_id = :taskId AND attempt = :attempt AND kind IN ('session_start', 'prompt_submitted') AND suspect IS NULL AND session IS NOT NULL`,
  )
  const lost = db.prepare<Lease, { lost: number }>(
    `SELECT coalesce(sum(payload ->> '$.lost'), 0) AS lost FROM hook_events
     WHERE task_id = :taskId AND attempt = :attempt AND kind = 'events_lost' AND suspect IS NULL`,
  )
  const odd = db.prepare<Record<string, never>, { kind: string; count: number; lost: number }>(
    `SELECT kind, count(*) AS count,
       coalesce(sum(payload ->> '$.lost') FILTER (WHERE suspect IS NULL), 0) AS lost
     FROM hook_events INDEXED BY hook_events_odd
     WHERE kind IN ('unknown', 'unreadable', 'events_lost') GROUP BY kind`,
  )
  // Its first condition is that of the index, which SQLite wants word for word.
  const unknown = db.prepare<Record<string, never>, { name: string; count: number }>(
    `SELECT substr(hook_event_name, 1, 60) AS name, count(*) AS count
     FROM hook_events INDEXED BY hook_events_odd
     WHERE kind IN ('unknown', 'unreadable', 'events_lost') AND kind = 'unknown'
     GROUP BY 1 ORDER BY count(DISTINCT task_id) DESC, count(*) DESC, name LIMIT 20`,
  )

  return {
    insertBatch(events) {
      const ids = insert(events.map((event) => valuesOf(event, redactor)))
      return events.flatMap((event, index) => {
        const id = ids[index] ?? null
        if (id === null) return []
        const { taskId, attempt, claudeSessionId, hookEventName, at, payload } = event
        return [{ id, taskId, attempt, claudeSessionId, hookEventName, at, payload }]
      })
    },
    ofTask: (taskId, { afterId = 0, limit, name, kind, tool, since, until }) =>
      ofTaskFiltered
        .all({
          taskId,
          id: afterId,
          limit,
          name: name ?? null,
          kind: kind ?? null,
          tool: tool ?? null,
          since: since ?? null,
          until: until ?? null,
        })
        .map(toRecorded),
    after: (id, taskId, limit) =>
      (taskId === null ? all.all({ id, limit }) : ofTask.all({ taskId, id, limit })).map(toRecorded),
    *ofAttempt({ taskId, attempt }) {
      for (let id = 0; ;) {
        const rows = ofAttempt.all({ taskId, attempt, id })
        for (const row of rows) yield toRecorded(row)
        const last = rows.at(-1)
        if (last === undefined) return
        id = last.id
      }
    },
    sessionsOf: ({ taskId, attempt }) => sessions.all({ taskId, attempt }).map(({ session }) => session),
    lostOf: ({ taskId, attempt }) => lost.get({ taskId, attempt })?.lost ?? 0,
    oddOnes: () => {
      const ofKind = new Map(odd.all({}).map((row) => [row.kind, row]))
      const named = unknown.all({})
      const told = named.reduce((sum, { count }) => sum + count, 0)
      return {
        unknown: Object.fromEntries(named.map(({ name, count }) => [name, count])),
        unknown_others: (ofKind.get('unknown')?.count ?? 0) - told,
        unreadable: ofKind.get('unreadable')?.count ?? 0,
        lost: ofKind.get('events_lost')?.lost ?? 0,
      }
    },
    lastId: () => lastId.get({})?.id ?? 0,
  }
}

/** As in `WRITTEN`. */
function valuesOf(event: NewHookEvent, redactor: Pick<Redactor, 'value'>): (string | number | null)[] {
  const given = event.record
  const payload = given === undefined ? redactor.value(event.payload) : event.payload
  const text = given?.text ?? JSON.stringify(payload)
  const columns = given?.columns ?? columnsOf(payload, event.at, null)
  return [
    event.fileName,
    event.taskId,
    event.attempt,
    event.claudeSessionId,
    event.hookEventName,
    event.at,
    text,
    columns.agentId,
    columns.kind,
    columns.phase,
    columns.tool,
    columns.toolUseId,
    columns.path,
    columns.started,
    columns.durationMs,
    columns.exitCode,
    columns.detail === null ? null : JSON.stringify(columns.detail),
    given?.size ?? text.length,
    given?.truncated === true ? 1 : 0,
    given?.sha256 ?? null,
    given?.suspect ?? null,
  ]
}

function toRecorded(row: Row): RecordedEvent {
  return {
    id: row.id,
    taskId: row.task_id,
    attempt: row.attempt,
    claudeSessionId: row.session,
    hookEventName: row.hook_event_name,
    at: row.at,
    payload: toHookPayload(JSON.parse(row.payload) as object),
    agentId: row.agent_id,
    kind: row.kind as EventKind,
    phase: row.phase as RecordedEvent['phase'],
    tool: row.tool,
    toolUseId: row.tool_use_id,
    path: row.path,
    started: row.started,
    durationMs: row.duration_ms,
    exitCode: row.exit_code,
    detail: row.detail === null ? null : (JSON.parse(row.detail) as RecordedEvent['detail']),
    size: row.size,
    truncated: row.truncated === 1,
    sha256: row.sha256,
    suspect: row.suspect as RecordedEvent['suspect'],
  }
}
