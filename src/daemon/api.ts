import { createHash, timingSafeEqual } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Audit } from '../core/audit.ts'
import type { Clock } from '../core/clock.ts'
import type { Meters } from '../core/incident/meters.ts'
import type { Lease } from '../core/task/queue.ts'
import type { Task } from '../core/task/task.ts'
import type { SharedState } from '../core/task/worker.ts'
import { limitOf } from './daemon-settings.ts'
import { claudeState, tmuxState } from './fitness.ts'
import { createTemplates } from './templates.ts'
import type { AppDeps, TaskView } from '../http/deps.ts'
import { toIso } from '../protocol/time.ts'
import { countsOfShared, createQueueCounts } from '../queue/counts.ts'
import type { Outside } from './outside.ts'
import type { ChosenQueue } from './chosen-queue.ts'
import type { AuditLog } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { createIdempotency } from '../store/idempotency.ts'
import { createStoredTemplates } from '../store/templates.ts'
import { createTimelines } from '../store/timeline.ts'
import type { Stores } from './stores.ts'
import type { Indexer } from '../supervisor/upkeep/indexer.ts'
import type { Scheduler } from '../supervisor/requests/schedules.ts'
import type { Settings } from '../supervisor/attempts/settings.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import type { TmuxServer } from '../tmux/server.ts'

/** The parts of a running daemon that its API speaks to, and what it is told of the process. */
type Parts = {
  config: Config
  settings: Settings
  db: Database
  chosen: ChosenQueue
  supervisor: Supervisor
  scheduler: Scheduler
  outside: Outside
  stores: Stores
  indexer: Indexer
  meters: Meters
  tmux: TmuxServer
  clock: Clock
  logger: Logger
  authenticate: AppDeps['authenticate']
  scrape: AppDeps['scrape']
  health: AppDeps['health']
  shutdown: AppDeps['shutdown']
  /** It has taken back what was at work before. */
  begun: Promise<void>
  /** What an attempt's permission requests are signed with. */
  secretOf: (lease: Lease) => string
  port: number
  version: string
  keptBy: Awaited<ReturnType<AppDeps['status']>>['kept_by']
  /** What the start found of a daemon that hung. */
  hung: string[]
}

/** As long as a start takes with ten agents; commands give a daemon 2 s to answer. */
const BEGUN_SOON_MS = 1000

