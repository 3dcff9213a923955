import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { inheritedEnvironment } from './agent/environment.ts'
import { createGuard } from './agent/guard.ts'
import { attemptFiles } from './agent/launch.ts'
import { costOf } from './agent/price.ts'
import { findPackageRoot } from './cli/package-root.ts'
import type { Config } from './config.ts'
import type { Audit } from './core/audit.ts'
import { CcmError, messageOf } from './core/errors.ts'
import { createMeters } from './core/meters.ts'
import type { Lease } from './core/queue.ts'
import { createRedactor, type Redactor } from './core/redact.ts'
import type { Task } from './core/task.ts'
import { createApp, type App } from './http/app.ts'
import type { AppDeps, TaskView } from './http/deps.ts'
import { listen, listenOnSocket } from './http/listen.ts'
import { readOrCreateToken } from './http/token.ts'
import { openDoor } from './identity.ts'
import { looseConfig, withSecrets } from './config-secrets.ts'
import { createHealth } from './health.ts'
import { createLogger } from './log.ts'
import { openLogOutput } from './log-output.ts'
import { createScrape } from './metrics.ts'
import { createOutside, readOutsideSecrets } from './outside.ts'
import { createNotifiers } from './notify/notifiers.ts'
import { chooseQueue, readSupabaseKey } from './queue-choice.ts'
import { countsOfShared, createQueueCounts } from './queue/counts.ts'
import { createApiKeys } from './store/api-keys.ts'
import { createAuditLog, type AuditLog } from './store/audit.ts'
import { createAttempts } from './store/attempts.ts'
import { openDatabase, type Database } from './store/database.ts'
import { createHookEvents } from './store/hook-events.ts'
import { acquireHomeLock } from './store/lock.ts'
import { createIncidents, type Incidents } from './store/incidents.ts'
import { createNotes } from './store/notes.ts'
import { createInboxStore } from './store/inbox.ts'
import { createIdempotency } from './store/idempotency.ts'
import { createOutbox } from './store/outbox.ts'
import { createPermissionRules } from './store/permission-rules.ts'
import { createProjects, type Project } from './store/projects.ts'
import { createExpiry } from './store/expiry.ts'
import { createSearch } from './store/search.ts'
import { createSpending } from './store/spending.ts'
import { createTimelines } from './store/timeline.ts'
import { createBudgets } from './supervisor/budgets.ts'
import { changesOf, takeOver } from './reload.ts'
import { createServiceNotifier, keeperOf } from './service/notify.ts'
import { probeScope } from './service/scope-probe.ts'
import { createBeats, createPulse, type Beats, type StartPulse } from './supervisor/beats.ts'
import { createSchedules } from './store/schedules.ts'
import { createScheduler } from './supervisor/schedules.ts'
import { createWorktrees } from './store/worktrees.ts'
import { createDiskGuard, giveUpBallast, type DiskGuard } from './supervisor/disk-guard.ts'
import { createExpirer } from './supervisor/expire.ts'
import { createIndexer } from './supervisor/indexer.ts'
import type { RightsLimit } from './supervisor/shared-queue.ts'
import { createSupervisor } from './supervisor/supervisor.ts'
import { hangSentence, startWatchdog, takeHang, type Hang } from './supervisor/watchdog.ts'
import type { Settings } from './supervisor/settings.ts'
import { listPanes } from './tmux/pane.ts'
import { openTmuxServer, type TmuxServer } from './tmux/server.ts'
import { createTelegramDesk } from './telegram-desk.ts'
import { tmuxFolder, tmuxHost } from './tmux-host.ts'

/** How often the path of the database is looked at. */
const MEND_MS = 2000

const TMUX_ANSWERS_MS = 500

/** Ended at once, or out of time, but on purpose: whoever restarts daemons leaves it be. */
const EXIT_FORCED = 143

/** Fewer beats than that would make a loop's limit inexact; more would only cost. */
const PULSE_MS = 5000

