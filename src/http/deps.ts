import type { Logger } from 'pino'
import type { StateChange } from '../core/agent/attempt.ts'
import type { RecordedEvent } from '../core/record/hook-kind.ts'
import type { PermissionRule } from '../core/permission/permission-rule.ts'
import type { ProjectSettings } from '../core/task/project.ts'
import type { GithubRule } from '../core/outside/github-event.ts'
import type { InboxEntry, NewInboxEntry, Origin } from '../core/outside/inbox.ts'
import type { CancelReply, RetryReply } from '../core/task/queue.ts'
import type { ProjectCounts, TaskQuery } from '../core/task/task-list.ts'
import type { Schedule, ScheduleRun } from '../core/task/schedule.ts'
import type { Rights } from '../core/task/rights.ts'
import type { ListedTask, NewTask, PermissionMode, Task } from '../core/task/task.ts'
import type { PlacedTemplate, Template } from '../core/task/template.ts'
import type { Timeline } from '../core/record/timeline.ts'
import type { SearchFilter, SearchHit } from '../store/search.ts'
import type { ApplyHow } from '../core/task/workspace.ts'
import type { AppliedJson, DiscardedJson } from '../protocol/workspace.ts'
import type { HealthJson, StatusJson } from '../protocol/daemon.ts'
import type { toTaskJson, toTaskSummaryJson } from '../protocol/task.ts'
import type { IncidentView } from '../protocol/incident.ts'
import type { Audit, AuditEntry } from '../core/audit.ts'
import type { AuditQuery } from '../store/audit.ts'
import type { PlacedRule } from '../store/permission-rules.ts'
import type { StoredTemplates } from '../store/templates.ts'
import type { IncidentQuery } from '../store/incidents.ts'
import type { AlertEnds } from '../store/alert-ends.ts'
import type { InboxQuery } from '../store/inbox.ts'
import type { Idempotency } from '../store/idempotency.ts'
import type { Worker } from '../core/task/worker.ts'
import type { SystemJson } from '../protocol/fleet.ts'
import type { ModelSpending } from '../store/spending.ts'
import type { ApiKeys } from '../store/api-keys.ts'
import type { Clock } from '../core/clock.ts'
import type { Names } from './guards.ts'
import type { PrometheusHook } from './webhooks/prometheus.ts'
import type { TelegramHook } from './webhooks/telegram.ts'
import type { Authenticate } from './identity/authenticate.ts'

/** A queue row with what the supervisor knows about its agent. */
export type TaskView = { task: Task; agent: Parameters<typeof toTaskJson>[1] }

/** A row of a list of tasks. */
export type ListedView = { task: ListedTask; agent: Parameters<typeof toTaskSummaryJson>[1] }

/** A new task as it was asked for. At least one of `dir` and `project` is set. */
export type TaskRequest = Omit<NewTask, 'project' | 'priority'> & {
  /** null: the project's. */
  priority: number | null
  /** As the caller wrote it: not yet checked, maybe relative, which is to be refused. */
  dir: string | null
  project: string | null
  /** The caller trusts the directory; false leaves its trust as it is. */
  trust: boolean
}

/** A directory agents may work in. `createdAt` is milliseconds since 1970. */
export type Project = ProjectSettings & { name: string; dir: string; trusted: boolean; createdAt: number }

/** A schedule with its next times and what became of the newest ones. Milliseconds since 1970. */
export type ScheduleView = { schedule: Schedule; next: number[]; runs: ScheduleRun[] }

/** A new schedule as it was asked for; a null name is made from the project's. */
export type ScheduleRequest = Pick<Schedule, 'cron' | 'timeZone' | 'missed' | 'overlap' | 'task'> & {
  dir: string | null
  project: string | null
  name: string | null
}

/**
 * What became of an answer to a waiting agent. `unknown`: no such task. `not_waiting`: nothing to answer now.
 * `refused`: it waits, but not for this; a sentence for a person.
 */
export type AnswerReply = 'done' | 'not_waiting' | 'unknown' | { refused: string }

/** Something about this task was stored. `hook` and `state`: a new row; `task`: its status or agent changed. */
export type Notice = { kind: 'hook' | 'state' | 'task'; taskId: string }

/**
 * All that the HTTP side needs from the daemon. Task ids are complete here; http resolves prefixes. A thrown
 * CcmError becomes its own answer; anything else is a 500 without details.
 */
