import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inheritedEnvironment } from './agent/environment.ts'
import { costOf } from './agent/price.ts'
import { findPackageRoot } from './cli/package-root.ts'
import type { Config } from './config/config.ts'
import { looseConfig } from './config/with-secrets.ts'
import { createMeters } from './core/incident/meters.ts'
import { firstOf } from './core/errors.ts'
import { createAddress } from './daemon/announce.ts'
import { createApiDeps } from './daemon/api.ts'
import { host, limitOf, toSettings } from './daemon/daemon-settings.ts'
import { leaveTmux, tmuxState, whySick } from './daemon/fitness.ts'
import { createHealth } from './daemon/health.ts'
import { createHome, socketIn } from './daemon/home.ts'
import { attemptSecrets, openDoor } from './daemon/identity.ts'
import { readLastHang } from './daemon/last-hang.ts'
import { createMetricSources } from './daemon/metric-sources.ts'
import { createScrape } from './daemon/metrics.ts'
import { openStore } from './daemon/open-store.ts'
import { createOutside } from './daemon/outside.ts'
import { createOwnTasks } from './daemon/own-tasks.ts'
import { createPlanning } from './daemon/planning.ts'
import { chooseQueue } from './daemon/queue-choice.ts'
import { reload } from './daemon/reload.ts'
import { readSecrets } from './daemon/secrets.ts'
import { serve } from './daemon/serving.ts'
import { EXIT_FORCED, handleSignals } from './daemon/signals.ts'
import { createStores } from './daemon/stores.ts'
import { createTelegramDesk } from './daemon/telegram-desk.ts'
import { tellMissingTemplates } from './daemon/templates.ts'
import { tmuxFolder, tmuxHost } from './daemon/tmux-host.ts'
import { startUpkeep } from './daemon/upkeep.ts'
import { createApp } from './http/app.ts'
import { readOrCreateToken } from './http/token.ts'
import { createGrowingRedactor } from './log/growing-redactor.ts'
import { createLogger } from './log/log.ts'
import { openLogOutput } from './log/output.ts'
import { createNotifiers } from './notify/notifiers.ts'
import { createServiceNotifier, keeperOf } from './service/notify.ts'
import { acquireHomeLock } from './store/lock.ts'
import { createBeats, createPulse, type StartPulse } from './supervisor/loops/beats.ts'
import { createBlackBox } from './supervisor/incidents/black-box.ts'
import { createBudgets } from './supervisor/claims/budgets.ts'
import type { DiskGuard } from './supervisor/upkeep/disk-guard.ts'
import { createSupervisor } from './supervisor/supervisor.ts'
import { startWatchdog } from './supervisor/loops/watchdog.ts'
import { openTmuxServer } from './tmux/server.ts'

/** Fewer beats than that would make a loop's limit inexact; more would only cost. */
const PULSE_MS = 5000
/** How long the parts of a start that failed may take to end. */
const FAILED_START_MS = 10_000

/** How the daemon is started: where its words go, and how it reads its configuration again. */
type DaemonOptions = { background: boolean; reload: () => Config }

/**
 * Runs the daemon until it is told to end, and answers its exit code. Throws what keeps it from starting:
 * LOCKED, PORT_TAKEN, TMUX_MISSING, a database that cannot be used; whatever was begun by then is ended.
 */
export async function runDaemon(given: Config, options: DaemonOptions): Promise<number> {
  // Everything that has an end is put on it as it begins, and ends in the opposite order.
  const lifetimes = new AsyncDisposableStack()
  try {
    return await run(lifetimes, given, options)
  } catch (error) {
    // What goes wrong at these ends is nothing to tell beside it.
    const ended = lifetimes.disposeAsync().catch(() => undefined)
    await Promise.race([ended, sleep(FAILED_START_MS)])
    throw firstOf(error)
  }
}