/** How the daemon is started: where its words go, and how it reads its configuration again. */
type DaemonOptions = { background: boolean; reload: () => Config }
/** What a schedule says nothing about. */
const NEW_TASK = {
  dir: null,
  trust: false,
  dependsOn: [],
  scheduledAt: null,
  labels: [],
  maxTokens: null,
  maxCostUsd: null,
  inPlace: null,
  onlyWorker: null,
}

/**
 * Runs the daemon until it is told to end, and answers its exit code. Throws what keeps it from starting:
 * LOCKED, PORT_TAKEN, TMUX_MISSING, a database that cannot be used.
 */
export async function runDaemon(given: Config, options: DaemonOptions): Promise<number> {
  const { home } = given
  createHome(home)
  const { config, values: secrets } = await withSecrets(given, process.env)
  const clock = Date.now
  const supabaseKey = await readSupabaseKey(config, process.env)
  const lock = acquireHomeLock(join(home, 'lock.db'))
  const outsideSecrets = await readOutsideSecrets(config, process.env)
  const hidden = [...secrets, supabaseKey, ...Object.values(outsideSecrets)]
  const patterns = config.redact.patterns.map((source) => new RegExp(source))
  const redactor = createGrowingRedactor(
    hidden.filter((secret) => secret !== null),
    patterns,
  )
  const output = await openLogOutput(config.log, home, process.env)
  const logger = createLogger({
    level: config.log.level,
    redactor,
    stream: output,
    terminal: output.terminal,
  })
  const { token, notice } = readOrCreateToken(join(home, 'token'))
  if (notice !== null) logger.warn(notice)
  const hang = takeHang(join(home, 'hang.json'))
  const hung = hang === null ? [] : [hangSentence(hang)]
  for (const sentence of hung) logger.error({ code: 'HANG' }, sentence)
  const notifier = createServiceNotifier(process.env, process.pid)
  const keptBy = keeperOf(process.env, process)

  const inherited = inheritedEnvironment(process.env)
  // tmux takes 20 ms to come up; the database is opened meanwhile.
  const tmuxComes = openTmuxServer({
    folder: tmuxFolder(home),
    env: inherited,
    host: tmuxHost(process.env, process.getuid?.() === 0),
    onTrouble: (message) => logger.warn({ code: 'TMUX_FAILED' }, message),
  })
  tmuxComes.catch(() => undefined)
  // The port is open before tmux and the database are: requests wait for them, and a taken port is told at once.
  const open = Promise.withResolvers<App>()
  let ready: App | null = null
  const app: Pick<App, 'fetch' | 'lane'> = {
    fetch: async (...call) => (await open.promise).fetch(...call),
    lane: (...call) => ready?.lane(...call) ?? false,
  }
  const listening = listen(app, config.http)
  const abandon = async (error: unknown): Promise<never> => {
    await listening.then((server) => server.close(0)).catch(() => undefined)
    try {
      await leaveTmux(await tmuxComes)
    } catch {
      // The first error is the one to tell.
    }
    throw error
  }
  const root = findPackageRoot(import.meta.url)
  const migrationsDir = join(root.folder, 'migrations/sqlite')
  let disk: DiskGuard | null = null
  const openOnce = () =>
    openDatabase({ file: join(home, 'ccm.db'), migrationsDir, clock, onFull: () => disk?.full() })
  const openStore = async () => {
    try {
      return openOnce()
    } catch (error) {
      // The reserve of an earlier daemon is for this.
      if (!(error instanceof CcmError && error.code === 'DISK_FULL' && giveUpBallast(home))) throw error
      return openOnce()
    }
  }
  const db = await openStore().catch(abandon)
  for (const sentence of db.notices) logger.warn(sentence)
  const projects = createProjects(db)
  const notes = createNotes(db)
  const chosen = await chooseQueue({
    config,
    secretKey: supabaseKey,
    db,
    notes,
    projects,
    version: root.version,
    limitOf: (name) => limitOf(projects.byName(name), settings.claude),
    clock,
    logger,
  }).catch(abandon)
  const { queue, worker } = chosen
  const server = await listening.catch(abandon)
  const { port } = server
  const tmux = await tmuxComes.catch(abandon)
  const keys = createApiKeys(db)
  const authenticate = await openDoor({ config: config.auth, env: process.env, token, keys, clock }).catch(
    abandon,
  )
  const socketFile = socketIn(home, 'api.sock')
  const socket = await listenOnSocket(app, socketFile).catch((err: unknown) => {
    logger.warn({ err }, 'the socket in the home cannot be served; commands use the port')
    return null
  })

  const secretOf = (lease: Lease) =>
    createHmac('sha256', token).update(`${lease.taskId}.${lease.attempt}`).digest('hex')
  const settings: Settings = {
    ...toSettings(config, inherited, join(root.folder, 'hooks/record-event.sh'), worker),
    guard:
      chosen.shared === null
        ? null
        : createGuard(join(root.folder, 'hooks/guard-agent.sh'), (folder) => attemptFiles(folder).exit),
    scope: scopeFinder(config, logger),
    ask: (attempt) => ({
      url: `http://${host(config)}:${port}/internal/attempts/${attempt.taskId}/${attempt.attempt}/permission`,
      secret: secretOf(attempt),
    }),
  }
  // Only from here: opening a large database, or migrating it, may rightly take longer than a hang.
  const beats = createBeats()
  const { eventLoopMs, loopMs } = config.watchdog
  const watchdog = startWatchdog({ beats, eventLoopMs, loopMs, reportFile: join(home, 'hang.json'), logger })
  const hookEvents = createHookEvents(db, redactor)
  const attempts = createAttempts(db, redactor)
  const rules = createPermissionRules(db)
  const incidents = createIncidents(db, redactor)
  if (hang !== null) recordHang(incidents, hang, clock(), logger)
  const spending = createSpending(db)
  const worktrees = createWorktrees(db, clock)
  const auditLog = createAuditLog(db, clock)
  const pulse: StartPulse = (loop, work) => createPulse(beats, loop, work, Math.min(PULSE_MS, loopMs / 4))
  const meters = createMeters()
  const outbox = createOutbox(db)
  // A call to a queue that is far may take longer than any loop of ours.
  const near = chosen.shared === null ? { pulse } : {}
  const supervisor = createSupervisor({
    meters,
    worktrees,
    settings,
    queue,
    attempts,
    hookEvents,
    outbox,
    projects,
    rules,
    budgets: createBudgets({
      settings: config.budget,
      spending,
      projects,
      costOf,
      clock,
    }),
    incidents,
    notes,
    recovery: {
      breaker: config.breaker,
      alerts: config.alerts,
      notifiers: createNotifiers(config.notify),
      park: config.limits.park,
    },
    redactor,
    tmux,
    clock,
    logger,
    pulse,
    ...(chosen.shared === null ? {} : { shared: chosen.shared }),
  })
  chosen.onSupabase((word) => {
    if (word === 'ok') {
      supervisor.lift('supabase')
      outside.inbox.nudge()
    } else supervisor.pause({ kind: 'supabase', sentence: 'Supabase does not answer.', until: null })
  })

  const schedules = createSchedules(db)
  const scheduler = createScheduler({
    schedules,
    queue,
    insert: async ({ project, task }, dedupeKey) => {
      const request = { ...NEW_TASK, ...task, project, dedupeKey, source: 'schedule' }
      return (await supervisor.insert(request)).task
    },
    clock,
    logger,
    ...near,
  })
  const inboxStore = createInboxStore(db)
  const outside = createOutside({
    config,
    secrets: outsideSecrets,
    store: inboxStore,
    queue,
    insert: async ({ key, project, task }) =>
      (await supervisor.insert({ ...NEW_TASK, ...task, project, dedupeKey: key })).task,
    supervisor,
    redactor,
    clock,
    logger,
    ...near,
  })
  disk = createDiskGuard({
    home,
    ballastBytes: config.store.ballastBytes,
    hold: (hold) => supervisor.pause(hold),
    lift: (kind) => supervisor.lift(kind),
    turned: (state, what) => {
      const { recorder } = supervisor
      if (state === 'ok') return recorder.close('disk', 'There is room again.')
      const action = 'Make room; what runs goes on, and is recorded as long as the reserve lasts.'
      recorder.open({ kind: 'disk_full', key: 'disk', what, action, alert: true })
    },
    logger,
  })
  const { keepMs, maxBytes } = config.store
  const expirer = createExpirer({
    db,
    expiry: createExpiry(db),
    pruneAudit: (rows) => auditLog.prune(clock() - config.store.keepAuditMs, rows),
    attempts,
    home,
    keepMs,
    maxBytes,
    clock,
    logger,
  })
  let told = 0
  const mending = setInterval(() => {
    mendDatabase(db, logger)
    // A write may have put it back too, and the start what it found.
    for (const what of db.notices.slice(told))
      supervisor.recorder.note({
        kind: 'database_moved',
        what,
        action: 'The database that is in its place now is used.',
      })
    told = db.notices.length
  }, MEND_MS).unref()
  const timelineOf = createTimelines(db)
  const search = createSearch(db)
  const indexer = createIndexer({ search, logger })
  indexer.nudge()
  supervisor.subscribe(({ kind }) => kind === 'hook' && indexer.nudge())

  const counts = chosen.shared === null ? createQueueCounts(db, chosen.system) : countsOfShared(queue)
  const scrape = createScrape(
    meters,
    {
      tasks: () => counts.byProject(),
      oldestQueuedAt: () => counts.oldestQueuedAt(clock()),
      agents: () => supervisor.agents().map(({ watcher }) => watcher?.view().state ?? 'spawning'),
      outbox: () => outbox.waiting(),
      spending: () => spending.totals(),
      incidents: () => ({
        opened: supervisor.recorder.counts(),
        open: incidents.openOnes().map(({ kind }) => kind),
      }),
      holds: () => supervisor.holds().map(({ kind }) => kind),
      databaseBytes: () => db.usedBytes(),
    },
    clock,
    (name, err) => logger.warn({ err }, `the metric ${name} could not be told`),
  )

  const ending = Promise.withResolvers<'keep' | 'end'>()
  const startedAt = clock()
  const viewOf = async (task: Task): Promise<TaskView> => ({ task, agent: await supervisor.factsOf(task) })
  const health = createHealth({
    database: () => db.isStillThere(),
    tmux: async () => (await tmuxState(tmux)) === 'ok',
    beats,
    loopMs,
    held: () => supervisor.holds().find(({ kind }) => kind !== 'slots')?.kind ?? null,
    disk: () => disk?.state() ?? 'ok',
    supabase: chosen.shared === null ? null : async () => chosen.supabase() === 'ok',
    clock,
  })
  const deps: AppDeps = {
    authenticate,
    keys,
    idempotency: createIdempotency(db),
    audit: createAuditor(auditLog, logger),
    audits: async (query) => auditLog.list(query),
    scrape,
    answered: (route, method, status, tookMs) => {
      meters.requests.add({ route, method, status: `${Math.floor(status / 100)}xx` })
      meters.requestTime.observe({ route }, tookMs / 1000)
    },
    names: { port: () => port, public: config.http.names },
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
      idsByPrefix: (prefix) => queue.idsByPrefix(prefix),
      list: async (filter) => Promise.all((await queue.list(filter)).map(viewOf)),
      cancel: (id, reason) => supervisor.cancel(id, reason),
      retry: (id) => supervisor.retry(id),
      approve: (id, ask) => supervisor.answer(id, (answers) => answers.approve(ask), 'granted'),
      deny: (id, reason, ask) => supervisor.answer(id, (answers) => answers.deny(reason, ask), 'denied'),
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
      of: async (name) => rules.of(name),
      change: async (name, changes) => rules.change(name, changes),
    },
    schedules: {
      list: async () => scheduler.list(),
      add: async ({ dir, project, ...request }) => {
        const found = supervisor.addProject(dir, project, false)
        return scheduler.viewOf(scheduler.add({ ...request, project: found.name }))
      },
      setPaused: async (schedule, paused) => scheduler.setPaused(schedule, paused),
      remove: async (schedule) => scheduler.remove(schedule),
      run: async (schedule) => viewOf(await scheduler.runNow(schedule)),
    },
    inbox: {
      list: async (filter) => inboxStore.list(filter),
      get: async (id) => inboxStore.get(id),
      approve: async (id, by) => outside.inbox.approve(id, by),
      refuse: async (id, by, reason) => outside.inbox.refuse(id, by, reason),
    },
    templates: config.templates,
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
              version: root.version,
              capacity: settings.maxConcurrent,
              running: supervisor.agents().length,
              roles: null,
              labels: [],
              projects: Object.fromEntries(projects.list().map(({ name, dir }) => [name, dir])),
              draining: false,
              seenAt: clock(),
            },
          ]
        : chosen.workers(),
    systems: async () => [
      { id: chosen.system, queued: await queue.count('queued'), running: await queue.count('running') },
    ],
    usage: async (range) => spending.byModel(range),
    status: async () => ({
      pid: process.pid,
      port,
      home,
      version: root.version,
      worker,
      uptime_s: Math.round((clock() - startedAt) / 1000),
      agents: supervisor.agents().length,
      max_concurrent: settings.maxConcurrent,
      queued: await queue.count('queued'),
      running: await queue.count('running'),
      holds: supervisor.holds().map(({ kind, sentence }) => `${kind}: ${sentence}`),
      tmux: await tmuxState(tmux),
      tmux_socket: tmux.socketPath,
      claude: await supervisor.claude().catch((error: unknown) => ({ problem: messageOf(error) })),
      kept_by: keptBy,
      events: hookEvents.oddOnes(),
      shared: chosen.state(),
      found_at_start: [...hung, ...db.notices, ...supervisor.foundAtStart()],
    }),
    health,
    incidents: async (filter) => incidents.list(filter),
    askPermission: async (taskId, attempt, secret, payload, signal) => {
      if (!isSame(secret, secretOf({ taskId, attempt }))) return 'unauthorized'
      return { answer: await supervisor.hold(taskId, attempt, payload, signal) }
    },
    shutdown: (agents) => ending.resolve(agents),
  }

  const telegram = await createTelegramDesk({
    config: config.telegram,
    secrets: outsideSecrets,
    deps,
    attach: outside.attach,
    subscribe: deps.subscribe,
    redactor,
    logger,
  })
  ready = createApp(deps)
  open.resolve(ready)
  const addressFile = join(home, 'daemon.json')
  writeWhole(
    addressFile,
    JSON.stringify({
      pid: process.pid,
      host: config.http.host,
      port,
      version: root.version,
      startedAt,
      socket: socket === null ? null : socketFile,
      keeper: keptBy === 'shell' ? process.ppid : null,
    }),
  )
  const greeting = `ccm ${root.version} listens on http://${host(config)}:${port} (home ${home})`
  if (options.background) logger.info(greeting)
  else
    process.stderr.write(
      `${greeting}\nNext, in another terminal: ccm run "Fix the failing test" --dir ~/code/app\nCtrl-C ends the daemon; agents at work live on.\n`,
    )

  const loose = looseConfig(config)
  if (loose !== null) logger.warn({ code: 'LOOSE_CONFIG' }, loose)
  let now = config
  const onSignal = handleSignals({
    end: () => ending.resolve(now.daemon.onStop === 'keep' ? 'keep' : 'end'),
    reload: () =>
      void reload(options.reload, now, settings, redactor.add, logger).then((next) => (now = next)),
    logger,
  })
  await supervisor.begin()
  chosen.begin?.({
    wake: () => supervisor.wake(),
    hintCancel: (id) => supervisor.hintCancel(id),
    running: () => supervisor.agents().length,
    subscribe: (listener) => supervisor.subscribe(({ kind }) => kind !== 'hook' && listener()),
  })
  await notifier.ready(`serves http://${host(config)}:${port}`)
  const stopBeating = notifier.watch(() => whySick({ beats, loopMs, tmux, db }))
  await outside.inbox.begin()
  telegram?.begin()
  await scheduler.begin()
  if (!options.background)
    for (const sentence of [...hung, ...supervisor.foundAtStart()]) process.stderr.write(`${sentence}\n`)
  const agents = await ending.promise

  const limit = setTimeout(
    () => {
      logger.error('the daemon did not end in time; what it left open is settled at the next start')
      process.exit(EXIT_FORCED)
    },
    now.timeouts.shutdownMs + (agents === 'end' ? 30_000 : 0),
  )
  stopBeating()
  void notifier.stopping()
  await telegram?.close()
  await outside.close()
  await scheduler.close()
  await supervisor.close(agents)
  await chosen.close()
  await indexer.close()
  await expirer.close()
  await disk.close()
  clearInterval(mending)
  rmSync(addressFile, { force: true })
  await Promise.all([server.close(), socket?.close()])
  await (agents === 'end' ? tmux.kill() : tmux.close())
  await watchdog.close()
  db.close()
  lock.release()
  onSignal.dispose()
  clearTimeout(limit)
  return 0
}

