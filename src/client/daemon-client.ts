import { CcmError, type ErrorCode } from '../core/errors.ts'
import type { TaskSort } from '../core/task/task-list.ts'
import type { TaskStatus } from '../core/task/task.ts'
import type { BroadcastBody, BroadcastJson } from '../protocol/answer.ts'
import type { AuditJson } from '../protocol/audit.ts'
import type { WorkerJson } from '../protocol/fleet.ts'
import type { IncidentJson } from '../protocol/incident.ts'
import type { NewTemplateBody, TemplateBody, TemplateJson } from '../protocol/template.ts'
import type { InboxEntryJson } from '../protocol/inbox.ts'
import type { CancelJson, RetryJson } from '../protocol/cancel-retry.ts'
import type { HealthJson, ShutdownJson, StatusJson } from '../protocol/daemon.ts'
import type { HookEventJson } from '../protocol/hook-event.ts'
import type { NewTaskBody } from '../protocol/new-task.ts'
import type { ProblemJson } from '../protocol/problem.ts'
import type { ResultJson } from '../protocol/result.ts'
import type { ExplainJson } from '../protocol/state-change.ts'
import type { NewTaskJson, ScreenJson, TaskJson, TaskSummaryJson } from '../protocol/task.ts'
import type { ProjectChangesBody, ProjectJson } from '../protocol/project.ts'
import type { SearchHitJson, TimelineJson } from '../protocol/records.ts'
import type { PermissionRuleJson, RuleChangesBody } from '../protocol/rules.ts'
import type { NewScheduleBody, ScheduleJson } from '../protocol/schedule.ts'
import type { KeyJson, NewKeyBody, NewKeyJson, RevokedUserJson } from '../protocol/key.ts'
import type { ApplyHow } from '../core/task/workspace.ts'
import type { AppliedJson, DiffJson, DiscardedJson } from '../protocol/workspace.ts'
import { PAGE_MAX } from '../protocol/list.ts'
import { readLiveEvents, type LiveMessage, type LiveOptions } from './live-events.ts'

/**
 * The daemon's API as functions. Ids may be unique prefixes. A refusal throws a CcmError with the daemon's own
 * code, message and remedy; no daemon throws DAEMON_UNREACHABLE.
 */