async function run(lifetimes: AsyncDisposableStack, given: Config, options: DaemonOptions): Promise<number> {
  const { home } = given
  createHome(home)
  lifetimes.defer(acquireHomeLock(join(home, 'lock.db')).release)
  const clock = Date.now
  const { config, hidden, supabaseKey, hs256Secret, ...secrets } = await readSecrets(given, process.env)
  const { token, notice } = readOrCreateToken(join(home, 'token'))
  const redactor = createGrowingRedactor([...hidden, token], config.redact.patterns)
  const output = await openLogOutput(config.log, home, process.env)
  const { level } = config.log
  const logger = createLogger({ level, redactor, stream: output, terminal: output.terminal })
  if (notice !== null) logger.warn(notice)
  const reportFile = join(home, 'hang.json')
  const lastHang = readLastHang(reportFile, logger)
  const notifier = createServiceNotifier(process.env, process.pid)
  const keptBy = keeperOf(process.env, process)

  // Null: it was not told yet whether agents live on, and where a start fails they do.
  let agents: 'keep' | 'end' | null = null
  const inherited = inheritedEnvironment(process.env)
  // tmux takes 20 ms to come up; the database is opened meanwhile, and closed after both.
  const beside = lifetimes.use(new AsyncDisposableStack())
  const tmuxComes = openTmuxServer({
    folder: tmuxFolder(home),
    env: inherited,
    host: tmuxHost(process.env, process.getuid?.() === 0),
    onTrouble: (message) => logger.warn({ code: 'TMUX_FAILED' }, message),
  })
  const tmuxOrNone = tmuxComes.catch(() => null)
  beside.defer(async () => {
    const tmux = await tmuxOrNone
    if (tmux !== null) await leaveTmux(tmux, agents)
  })
  const serving = serve(config.http, logger)
  beside.defer(serving.close)
  const { folder, version } = findPackageRoot(import.meta.url)
  const migrationsDir = join(folder, 'migrations/sqlite')
  let disk: DiskGuard | null = null
  const db = await openStore({ home, migrationsDir, clock, onFull: () => disk?.full() })
  lifetimes.defer(() => db.close())
  lifetimes.use(beside.move())
  for (const sentence of db.notices) logger.warn(sentence)
  const address = createAddress(home)
  lifetimes.defer(address.withdraw)

  const stores = createStores(db, redactor, clock)
  const { projects, spending } = stores
  const blackBox = createBlackBox({ file: join(home, 'at-work'), notes: stores.notes, logger })
  lifetimes.defer(blackBox.close)
  const chosen = await chooseQueue({
    config,
    secretKey: supabaseKey,
    db,
    notes: stores.notes,
    projects,
    version,
    limitOf: (name) => limitOf(projects.byName(name), settings.claude),
    clock,
    logger,
  })
  lifetimes.defer(() => chosen.close())
  const { queue, worker } = chosen
  const isFar = chosen.shared !== null
  const port = await serving.port
  const tmux = await tmuxComes
  const authenticate = await openDoor({ config: config.auth, hs256Secret, token, keys: stores.keys, clock })
  const socketFile = await serving.onSocket(socketIn(home, 'api.sock'))
  const secretOf = attemptSecrets(token)
  const settings = toSettings(config, { inherited, folder, worker, isFar, port, secretOf, logger })

  // Only from here: opening a large database, or migrating it, may rightly take longer than a hang.
  const beats = createBeats()
  const { eventLoopMs, loopMs } = config.watchdog
  const watchdog = startWatchdog({ beats, eventLoopMs, loopMs, reportFile, logger })
  lifetimes.defer(watchdog.close)
  const pulse: StartPulse = (loop, work) => createPulse(beats, loop, work, Math.min(PULSE_MS, loopMs / 4))
  lastHang.record(stores.incidents, clock())
  const meters = createMeters()
  const { breaker, alerts } = config
  const supervisor = createSupervisor({
    ...stores,
    blackBox,
    meters,
    settings,
    queue,
    budgets: createBudgets({ settings: config.budget, spending, projects, costOf, clock }),
    recovery: { breaker, alerts, notifiers: createNotifiers(config.notify), park: config.limits.park },
    redactor,
    tmux,
    clock,
    logger,
    pulse,
    ...(chosen.shared === null ? {} : { shared: chosen.shared }),
  })
  lifetimes.defer(() => supervisor.close(agents ?? 'keep'))
  chosen.onSupabase((word, sentence) => {
    if (word === 'down') return supervisor.pause({ kind: 'supabase', sentence, until: null })
    supervisor.lift('supabase')
    outside.inbox.nudge()
  })

  const insert = createOwnTasks(supervisor)
  const { schedules } = stores
  const scheduler = createPlanning({ schedules, queue, insert, clock, logger, pulse, isFar })
  lifetimes.defer(scheduler.close)
  const outside = createOutside({
    config,
    secrets: secrets.outside,
    store: stores.inbox,
    alertEnds: stores.alertEnds,
    queue,
    insert: ({ project, task, key }) => insert(project, task, key),
    supervisor,
    redactor,
    clock,
    logger,
    pulse,
    isFar,
  })
  lifetimes.defer(outside.close)
  const upkeep = startUpkeep({ config, db, stores, supervisor, clock, logger })
  lifetimes.defer(upkeep.close)
  disk = upkeep.disk

  const sources = createMetricSources({ db, stores, chosen, supervisor, clock })
  const scrape = createScrape(meters, sources, clock, (name, err) =>
    logger.warn({ err }, `the metric ${name} could not be told`),
  )
  const health = createHealth({
    database: () => db.isStillThere(),
    tmux: async () => (await tmuxState(tmux)) === 'ok',
    beats,
    loopMs,
    held: () => supervisor.holds().find(({ kind }) => kind !== 'slots')?.kind ?? null,
    disk: () => disk?.state() ?? 'ok',
    supabase: isFar ? async () => chosen.supabase() === 'ok' : null,
    clock,
  })
  const ending = Promise.withResolvers<'keep' | 'end'>()
  const begun = Promise.withResolvers<void>()
  const deps = createApiDeps({
    config,
    settings,
    db,
    stores,
    chosen,
    supervisor,
    scheduler,
    outside,
    indexer: upkeep.indexer,
    meters,
    tmux,
    clock,
    logger,
    authenticate,
    scrape,
    health,
    shutdown: ending.resolve,
    begun: begun.promise,
    secretOf,
    port,
    version,
    keptBy,
    hung: lastHang.sentences,
  })
  const telegram = await createTelegramDesk({
    config: config.telegram,
    secrets: secrets.outside,
    deps,
    attach: outside.attach,
    subscribe: deps.subscribe,
    redactor,
    logger,
  })
  lifetimes.defer(async () => telegram?.close())
  serving.answer(createApp(deps))
  address.announce({
    config,
    port,
    version,
    startedAt: clock(),
    socketFile,
    keptBy,
    // People read the greeting, logs a line.
    say: options.background ? (greeting) => logger.info(greeting) : null,
  })

  const loose = looseConfig(config)
  if (loose !== null) logger.warn({ code: 'LOOSE_CONFIG' }, loose)
  let now = config
  handleSignals({
    end: () => ending.resolve(now.daemon.onStop === 'keep' ? 'keep' : 'end'),
    reload: () =>
      void reload(options.reload, now, settings, redactor.add, logger).then((next) => (now = next)),
    logger,
  })
  // From the word on: what the start still waits for may take minutes, where Supabase is slow.
  const limited = ending.promise.then((mode) =>
    setTimeout(
      () => {
        logger.error('the daemon did not end in time; what it left open is settled at the next start')
        process.exit(EXIT_FORCED)
      },
      now.timeouts.shutdownMs + (mode === 'end' ? 30_000 : 0),
    ),
  )
  await supervisor.begin()
  begun.resolve()
  chosen.begin?.(supervisor, pulse)
  await notifier.ready(`serves http://${host(config)}:${port}`)
  lifetimes.defer(notifier.watch(() => whySick({ beats, loopMs, tmux, db })))
  await outside.inbox.begin()
  telegram?.begin()
  await scheduler.begin()
  void tellMissingTemplates(config, deps.templates, logger)
  const found = [...lastHang.sentences, ...supervisor.foundAtStart()]
  if (!options.background) for (const sentence of found) process.stderr.write(`${sentence}\n`)

  agents = await ending.promise
  void notifier.stopping()
  await lifetimes.disposeAsync()
  clearTimeout(await limited)
  return 0
}
