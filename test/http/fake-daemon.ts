import { CcmError } from '../../src/core/errors.ts'
import { pino } from 'pino'
import type { StateChange } from '../../src/core/agent/attempt.ts'
import { columnsOf, type RecordedEvent } from '../../src/core/record/hook-kind.ts'
import { LOCAL, SCOPES, type ApiKey, type Principal } from '../../src/core/principal.ts'
import { placeOf, type TaskPlace, type TaskQuery } from '../../src/core/task/task-list.ts'
import { PLAIN_TASK, type ListedTask, type Task } from '../../src/core/task/task.ts'
import type { AuditEntry } from '../../src/core/audit.ts'
import type { Idempotency, KeptReply } from '../../src/store/idempotency.ts'
import type { ApiKeys } from '../../src/store/api-keys.ts'
import type { AppDeps, EventQuery, Notice, TaskView } from '../../src/http/deps.ts'
import { createFakeInbox, fakeTemplates, fakeWebhooks } from './fake-inbox.ts'
import { createFakeProjects } from './fake-projects.ts'
import { createFakeSchedules } from './fake-schedules.ts'

export const TOKEN = 'right-token'
export const PORT = 8765

/** Who each credential of the fake daemon is: the local administrator, and one key for each scope. */
const CREDENTIALS: Record<string, Principal> = {
  [TOKEN]: LOCAL,
  ...Object.fromEntries(
    SCOPES.map((scope) => [
      `${scope}-key`,
      {
        kind: 'key',
        id: scope,
        scopes: [scope],
        projects: scope === 'admin' ? null : ['app'],
      } satisfies Principal,
    ]),
  ),
  // Made before admin was over all projects only.
  'half-admin-key': { kind: 'key', id: 'half', scopes: ['admin'], projects: ['app'] },
  'foreign-key': { kind: 'key', id: 'foreign', scopes: SCOPES.slice(0, 3), projects: ['other'] },
}

