import { PLAIN_TASK } from './core/task.ts'
import { createHmac } from 'node:crypto'
import { join } from 'node:path'
import { inheritedEnvironment } from './agent/environment.ts'
import { createGuard } from './agent/guard.ts'
import { attemptFiles } from './agent/launch.ts'
import { costOf } from './agent/price.ts'
import { findPackageRoot } from './cli/package-root.ts'
import type { Config } from './config/config.ts'
import { createMeters } from './core/meters.ts'
import type { Lease } from './core/queue.ts'
import { createApp, type App } from './http/app.ts'
import { createApiDeps } from './daemon/api.ts'
import { limitOf, host, scopeFinder, toSettings } from './daemon/daemon-settings.ts'
import { leaveTmux, recordHang, tmuxState, whySick } from './daemon/fitness.ts'
import { announce } from './daemon/announce.ts'
import { keepMending, openStore } from './daemon/open-store.ts'
import { createGrowingRedactor } from './log/growing-redactor.ts'
import { createHome, socketIn } from './daemon/home.ts'
import { EXIT_FORCED, handleSignals } from './daemon/signals.ts'
import { listen, listenOnSocket } from './http/listen.ts'
import { readOrCreateToken } from './http/token.ts'
import { openDoor, readHs256Secret } from './daemon/identity.ts'
import { looseConfig, withSecrets } from './config/with-secrets.ts'
import { createHealth } from './daemon/health.ts'
import { createLogger } from './log/log.ts'
import { openLogOutput } from './log/output.ts'
import { createScrape, realtimeOf } from './daemon/metrics.ts'
import { createOutside, readOutsideSecrets } from './daemon/outside.ts'
import { createNotifiers } from './notify/notifiers.ts'
import { chooseQueue, readSupabaseKey } from './daemon/queue-choice.ts'
import { countsOfShared, createQueueCounts } from './queue/counts.ts'
import { createApiKeys } from './store/api-keys.ts'
import { createAuditLog } from './store/audit.ts'
import { createAttempts } from './store/attempts.ts'
import { createHookEvents } from './store/hook-events.ts'
import { acquireHomeLock } from './store/lock.ts'
import { createIncidents } from './store/incidents.ts'
import { createNotes } from './store/notes.ts'
import { createInboxStore } from './store/inbox.ts'
import { createOutbox } from './store/outbox.ts'
import { createPermissionRules } from './store/permission-rules.ts'
import { createProjects } from './store/projects.ts'
import { createExpiry } from './store/expiry.ts'
import { createSearch } from './store/search.ts'
import { createSpending } from './store/spending.ts'
import { createBudgets } from './supervisor/budgets.ts'
import { reload } from './daemon/reload.ts'
import { createServiceNotifier, keeperOf } from './service/notify.ts'
import { createBeats, createPulse, type StartPulse } from './supervisor/beats.ts'
import { createSchedules } from './store/schedules.ts'
import { watchLoop } from './supervisor/patience.ts'
import { createScheduler } from './supervisor/schedules.ts'
import { createWorktrees } from './store/worktrees.ts'
import { createDiskGuard, type DiskGuard } from './supervisor/disk-guard.ts'
import { createExpirer } from './supervisor/expire.ts'
import { createIndexer } from './supervisor/indexer.ts'
import { createSupervisor } from './supervisor/supervisor.ts'
import { hangSentence, readHang, startWatchdog } from './supervisor/watchdog.ts'
import type { Settings } from './supervisor/settings.ts'
import { openTmuxServer } from './tmux/server.ts'
import { missingTemplates } from './daemon/templates.ts'
import { createTelegramDesk } from './daemon/telegram-desk.ts'
import { tmuxFolder, tmuxHost } from './daemon/tmux-host.ts'

/** Fewer beats than that would make a loop's limit inexact; more would only cost. */
const PULSE_MS = 5000