/** Takes in further secrets while the daemon runs; what it knew before stays hidden. */
function createGrowingRedactor(
  first: string[],
  patterns: RegExp[],
): Redactor & { add: (values: string[]) => void } {
  let values = first
  let current = createRedactor({ values, patterns })
  return {
    text: (text) => current.text(text),
    value: (value) => current.value(value),
    mayHold: (json) => current.mayHold(json),
    add(more) {
      values = [...new Set([...values, ...more])]
      current = createRedactor({ values, patterns })
    },
  }
}

/** What tasks of a project may do at most, where nobody of this machine asked for more. */
function limitOf(project: Project | null, claude: Settings['claude']): RightsLimit {
  return {
    permissionMode: project?.permissionMode ?? claude.permissionMode,
    allowedTools: [...claude.allowedTools, ...(project?.allowedTools ?? [])],
    inPlace: project?.inPlace ?? false,
  }
}

/** A tmux that hangs must not hold up whoever asks how the daemon is. */
async function tmuxState(tmux: TmuxServer): Promise<'ok' | 'down'> {
  const asked = tmux.run([['display-message', '-p', '']], { readOnly: true })
  const answered = asked.then(
    ([reply]) => reply?.ok === true,
    () => false,
  )
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, TMUX_ANSWERS_MS, false))
  return (await Promise.race([answered, late])) ? 'ok' : 'down'
}