/** Everything the HTTP side needs of the daemon, each answer in one line. */
export function createApiDeps(of: Parts): AppDeps {
  const { config, settings, db, chosen, supervisor, scheduler, outside, stores } = of
  const { indexer, meters, tmux, clock, logger } = of
  const { projects, rules, attempts, hookEvents, search } = stores
  const { queue, worker } = chosen
  const counts =
    chosen.shared === null
      ? createQueueCounts(db, chosen.system)
      : countsOfShared({ count: queue.count, list: chosen.seen })
  const timelineOf = createTimelines(db)
  const startedAt = clock()
  const soon = sleep(BEGUN_SOON_MS, undefined, { ref: false })
  const viewOf = async (task: Task): Promise<TaskView> => ({ task, agent: await supervisor.factsOf(task) })

  return {
    authenticate: of.authenticate,
    keys: stores.keys,
    idempotency: createIdempotency(db),
    audit: createAuditor(stores.auditLog, logger),
    audits: async (query) => stores.auditLog.list(query),
    scrape: of.scrape,
    answered: (route, method, status, tookMs) => {
      meters.requests.add({ route, method, status: `${Math.floor(status / 100)}xx` })
      meters.requestTime.observe({ route }, tookMs / 1000)
    },
    names: { port: () => of.port, public: config.http.names, behindTls: config.http.behindTls },
    rate: config.http.rate,
    clock,
    logger,
    tasks: {
      insert: async (request) => {
        const { task, ...more } = await supervisor.insert(request)
        return { view: await viewOf(task), ...more }
      },
      get: async (id) => {
        const task = await queue.get(id)
        return task === null ? null : viewOf(task)
      },
      row: (id) => queue.get(id),
      viewOf,
      idsByPrefix: (prefix, projects) => queue.idsByPrefix(prefix, projects),
      list: async (query) => {
        const tasks = await chosen.seen(query)
        const agents = await supervisor.factsOfAll(tasks)
        return tasks.flatMap((task, index) => {
          const agent = agents[index]
          return agent === undefined ? [] : [{ task, agent }]
        })
      },
      countsOf: (some) => counts.ofProjects(some),
      cancel: (id, reason) => supervisor.cancel(id, reason),
      cancelWaits: (id) => chosen.shared?.cancelWaits(id) === true,
      retry: (id) => supervisor.retry(id),
      approve: (id, ask) =>
        supervisor.answer(id, (answers, decides) => answers.approve(ask, decides), 'granted'),
      deny: (id, reason, ask) =>
        supervisor.answer(id, (answers, decides) => answers.deny(reason, ask, decides), 'denied'),
      send: (id, text, ask) => supervisor.answer(id, (answers) => answers.send(text, ask), null),
      screen: (id) => supervisor.screen(id),
    },
    work: supervisor.work,
    events: async ({ taskId, after, limit, ...narrowed }) =>
      taskId === null
        ? hookEvents.after(after, null, limit)
        : hookEvents.ofTask(taskId, { afterId: after, limit, ...narrowed }),
    changes: async ({ taskId, after, limit }) => attempts.changesAfter(after, taskId, limit),
    lastIds: async () => ({ hookEventId: hookEvents.lastId(), stateChangeId: attempts.lastChangeId() }),
    subscribe: (listener) => supervisor.subscribe(listener),
    projects: {
      list: async () => projects.list(),
      isTold: (name) => supervisor.isTold(name),
      add: async ({ dir, name, trust }) => supervisor.addProject(dir, name, trust),
      update: async (name, changes) => supervisor.updateProject(name, changes),
      remove: (name) => {
        scheduler.refuseRemoval(name)
        return supervisor.removeProject(name)
      },
      trust: async (name) => supervisor.trustProject(name),
    },
    record: {
      timeline: async (taskId) => timelineOf(taskId, clock()),
      search: async (filter) => {
        await indexer.caughtUp()
        return search.find(filter)
      },
    },
    rules: {
      of: async (name) => rules.placed(name),
      change: async (name, changes) => rules.change(name, changes),
    },
    schedules: {
      list: async () => scheduler.list(),
      add: async ({ dir, project, ...request }) => {
        const found = await supervisor.addProject(dir, project, false)
        return scheduler.viewOf(scheduler.add({ ...request, project: found.name }))
      },
      setPaused: async (schedule, paused) => scheduler.setPaused(schedule, paused),
      remove: async (schedule) => scheduler.remove(schedule),
      run: async (schedule) => viewOf(await scheduler.runNow(schedule)),
    },
    inbox: {
      list: async (filter) => stores.inbox.list(filter),
      get: async (id) => stores.inbox.get(id),
      approve: async (id, by) => outside.inbox.approve(id, by),
      refuse: async (id, by, reason) => outside.inbox.refuse(id, by, reason),
    },
    templates: createTemplates({
      config,
      stored: createStoredTemplates(db, clock),
      shared: chosen.templates,
      projects,
      limitOf: (project) => limitOf(project, settings.claude),
    }),
    webhooks: outside.webhooks,
    worker,
    rightsOf: (project) => limitOf(project, settings.claude),
    agents: async () => Promise.all(supervisor.agents().map(({ task }) => viewOf(task))),
    workers: async () =>
      chosen.workers === null
        ? [
            {
              id: worker,
              host: hostname(),
              version: of.version,
              capacity: settings.maxConcurrent,
              running: supervisor.agents().length,
              roles: null,
              labels: [],
              projects: Object.fromEntries(projects.list().map(({ name, dir }) => [name, dir])),
              draining: false,
              seenAt: clock(),
              silentMs: 0,
            },
          ]
        : chosen.workers(),
    systems: async () => [
      { id: chosen.system, queued: await queue.count('queued'), running: await queue.count('running') },
    ],
    usage: async (range) => stores.spending.byModel(range),
    status: async () => {
      // Side by side, for all that hangs may hold this up together. Of a daemon that has just started: what was at work
      // before is its own a moment later.
      const [tmuxWord, claude] = await Promise.all([
        tmuxState(tmux),
        claudeState(supervisor.claude),
        Promise.race([of.begun, soon]),
      ])
      return {
        pid: process.pid,
        port: of.port,
        home: config.home,
        version: of.version,
        worker,
        uptime_s: Math.round((clock() - startedAt) / 1000),
        agents: supervisor.agents().length,
        max_concurrent: settings.maxConcurrent,
        queued: await queue.count('queued'),
        running: await queue.count('running'),
        holds: supervisor.holds().map(({ kind, sentence }) => `${kind}: ${sentence}`),
        tmux: tmuxWord,
        tmux_socket: tmux.socketPath,
        claude,
        kept_by: of.keptBy,
        events: hookEvents.oddOnes(),
        shared: sharedJson(chosen.state()),
        found_at_start: [...of.hung, ...db.notices, ...supervisor.foundAtStart()],
      }
    },
    health: of.health,
    incidents: async (filter) => stores.incidents.list(filter),
    isSecretOf: (taskId, attempt, secret) => isSame(secret, of.secretOf({ taskId, attempt })),
    askPermission: (taskId, attempt, payload, signal) => supervisor.hold(taskId, attempt, payload, signal),
    shutdown: of.shutdown,
  }
}

function sharedJson(state: SharedState | null): Awaited<ReturnType<AppDeps['status']>>['shared'] {
  if (state === null) return null
  const { limitsReadAt, ...counts } = state
  const { readAt, ...templates } = state.templates
  return {
    ...counts,
    limits_read_at: limitsReadAt === null ? null : toIso(limitsReadAt),
    templates: { ...templates, read_at: readAt === null ? null : toIso(readAt) },
  }
}

/** In the database, and in the log under the task; where the database cannot take it, all of it is in the log. */
function createAuditor(log: AuditLog, logger: Logger): Audit {
  return (entry) => {
    const { action, kind, who, origin, status, taskId, requestId } = entry
    const about = taskId === null ? {} : { taskId }
    try {
      log.add(entry)
      logger.info({ ...about, requestId, code: status }, `${action} by ${kind} ${who} from ${origin}`)
    } catch (err) {
      logger.error({ err, ...about, requestId, entry }, 'a change could not be written to the audit log')
    }
  }
}

/** Compares secrets in constant time. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