/** How the daemon is started: where its words go, and how it reads its configuration again. */
type DaemonOptions = { background: boolean; reload: () => Config }
/** What a schedule says nothing about. */
const NEW_TASK = {
  dir: null,
  trust: false,
  ...PLAIN_TASK,
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
  const hs256Secret = await readHs256Secret(config.auth, process.env)
  const hidden = [...secrets, supabaseKey, hs256Secret, ...Object.values(outsideSecrets)]
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
  const reportFile = join(home, 'hang.json')
  const hang = readHang(reportFile)
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
  const db = await openStore({ home, migrationsDir, clock, onFull: () => disk?.full() }).catch(abandon)
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
  const authenticate = await openDoor({ config: config.auth, hs256Secret, token, keys, clock }).catch(abandon)
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
  const watchdog = startWatchdog({ beats, eventLoopMs, loopMs, reportFile, logger })
  const hookEvents = createHookEvents(db, redactor)
  const attempts = createAttempts(db, redactor)
  const rules = createPermissionRules(db)
  const incidents = createIncidents(db, redactor)
  if (hang !== null) recordHang(incidents, hang, clock(), reportFile, logger)
  const spending = createSpending(db)
  const worktrees = createWorktrees(db, clock)
  const auditLog = createAuditLog(db, clock)
  const pulse: StartPulse = (loop, work) => createPulse(beats, loop, work, Math.min(PULSE_MS, loopMs / 4))
  const meters = createMeters()
  const outbox = createOutbox(db)
  const isFar = chosen.shared !== null
  const planning = watchLoop(queue, pulse, isFar)
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
  chosen.onSupabase((word, sentence) => {
    if (word === 'ok') {
      supervisor.lift('supabase')
      outside.inbox.nudge()
    } else supervisor.pause({ kind: 'supabase', sentence, until: null })
  })

  const schedules = createSchedules(db)
  const scheduler = createScheduler({
    schedules,
    queue: planning.api,
    insert: async ({ project, task }, dedupeKey) => {
      const request = { ...NEW_TASK, ...task, project, dedupeKey, source: 'schedule' }
      return (await planning.during(supervisor.insert(request))).task
    },
    clock,
    logger,
    ...planning.watched,
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
    pulse,
    isFar,
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
  const search = createSearch(db)
  const expirer = createExpirer({
    db,
    expiry: createExpiry(db),
    pruneAudit: (rows) => auditLog.prune(clock() - config.store.keepAuditMs, rows),
    tidy: search.tidy,
    attempts,
    home,
    keepMs,
    maxBytes,
    clock,
    logger,
  })
  const mending = keepMending(db, supervisor.recorder, logger)
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
      realtime: () => realtimeOf(chosen.state()),
    },
    clock,
    (name, err) => logger.warn({ err }, `the metric ${name} could not be told`),
  )

  const ending = Promise.withResolvers<'keep' | 'end'>()
  const startedAt = clock()
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
  const deps = createApiDeps({
    config,
    settings,
    db,
    chosen,
    supervisor,
    scheduler,
    outside,
    inboxStore,
    projects,
    rules,
    attempts,
    hookEvents,
    incidents,
    spending,
    auditLog,
    search,
    indexer,
    meters,
    tmux,
    clock,
    logger,
    authenticate,
    scrape,
    health,
    shutdown: (agents) => ending.resolve(agents),
    secretOf,
    port,
    version: root.version,
    keptBy,
    hung,
  })

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
  const address = announce({
    home,
    config,
    port,
    version: root.version,
    startedAt,
    socketFile: socket === null ? null : socketFile,
    keptBy,
    // People read the greeting, logs a line.
    say: options.background ? (greeting) => logger.info(greeting) : null,
  })

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
    changed: (id) => supervisor.changed(id),
    refused: (taskId, what) => supervisor.refused(taskId, what),
    pulse,
    running: () => supervisor.agents().length,
    subscribe: (listener) => supervisor.subscribe(({ kind }) => kind !== 'hook' && listener()),
  })
  await notifier.ready(`serves http://${host(config)}:${port}`)
  const stopBeating = notifier.watch(() => whySick({ beats, loopMs, tmux, db }))
  await outside.inbox.begin()
  telegram?.begin()
  await scheduler.begin()
  void deps.templates.list().then((templates) => {
    for (const sentence of missingTemplates(config, templates))
      logger.warn({ code: 'BAD_TEMPLATE' }, sentence)
  })
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
  mending.close()
  address.withdraw()
  await Promise.all([server.close(), socket?.close()])
  await (agents === 'end' ? tmux.kill() : tmux.close())
  await watchdog.close()
  db.close()
  lock.release()
  onSignal.dispose()
  clearTimeout(limit)
  return 0
}