/** After a start that failed: a server without agents ends, one with agents waits for the next start. */
async function leaveTmux(tmux: TmuxServer): Promise<void> {
  const panes = await listPanes(tmux)
  await (panes.some(({ marks }) => marks.task !== undefined) ? tmux.close() : tmux.kill())
}

function createHome(home: string): void {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new CcmError(
      'BAD_CONFIG',
      `The folder of all state, ${home}, cannot be made: ${messageOf(error)}.`,
      {
        remedy: 'Set CCM_HOME to a folder that can be written.',
        cause: error,
      },
    )
  }
}

/** Beside the tmux folder where the home is too deep for a socket. */
function socketIn(home: string, name: string): string {
  const inHome = join(home, name)
  return Buffer.byteLength(inHome) <= 100 ? inHome : join(tmuxFolder(home), name)
}

function toSettings(
  config: Config,
  inherited: Record<string, string>,
  hookScript: string,
  worker: string,
): Omit<Settings, 'ask'> {
  const { timeouts, agents } = config
  return {
    home: config.home,
    userHome: inherited['HOME'] ?? homedir(),
    hookScript,
    inherited,
    claude: config.claude,
    outside: {
      ...config.outside,
      templateTools: config.templates.flatMap(({ allowedTools }) => allowedTools),
    },
    maxConcurrent: agents.maxConcurrent,
    minFreeMemoryMb: agents.minFreeMemoryMb,
    takes: { roles: agents.roles, labels: agents.labels },
    markers: config.markers,
    deadlines: {
      startMs: timeouts.startMs,
      noActivityMs: timeouts.noActivityMs,
      totalMs: timeouts.taskMs,
      waitingMs: timeouts.waitingMs,
    },
    exitMs: timeouts.exitMs,
    askMs: timeouts.askMs,
    heartbeatMs: config.queue.heartbeatMs,
    sweepMs: config.queue.sweepMs,
    worker,
    keepMs: config.queue.keepMs,
    look: config.sweep,
  }
}