export type AppDeps = {
  /** Whose a bearer credential is. */
  authenticate: Authenticate
  /** Its port is asked for at each request, as port 0 is known only after listening. */
  names: Names
  /** Requests a second that one credential may make on average. */
  rate: number
  clock: Clock
  logger: Logger
  tasks: {
    /**
     * Checks the directory, registers a new project, adds the task. QUEUE_FULL becomes 429. `held`: it is kept here until
     * the queue answers. `notices`: for a person.
     */
    insert: (
      request: TaskRequest,
    ) => Promise<{ view: TaskView; inserted: boolean; held?: boolean; notices: string[] }>
    get: (id: string) => Promise<TaskView | null>
    /** `get` in two steps, for whoever has to look at the row before more is asked about it. */
    row: (id: string) => Promise<Task | null>
    viewOf: (task: Task) => Promise<TaskView>
    /** At most 2 ids that start with the prefix, of tasks of these projects; null: of all. */
    idsByPrefix: (prefix: string, projects: readonly string[] | null) => Promise<string[]>
    list: (query: TaskQuery) => Promise<ListedView[]>
    countsOf: (projects: readonly string[]) => Promise<ProjectCounts>
    /** Idempotent. `requested` also where the queue hears of it later: `cancelWaits`. */
    cancel: (id: string, reason: string) => Promise<CancelReply>
    cancelWaits: (id: string) => boolean
    retry: (id: string) => Promise<RetryReply>
    /** Allows what the agent asks for. `ask`, here and below: the id of what was asked, or null for whatever it is. */
    approve: (id: string, ask: string | null) => Promise<AnswerReply>
    /** Denies it; the reason goes to the agent. */
    deny: (id: string, reason: string | null, ask: string | null) => Promise<AnswerReply>
    /** Answers a question, or types text to an agent that is not in a permission dialog. */
    send: (id: string, text: string, ask: string | null) => Promise<AnswerReply>
    /** The text of the task's window now, else the last one kept, else null. */
    screen: (id: string) => Promise<string | null>
  }
  /** The work of tasks in worktrees; each throws CONFLICT with the command that helps. */
  work: {
    diff: (id: string, stat: boolean) => Promise<string>
    apply: (id: string, how: ApplyHow) => Promise<AppliedJson>
    discard: (id: string) => Promise<DiscardedJson>
  }
  /** Stored hook events by ascending id, `id > after`; `taskId` null: of all tasks. */
  events: (filter: EventQuery & EventNarrowing) => Promise<RecordedEvent[]>
  /** Stored state changes, likewise. */
  changes: (filter: EventQuery) => Promise<StateChange[]>
  /** The highest ids stored so far, 0 when there are none. */
  lastIds: () => Promise<LiveCursor>
  /**
   * Calls the listener after each commit of such a row or change; must not wait for it. A notice is only a
   * nudge: http reads the rows itself. Returns the way to end it.
   */
  subscribe: (listener: (notice: Notice) => void) => () => void
  projects: {
    list: () => Promise<Project[]>
    /** False while the shared queue does not know it as it is here: it is told when it answers, also after a restart. */
    isTold: (name: string) => boolean
    /** Registers a directory, or returns the one that is registered; a null name is taken from the folder. */
    add: (project: { dir: string; name: string | null; trust: boolean }) => Promise<Project>
    /** Changes settings, which are valid by themselves; null, here and below: no such project. */
    update: (name: string, changes: Partial<ProjectSettings>) => Promise<Project | null>
    /** Forgets it; throws CONFLICT while tasks of it are alive. Its directory and finished tasks stay. */
    remove: (name: string) => Promise<Project | null>
    trust: (name: string) => Promise<Project | null>
  }
  record: {
    timeline: (taskId: string) => Promise<Timeline>
    /** Newest first; [] for a text without any word. */
    search: (filter: SearchFilter) => Promise<SearchHit[]>
  }
  rules: {
    /** The permission rules of a project, oldest first. */
    of: (project: string) => Promise<PlacedRule[]>
    /** All or none of it; throws BAD_INPUT for a text that is no rule, NOT_FOUND for one to remove that is none. */
    change: (project: string, changes: { set: PermissionRule[]; remove: string[] }) => Promise<void>
  }
  schedules: {
    /** By name. */
    list: () => Promise<ScheduleView[]>
    /** At least one of `dir` and `project` is set. Throws BAD_INPUT for times that cannot be read or never come. */
    add: (request: ScheduleRequest) => Promise<ScheduleView>
    setPaused: (schedule: Schedule, paused: boolean) => Promise<void>
    remove: (schedule: Schedule) => Promise<void>
    /** A run now, besides the times. */
    run: (schedule: Schedule) => Promise<TaskView>
  }
  /** Services that report here; null: not configured, and so no route. */
  webhooks: {
    github: { secret: string; rules: readonly GithubRule[] } | null
    prometheus: PrometheusHook | null
    telegram: TelegramHook | null
    /** Stores all or none, durably, before it returns. */
    accept: (entries: NewInboxEntry[]) => { entry: InboxEntry; isNew: boolean }[]
    byKey: (key: string) => InboxEntry | null
    /** These came in again: what is over of them stays known. */
    cameAgain: (keys: string[]) => void
    alertEnds: AlertEnds
    /** Where the answer about a task goes to; null for one that came from nowhere outside. */
    originOf: (taskId: string) => Origin | null
    /** Requests from this issue that wait, or whose task is not over as far as the queue answers at once. */
    openOf: (repository: string, number: number) => Promise<InboxEntry[]>
    /** Looks which requests of a source have a task that is over, for `countOpen`. */
    noteOver: (source: string) => Promise<void>
    /** Requests of a source that wait, or whose task was not seen to be over. */
    countOpen: (source: string) => number
    /** Requests from this repository that wait for approval, and how many of them are this sender's. */
    countWaiting: (repository: string, sender: string) => { all: number; own: number }
    /** Ends a request; one whose task runs only where `running` says so. False: nothing was ended. */
    end: (entry: InboxEntry, reason: string, running: boolean) => Promise<boolean>
    /** 128 random bits as hex: see outsideBlock. */
    boundary: () => string
  }
  templates: {
    /** All that count, wherever they stand, by name. */
    list: () => Promise<PlacedTemplate[]>
    /** Those of this machine's database. */
    stored: StoredTemplates
    /** The template with the rights it may give a task of this source there; throws DIR_UNUSABLE. */
    within: (
      template: PlacedTemplate,
      place: { name: string | null; dir: string | null },
      source: string,
    ) => PlacedTemplate
    /** The one of this name for a task from outside, or `plain`: where none is named, and where it is missing. */
    forOutside: (
      name: string | null,
      plain: Template,
    ) => Promise<{ template: Template; missing: string | null }>
  }
  /** Requests from outside; `approve` and `refuse` throw CONFLICT where nothing is left to decide, null: no such entry. */
  inbox: {
    /** Newest first. */
    list: (query: InboxQuery) => Promise<InboxEntry[]>
    get: (id: number) => Promise<InboxEntry | null>
    approve: (id: number, by: string) => Promise<InboxEntry | null>
    refuse: (id: number, by: string, reason: string) => Promise<InboxEntry | null>
  }
  /** The metrics, in the format of Prometheus. */
  scrape: () => Promise<{ type: string; text: string }>
  /** Hears of each answer: the pattern of its route, and how long it took to begin. */
  answered?: (route: string, method: string, status: number, tookMs: number) => void
  keys: ApiKeys
  audit: Audit
  /** Newest first. */
  audits: (query: AuditQuery) => Promise<AuditEntry[]>
  idempotency: Idempotency
  /** This daemon's name as the queue knows it. */
  worker: string
  /** What tasks of this project may do at most, where they come from outside. */
  rightsOf: (project: Project) => Rights & { permissionMode: PermissionMode }
  /** Tasks that have an agent now. */
  agents: () => Promise<TaskView[]>
  systems: () => Promise<SystemJson[]>
  /** All workers of this daemon's system, itself among them. */
  workers: () => Promise<Worker[]>
  usage: (range: { from: number; to: number; project: string | null }) => Promise<ModelSpending[]>
  status: () => Promise<StatusJson>
  /** Newest first. */
  incidents: (query: IncidentQuery) => Promise<IncidentView[]>
  /** One word for each part, `ok` when it is well: shown without a token. */
  health: (part: HealthPart) => Promise<HealthReply>
  /**
   * A PermissionRequest that Claude Code holds open: answers when a person or rule decides, which may take a day.
   * `signal` aborts when the client closed, because somebody answered in the window. An empty answer leaves
   * the dialog to the window.
   */
  askPermission: (
    taskId: string,
    attempt: number,
    payload: Record<string, unknown>,
    signal: AbortSignal,
  ) => Promise<Record<string, unknown>>
  /** Whether the agent of this attempt was given this secret. */
  isSecretOf: (taskId: string, attempt: number, secret: string) => boolean
  /** Begins the daemon's end and returns at once, so that the reply still goes out. */
  shutdown: (agents: 'keep' | 'end') => void
  /** How often a silent live stream says that it is alive; 15 s unless told. */
  heartbeatMs?: number
}

/** At most `limit` rows of `taskId` (null: all tasks) whose id is above `after`, ascending. */
export type EventQuery = { taskId: string | null; after: number; limit: number }

/** What narrows a list of events of one task: see EventFilter in protocol/hook-event.ts; times in ms. */
export type EventNarrowing = Partial<
  Record<'name' | 'kind' | 'tool', string | undefined> & Record<'since' | 'until', number | undefined>
>

/** What of the daemon is asked for. */
export type HealthPart = 'all' | 'tmux' | 'supabase'

/** Words, and ages in ms. `degraded`: it serves, but claims nothing. `failing`: it needs help. */
export type HealthReply = HealthJson

/** How far a live stream got. On the wire `<hookEventId>.<stateChangeId>`. */
export type LiveCursor = { hookEventId: number; stateChangeId: number }