/** A daemon of arrays behind the HTTP side's ports. Override what a test is about. */
export function createFakeDaemon(overrides: Partial<AppDeps> = {}) {
  const tasks = new Map<string, TaskView>()
  const events: RecordedEvent[] = []
  const changes: StateChange[] = []
  const listeners = new Set<(notice: Notice) => void>()
  const calls: unknown[][] = []
  const log: string[] = []
  const audits: Omit<AuditEntry, 'id'>[] = []
  const tell = (notice: Notice) => listeners.forEach((listener) => listener(notice))
  const after = <T extends { id: number; taskId: string }>(rows: T[], query: EventQuery) =>
    rows
      .filter((row) => row.id > query.after && (query.taskId === null || row.taskId === query.taskId))
      .slice(0, query.limit)
  const note = <T>(name: string, reply: T) => {
    return async (...args: unknown[]) => {
      calls.push([name, ...args])
      return reply
    }
  }
  const deps: AppDeps = {
    authenticate: async (given) => CREDENTIALS[given] ?? 'refused',
    names: { port: () => PORT, public: ['ccm.example'] },
    rate: 1000,
    clock: Date.now,
    logger: pino({ level: 'info' }, { write: (line) => void log.push(line) }),
    tasks: {
      async insert(request) {
        calls.push(['insert', request])
        const view = taskView(`task-${tasks.size + 1}`, { prompt: request.prompt })
        tasks.set(view.task.id, view)
        return { view, inserted: true, notices: [] }
      },
      get: async (id) => tasks.get(id) ?? null,
      row: async (id) => tasks.get(id)?.task ?? null,
      viewOf: async (task) => tasks.get(task.id) ?? taskView(task.id, task),
      idsByPrefix: async (prefix, projects) =>
        [...tasks.values()]
          .filter(({ task }) => task.id.startsWith(prefix) && (projects?.includes(task.project) ?? true))
          .map(({ task }) => task.id)
          .slice(0, 2),
      list: async (query) => listedOf([...tasks.values()], query),
      async countsOf(projects) {
        const own = [...tasks.values()].filter(({ task }) => projects.includes(task.project))
        const running = own.filter(({ task }) => task.status === 'running')
        const byWorker = Map.groupBy(running, ({ task }) => task.worker ?? '')
        return {
          queued: own.filter(({ task }) => task.status === 'queued').length,
          running: running.length,
          byWorker: new Map([...byWorker].map(([worker, { length }]) => [worker, length])),
        }
      },
      cancel: note('cancel', 'cancelled'),
      retry: note('retry', 'queued'),
      approve: note('approve', 'done'),
      deny: note('deny', 'done'),
      send: note('send', 'done'),
      cancelWaits: () => false,
      screen: note('screen', 'hello'),
    },
    work: {
      diff: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
      apply: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
      discard: async (id) => Promise.reject(new CcmError('CONFLICT', `Task ${id} worked in place.`)),
    },
    events: async (query) =>
      after(events, query).filter((event) => query.name === undefined || event.hookEventName === query.name),
    changes: async (query) => after(changes, query),
    lastIds: async () => ({ hookEventId: events.at(-1)?.id ?? 0, stateChangeId: changes.at(-1)?.id ?? 0 }),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    record: {
      timeline: async () => ({
        tools: [],
        files: [],
        fileCount: 0,
        longest: [],
        waits: [],
        waitedMs: 0,
        lostEvents: 0,
      }),
      search: async (filter) => {
        calls.push(['search', filter])
        return []
      },
    },
    rules: { of: async () => [], change: note('changeRules', undefined) },
    projects: createFakeProjects((...call) => void calls.push(call)),
    schedules: createFakeSchedules(
      (id) => taskView(id, {}),
      (...call) => void calls.push(call),
    ),
    status: async () => ({
      pid: 1,
      port: PORT,
      home: '/home/ccm',
      version: '0.1.0',
      uptime_s: 1,
      agents: 0,
      max_concurrent: 10,
      queued: 0,
      running: 0,
      holds: [],
      tmux: 'ok',
      worker: 'local',
      tmux_socket: '/home/ccm/tmux/socket',
      claude: { path: '/bin/claude', version: '2.1.328' },
      kept_by: null,
      shared: null,
      events: { unknown: {}, unknown_others: 0, unreadable: 0, lost: 0 },
      found_at_start: [],
    }),
    health: async () => ({ status: 'ok', database: 'ok', tmux: 'ok' }),
    inbox: createFakeInbox(),
    templates: fakeTemplates(),
    webhooks: fakeWebhooks(),
    keys: createKeysInMemory(),
    idempotency: createIdempotencyInMemory(),
    audit: (entry) => void audits.push(entry),
    audits: async () => [],
    scrape: async () => ({ type: 'text/plain', text: '' }),
    worker: 'worker-1',
    rightsOf: () => ({ permissionMode: 'acceptEdits', allowedTools: ['Bash(npm test:*)'] }),
    agents: async () => [],
    workers: async () => [
      {
        id: 'worker-1',
        host: 'h',
        version: '0.1.0',
        capacity: 10,
        running: 0,
        roles: null,
        labels: [],
        projects: { app: '/app', other: '/other' },
        draining: false,
        seenAt: 0,
        silentMs: 0,
      },
    ],
    systems: async () => [{ id: 'local', queued: 0, running: 0 }],
    usage: async () => [],
    incidents: async () => [],
    isSecretOf: () => false,
    askPermission: async () => ({}),
    shutdown: (agents) => void calls.push(['shutdown', agents]),
    ...overrides,
  }
  return {
    deps,
    calls,
    log,
    audits,
    listeners,
    addTask: (id: string, changed: Partial<Task> = {}) => {
      tasks.set(id, taskView(id, changed))
      tell({ kind: 'task', taskId: id })
    },
    addHook: (taskId: string, hookEventName: string, at = events.length) => {
      const id = events.length + 1
      const columns = columnsOf({}, at, null)
      const event = { id, taskId, attempt: 1, claudeSessionId: null, hookEventName, at, payload: {} }
      events.push({ ...event, ...columns, size: 2, truncated: false, sha256: null, suspect: null })
      tell({ kind: 'hook', taskId })
    },
    addChange: (taskId: string, to: StateChange['to'], at = changes.length) => {
      const id = changes.length + 1
      const rest = { cue: 'cue', reason: 'why', source: 'hook', evidence: '' } as const
      changes.push({ id, taskId, attempt: 1, at, from: 'unknown', to, ...rest })
      tell({ kind: 'state', taskId })
    },
  }
}