/** A write does it too; this is for the hours without one. */
function mendDatabase(db: Database, logger: Logger): void {
  try {
    if (db.mend()) logger.error({ code: 'DATABASE_MENDED' }, db.notices.at(-1) ?? 'the database was put back')
  } catch (err) {
    logger.error({ err }, 'the database is gone and cannot be put back')
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

/** Closed at once: the daemon that hung is gone, and this one serves. */
function recordHang(incidents: Incidents, hang: Hang, now: number, logger: Logger): void {
  const key = `daemon_hung:${hang.at}`
  const about = { what: hangSentence(hang), evidence: hang.stack.join('\n'), alert: false }
  const openedAt = hang.at - hang.limitMs
  const action = 'The watchdog ended it, and it was started again.'
  try {
    const who = { taskId: null, attempt: null }
    incidents.open({ kind: 'daemon_hung', key, ...about, action, ...who, openedAt }, [])
    incidents.close(key, now, null)
  } catch (err) {
    logger.error({ err }, 'an incident could not be recorded')
  }
}

/** Asks systemd once whether agents can have scopes, when the first agent needs to know. */
function scopeFinder(config: Config, logger: Logger): () => Promise<string[] | null> {
  let known: Promise<string[] | null> | null = null
  const find = async () => {
    if (!config.scope.enabled) return null
    const { argv, reason } = await probeScope(config.scope, process.env, process.getuid?.() === 0)
    if (argv === null) logger.info(`agents run without a scope of their own: ${reason}`)
    return argv
  }
  return () => (known ??= find())
}

/** The first TERM or INT ends in order, a second at once; HUP reads the configuration again. */
function handleSignals(on: { end: () => void; reload: () => void; logger: Logger }): { dispose: () => void } {
  let signals = 0
  const onEnd = (signal: NodeJS.Signals) => {
    if (++signals > 1) process.exit(EXIT_FORCED)
    on.logger.info({ code: signal }, 'ending')
    on.end()
  }
  const ends = ['SIGINT', 'SIGTERM'] as const
  for (const signal of ends) process.on(signal, onEnd)
  process.on('SIGHUP', on.reload)
  return {
    dispose: () => {
      for (const signal of ends) process.off(signal, onEnd)
      process.off('SIGHUP', on.reload)
    },
  }
}

/** The configuration that counts from now on; a faulty one changes nothing and is told. */
async function reload(
  read: () => Config,
  before: Config,
  settings: Settings,
  hide: (values: string[]) => void,
  logger: Logger,
): Promise<Config> {
  let after: Config
  try {
    const { config, values } = await withSecrets(read(), process.env)
    hide(values)
    after = config
  } catch (err) {
    logger.error({ err, code: 'BAD_CONFIG' }, 'the configuration was not reloaded; the old one counts')
    return before
  }
  const { taken, later } = changesOf(before, after)
  takeOver(settings, after)
  logger.level = after.log.level
  logger.info(`configuration reloaded; changed: ${taken.join(', ') || 'nothing'}`)
  if (later.length > 0) logger.warn(`these changes need a restart (ccm restart): ${later.join(', ')}`)
  return after
}

/** Why systemd should end this process; null while loops, tmux and the database are fresh. */
async function whySick(of: {
  beats: Beats
  loopMs: number
  tmux: TmuxServer
  db: Database
}): Promise<string | null> {
  const [silent] = of.beats.silent(of.loopMs)
  if (silent !== undefined) return `the ${silent} stands still`
  // While no agent works nobody else looks; one that is gone is started again.
  if ((await tmuxState(of.tmux)) === 'down')
    await of.tmux.start().catch((error: unknown) => {
      throw new CcmError('TMUX_FAILED', `tmux does not answer: ${messageOf(error)}`)
    })
  // A real write with its fsync that changes nothing.
  of.db.prepare('PRAGMA application_id = 6513517').run({})
  return null
}

function host(config: Config): string {
  return config.http.host.includes(':') ? `[${config.http.host}]` : config.http.host
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** Beside it and renamed: a reader sees all of it or nothing. */
function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.part`, text, { mode: 0o600 })
  renameSync(`${file}.part`, file)
}