export type DaemonClient = {
  /** Needs no token. */
  health: () => Promise<HealthJson>
  status: () => Promise<StatusJson>
  /** On all machines. */
  workers: () => Promise<WorkerJson[]>
  /** `inserted` false: a living task has this dedupe key, and this is that task. */
  createTask: (body: NewTaskBody) => Promise<{ task: NewTaskJson; inserted: boolean }>
  /** Newest first; 50 unless told. */
  tasks: (filter?: {
    status?: TaskStatus
    project?: string
    before?: string
    sort?: TaskSort
    limit?: number
  }) => Promise<TaskSummaryJson[]>
  task: (id: string) => Promise<TaskJson>
  /** Oldest first with ids above `after`; 1000 unless told, 5000 at most. */
  events: (id: string, filter?: EventsQuery) => Promise<HookEventJson[]>
  timeline: (id: string) => Promise<TimelineJson>
  /** Newest first; `since` as ISO 8601. 20 unless told, 200 at most. */
  search: (
    text: string,
    filter?: { project?: string; since?: string; limit?: number },
  ) => Promise<SearchHitJson[]>
  explain: (id: string) => Promise<ExplainJson>
  result: (id: string) => Promise<ResultJson>
  screen: (id: string) => Promise<ScreenJson>
  cancel: (id: string, reason?: string) => Promise<CancelJson>
  /** Throws CONFLICT when it runs, has succeeded or cannot be retried. */
  retry: (id: string) => Promise<RetryJson>
  /** What a task changed, as a patch or its `--stat`. This and the next two throw CONFLICT with what helps. */
  diff: (id: string, stat?: boolean) => Promise<DiffJson>
  apply: (id: string, how: ApplyHow) => Promise<AppliedJson>
  discard: (id: string) => Promise<DiscardedJson>
  /** The three answers to a waiting agent throw CONFLICT when it does not wait for one. */
  /** `ask`, here and below: the id of what is answered, `waiting_for.id`. */
  approve: (id: string, ask?: string) => Promise<TaskJson>
  deny: (id: string, reason?: string, ask?: string) => Promise<TaskJson>
  send: (id: string, text: string, ask?: string) => Promise<TaskJson>
  /** To every agent that works or waits; tells of each whether it was delivered. */
  sendToAll: (body: BroadcastBody) => Promise<BroadcastJson>
  projects: () => Promise<ProjectJson[]>
  project: (name: string) => Promise<ProjectJson>
  addProject: (project: { dir: string; name?: string; trust?: boolean }) => Promise<ProjectJson>
  /** Changes what is named, all at once. */
  updateProject: (name: string, changes: ProjectChangesBody) => Promise<ProjectJson>
  /** Throws CONFLICT while tasks of it are alive. */
  removeProject: (name: string) => Promise<ProjectJson>
  trustProject: (name: string) => Promise<ProjectJson>
  rules: (project: string) => Promise<PermissionRuleJson[]>
  /** Answers the rules as they are then. */
  changeRules: (project: string, changes: RuleChangesBody) => Promise<PermissionRuleJson[]>
  /** Newest first; 50 unless told. */
  incidents: (filter?: { limit?: number; open?: 1 }) => Promise<IncidentJson[]>
  audit: (filter?: { limit?: number; since?: string; who?: string }) => Promise<AuditJson[]>
  schedules: () => Promise<ScheduleJson[]>
  schedule: (name: string) => Promise<ScheduleJson>
  addSchedule: (schedule: NewScheduleBody) => Promise<ScheduleJson>
  /** `pause` and `resume` answer the schedule as it is then. */
  pauseSchedule: (name: string) => Promise<ScheduleJson>
  resumeSchedule: (name: string) => Promise<ScheduleJson>
  removeSchedule: (name: string) => Promise<ScheduleJson>
  /** Adds a task of the schedule now. */
  runSchedule: (name: string) => Promise<TaskJson>
  templates: () => Promise<TemplateJson[]>
  template: (name: string) => Promise<TemplateJson>
  /** Throws CONFLICT where the name is taken. */
  addTemplate: (template: NewTemplateBody) => Promise<TemplateJson>
  /** These two throw CONFLICT for a template of the configuration. */
  putTemplate: (name: string, template: TemplateBody) => Promise<TemplateJson>
  removeTemplate: (name: string) => Promise<TemplateJson>
  /** Newest first; 50 unless told. */
  inbox: (filter?: { state?: InboxEntryJson['state']; limit?: number }) => Promise<InboxEntryJson[]>
  inboxEntry: (id: string) => Promise<InboxEntryJson>
  /** Both throw CONFLICT where nothing is left to decide. */
  approveEntry: (id: string) => Promise<InboxEntryJson>
  refuseEntry: (id: string, reason?: string) => Promise<InboxEntryJson>
  keys: () => Promise<KeyJson[]>
  createKey: (body: NewKeyBody) => Promise<NewKeyJson>
  /** By id, the beginning of it, or name. */
  revokeKey: (id: string) => Promise<KeyJson>
  /** Refuses the tokens that a user, a `sub`, was given until now. */
  revokeUser: (id: string) => Promise<RevokedUserJson>
  shutdown: (agents: 'keep' | 'end') => Promise<ShutdownJson>
  liveEvents: (options?: LiveOptions) => AsyncGenerator<LiveMessage>
}

/** Which events; times as ISO 8601, `kind` a kind or phase. */
export type EventsQuery = Partial<Record<'name' | 'kind' | 'tool' | 'since' | 'until', string>> & {
  after?: number
  limit?: number
}

type Fetch = typeof globalThis.fetch
type Query = Record<string, string | number | undefined>
type ListQuery = Query & { limit?: number | undefined }

/** Of a list that is to be had whole. */
const ALL = { limit: Number.MAX_SAFE_INTEGER }