/** What a queue would answer of these tasks, by the order and the places of its contract. */
export function listedOf<T extends { task: ListedTask }>(all: readonly T[], query: TaskQuery): T[] {
  const { status, projects, sort = '-created_at', after, limit } = query
  const way = sort.startsWith('-') ? -1 : 1
  // They were added in this order, whatever their ids are.
  const ages = all.map(({ task }) => task.id)
  const order = (a: TaskPlace, b: TaskPlace): number => {
    const key = (a.key ?? 0) - (b.key ?? 0)
    return way * (key === 0 ? ages.indexOf(a.id) - ages.indexOf(b.id) : key)
  }
  const placed = all.map((view) => ({ view, place: placeOf(view.task, sort) }))
  return placed
    .filter(({ view: { task } }) => status === undefined || task.status === status)
    .filter(({ view: { task } }) => projects === undefined || projects.includes(task.project))
    .filter(({ view: { task } }) => !sort.endsWith('priority') || task.status === 'queued')
    .filter(({ place }) => !sort.endsWith('finished_at') || place.key !== null)
    .filter(({ place }) => after === undefined || order(place, after) > 0)
    .sort((a, b) => order(a.place, b.place))
    .slice(0, limit)
    .map(({ view }) => view)
}

/** Headers of a rightful request to the fake daemon. */
export function rightful(more: Record<string, string> = {}): Record<string, string> {
  return { host: `127.0.0.1:${PORT}`, authorization: `Bearer ${TOKEN}`, ...more }
}

/** A task with these columns, and no agent. */
export function taskView(id: string, changed: Partial<Task>): TaskView {
  const task: Task = {
    id,
    project: 'app',
    prompt: 'Do it.',
    ...PLAIN_TASK,
    source: 'api',
    status: 'queued',
    attempt: 0,
    worker: null,
    failures: 0,
    lostLeases: 0,
    scheduledAt: 0,
    resumeWorker: null,
    resumeUntil: null,
    claudeSessionId: null,
    cancelRequested: false,
    leaseExpiresAt: null,
    result: null,
    error: null,
    createdAt: 0,
    startedAt: null,
    finishedAt: null,
    ...changed,
  }
  const agent = {
    state: null,
    reason: null,
    dir: null,
    window: null,
    claudeSessionId: null,
    waitingFor: null,
    tokens: null,
    workspace: null,
  }
  return { task, agent }
}

/** API keys that end with the test. */
export function createKeysInMemory(): ApiKeys {
  const rows = new Map<string, { key: ApiKey; hash: string }>()
  const revokedUsers = new Map<string, number>()
  return {
    insert: (key, hash) => void rows.set(key.id, { key, hash }),
    byId: (id) => rows.get(id) ?? null,
    list: () => [...rows.values()].map(({ key }) => key),
    revoke(id, at) {
      const row = rows.get(id)
      if (row !== undefined) rows.set(id, { ...row, key: { ...row.key, revokedAt: row.key.revokedAt ?? at } })
      return row !== undefined
    },
    used: () => undefined,
    revokeUser: (id, at) => void revokedUsers.set(id, at),
    userRevokedAt: (id) => revokedUsers.get(id) ?? null,
  }
}

/** Kept replies that end with the test. */
export function createIdempotencyInMemory(): Idempotency {
  const rows = new Map<string, { print: string; reply: KeptReply }>()
  return {
    find(caller, key, print) {
      const row = rows.get(`${caller}\n${key}`)
      return row === undefined ? 'new' : row.print === print ? row.reply : 'different'
    },
    keep: (caller, key, print, reply) => void rows.set(`${caller}\n${key}`, { print, reply }),
  }
}