/** Every answer but a live stream comes within milliseconds; a daemon that is busy for so long is stuck. */
const REQUEST_TIMEOUT_MS = 60_000

/** Makes a client; `baseUrl` is `http://127.0.0.1:8765` say. Nothing is sent before the first call. */
export function createDaemonClient(daemon: { baseUrl: string; token: string; fetch?: Fetch }): DaemonClient {
  const fetch: Fetch = daemon.fetch ?? ((...args) => globalThis.fetch(...args))

  const send = async (method: string, path: string, init: RequestInit): Promise<Response> => {
    const headers = { authorization: `Bearer ${daemon.token}`, ...(init.headers as Record<string, string>) }
    let response: Response
    try {
      response = await fetch(new URL(path, daemon.baseUrl), { ...init, method, headers, redirect: 'error' })
    } catch (error) {
      throw unreachable(daemon.baseUrl, error)
    }
    if (!response.ok) throw await problemOf(response, daemon.baseUrl)
    return response
  }
  const request = async (method: string, path: string, body?: unknown): Promise<Response> =>
    send(method, path, {
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(method === 'GET'
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body ?? {}) }),
    })
  const json = async <T>(response: Response): Promise<T> => {
    try {
      return (await response.json()) as T
    } catch (error) {
      throw unreachable(daemon.baseUrl, error)
    }
  }
  const get = async <T>(path: string): Promise<T> => json<T>(await request('GET', path))
  /** As many as `limit` says, over as many pages as that takes; without it one page. */
  const list = async <T>(path: string, { limit, ...filter }: ListQuery = {}): Promise<T[]> => {
    const asked = limit === undefined ? undefined : Math.min(limit, PAGE_MAX)
    const found: T[] = []
    let next: string | null = `${path}${queryOf({ ...filter, limit: asked })}`
    while (next !== null) {
      const response = await request('GET', next)
      found.push(...(await json<T[]>(response)))
      next = limit !== undefined && found.length < limit ? nextOf(response) : null
    }
    return found.slice(0, limit)
  }
  const post = async <T>(path: string, body?: unknown): Promise<T> =>
    json<T>(await request('POST', path, body))
  const schedulePath = (name: string) => `/api/schedules/${encodeURIComponent(name)}`
  const projectPath = (name: string) => `/api/projects/${encodeURIComponent(name)}`
  const templatePath = (name: string) => `/api/templates/${encodeURIComponent(name)}`
  const taskPath = (id: string) => `/api/tasks/${encodeURIComponent(id)}`

  return {
    health: () => get('/health'),
    status: () => get('/api/status'),
    workers: () => list('/api/workers', ALL),
    async createTask(body) {
      const response = await request('POST', '/api/tasks', body)
      return { task: await json<NewTaskJson>(response), inserted: response.status === 201 }
    },
    tasks: (filter = {}) => list('/api/tasks', filter),
    task: (id) => get(taskPath(id)),
    events: (id, filter = {}) => list(`${taskPath(id)}/events`, filter),
    timeline: (id) => get(`${taskPath(id)}/timeline`),
    search: (q, filter = {}) => list('/api/search', { q, ...filter }),
    explain: (id) => get(`${taskPath(id)}/explain`),
    result: (id) => get(`${taskPath(id)}/result`),
    screen: (id) => get(`${taskPath(id)}/screen`),
    cancel: (id, reason) => post(`${taskPath(id)}/cancel`, { reason }),
    retry: (id) => post(`${taskPath(id)}/retry`),
    diff: (id, stat = false) => get(`${taskPath(id)}/diff${queryOf({ stat: stat ? 1 : undefined })}`),
    apply: (id, how) => post(`${taskPath(id)}/apply`, { how }),
    discard: (id) => post(`${taskPath(id)}/discard`),
    approve: (id, ask) => post(`${taskPath(id)}/approve`, { ask }),
    deny: (id, reason, ask) => post(`${taskPath(id)}/deny`, { reason, ask }),
    send: (id, text, ask) => post(`${taskPath(id)}/send`, { text, ask }),
    sendToAll: (body) => post('/api/agents/send', body),
    projects: () => list('/api/projects', ALL),
    addProject: (project) => post('/api/projects', project),
    project: (name) => get(projectPath(name)),
    updateProject: async (name, changes) => json(await request('PATCH', projectPath(name), changes)),
    removeProject: async (name) => json(await request('DELETE', projectPath(name))),
    trustProject: (name) => post(`${projectPath(name)}/trust`),
    rules: (project) => list(`${projectPath(project)}/rules`, ALL),
    changeRules: (project, changes) => post(`${projectPath(project)}/rules`, changes),
    incidents: (filter = {}) => list('/api/incidents', filter),
    audit: (filter = {}) => list('/api/audit', filter),
    schedules: () => list('/api/schedules', ALL),
    schedule: (name) => get(schedulePath(name)),
    addSchedule: (schedule) => post('/api/schedules', schedule),
    pauseSchedule: (name) => post(`${schedulePath(name)}/pause`),
    resumeSchedule: (name) => post(`${schedulePath(name)}/resume`),
    removeSchedule: async (name) => json(await request('DELETE', schedulePath(name))),
    runSchedule: (name) => post(`${schedulePath(name)}/run`),
    templates: () => list('/api/templates', ALL),
    template: (name) => get(templatePath(name)),
    addTemplate: (template) => post('/api/templates', template),
    putTemplate: async (name, template) => json(await request('PUT', templatePath(name), template)),
    removeTemplate: async (name) => json(await request('DELETE', templatePath(name))),
    inbox: (filter = {}) => list('/api/inbox', filter),
    inboxEntry: (id) => get(`/api/inbox/${encodeURIComponent(id)}`),
    approveEntry: (id) => post(`/api/inbox/${encodeURIComponent(id)}/approve`),
    refuseEntry: (id, reason) => post(`/api/inbox/${encodeURIComponent(id)}/refuse`, { reason }),
    keys: () => list('/api/keys', ALL),
    createKey: (body) => post('/api/keys', body),
    revokeKey: (id) => post(`/api/keys/${encodeURIComponent(id)}/revoke`),
    revokeUser: (id) => post(`/api/users/${encodeURIComponent(id)}/revoke`),
    shutdown: (agents) => post('/api/shutdown', { agents }),
    liveEvents: (options = {}) =>
      readLiveEvents(async (lastEventId, signal) => {
        const { task, replay, kind } = options
        const path = `/api/events${queryOf({ task, kind, replay: replay === true ? 1 : undefined })}`
        const headers: Record<string, string> = lastEventId === null ? {} : { 'last-event-id': lastEventId }
        const { body } = await send('GET', path, { headers, signal })
        if (body === null) throw unreachable(daemon.baseUrl, null)
        return body
      }, options),
  }
}

/** The path of the page after this one; null after the last. */
function nextOf(response: Response): string | null {
  return /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1] ?? null
}

function queryOf(values: Query): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value))
  return query.size === 0 ? '' : `?${query.toString()}`
}

async function problemOf(response: Response, baseUrl: string): Promise<CcmError> {
  const problem = (await response.json().catch(() => null)) as Partial<ProblemJson> | null
  if (typeof problem?.code !== 'string' || typeof problem.detail !== 'string')
    return unreachable(baseUrl, null)
  const options = {
    ...(problem.remedy !== undefined && { remedy: problem.remedy }),
    ...(problem.retry_after_s !== undefined && { retryAfterMs: problem.retry_after_s * 1000 }),
  }
  return new CcmError(problem.code as ErrorCode, problem.detail, options)
}

function unreachable(baseUrl: string, cause: unknown): CcmError {
  const message =
    cause === null ? `What answers at ${baseUrl} is not ccm.` : `The daemon at ${baseUrl} cannot be reached.`
  return new CcmError('DAEMON_UNREACHABLE', message, { remedy: '`ccm start` starts it.', cause })
}
