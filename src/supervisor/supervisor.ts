import { join } from 'node:path'
import { type Claude, createClaudeFinder } from '../agent/claude.ts'
import { occupiesSlot } from '../agent/watcher.ts'
import { CcmError } from '../core/errors.ts'
import { createMeters } from '../core/meters.ts'
import type { ListedTask } from '../core/task.ts'
import { adoptAll, adoptProvisionally } from './adopt.ts'
import { createBeginning } from './begin-task.ts'
import { createClaimFilter } from './claim-filter.ts'
import { createDelivery } from './deliver.ts'
import { cancelledWith } from './dependents.ts'
import { createDispatcher, type Hold } from './dispatcher.ts'
import { createFleetApi, type FleetApi } from './fleet-api.ts'
import { fleetFacts } from './fleet-facts.ts'
import { createIngest } from './ingest.ts'
import { createJoin } from './join.ts'
import { createLeaseKeeper, endedBy } from './leases.ts'
import { createPassedOver } from './passed-over.ts'
import { watchLoop } from './patience.ts'
import { createPlaces } from './places.ts'
import { createProjectDesk } from './project-desk.ts'
import type { Recorder } from './recorder.ts'
import { createRecovery } from './recovery.ts'
import { createRetention, type Retention } from './retention.ts'
import { createRuling } from './ruling.ts'
import { createRunner } from './runner.ts'
import { type RunningAgent, spoolOf } from './running-agent.ts'
import { isAway } from './shared-queue.ts'
import type { SupervisorDeps } from './supervisor-deps.ts'
import { createScreenSweep } from './sweep.ts'
import { createWorkspaceSweep } from './workspace-sweep.ts'
import { createWorkspaces } from './workspaces.ts'

/** Something of this task was stored. */
export type Notice = { kind: 'hook' | 'state' | 'task'; taskId: string }

/** The fleet of one machine: claims tasks, runs and watches their agents, reports what came of them. */
export type Supervisor = FleetApi & {
  /** Takes back what an earlier daemon left, then claims. Resolves when agents can be started. */
  begin: () => Promise<void>
  /** Where what goes wrong is written down. */
  recorder: Recorder
  /** Claims nothing until it is lifted. */
  pause: (hold: Hold) => void
  lift: (kind: string) => void
  /** Looks for work soon. */
  wake: () => void
  /** Tells whoever listens that a task was changed by others. */
  changed: (taskId: string) => void
  /** A cancel of this task may have been asked for elsewhere. */
  hintCancel: (taskId: string) => void
  claude: () => Promise<Claude>
  foundAtStart: () => string[]
  subscribe: (listener: (notice: Notice) => void) => () => void
  /** No more claims; agents live on for the next daemon, or are ended and their tasks queued again. */
  close: (agents: 'keep' | 'end') => Promise<void>
}

/** An agent has most of its memory long before that. */
const MEMORY_SETTLES_MS = 30_000

/** A fleet that claims nothing before `begin`. */
export function createSupervisor(deps: SupervisorDeps): Supervisor {
  const { settings, queue, attempts, hookEvents, projects, budgets, tmux, clock, logger } = deps
  const watched = deps.pulse === undefined ? {} : { pulse: deps.pulse }
  const loopOnQueue = () => watchLoop(queue, deps.pulse, deps.shared !== undefined)
  const [reporting, claiming, renewing] = [loopOnQueue(), loopOnQueue(), loopOnQueue()]
  const meters = deps.meters ?? createMeters()
  const listeners = new Set<(notice: Notice) => void>()
  const found: string[] = []
  let retention: Retention | null = null

  const notify = (taskId: string, kind: Notice['kind']) => {
    for (const listener of listeners) listener({ kind, taskId })
    if (kind === 'state') sweep.hurry()
  }

  /** A task was moved by the queue, and may have taken others with it. */
  const notifyEnd = (taskId: string) => {
    notify(taskId, 'task')
    cancelledWith(queue, taskId).then(
      (ids) => ids.forEach((id) => notify(id, 'task')),
      (err: unknown) => logger.warn({ err, taskId }, 'tasks that depend on it could not be looked up'),
    )
  }

  const claude = createClaudeFinder({
    command: settings.claude.command ?? '',
    path: settings.claude.env['PATH'] ?? settings.inherited['PATH'] ?? '',
  })

  const desk = createProjectDesk({ queue, projects })
  const places = createPlaces()
  const workspaces = createWorkspaces({
    home: settings.home,
    worktrees: deps.worktrees,
    places,
    clock,
    logger,
  })

  const ingest = createIngest({
    ...watched,
    hookEvents,
    redactor: deps.redactor,
    clock,
    logger,
    took: (ms, events) => {
      meters.ingest.observe({}, ms / 1000)
      meters.hookEvents.add({}, events)
    },
    onEvents: (lease, events) => {
      runner.onEvents(lease, events)
      notify(lease.taskId, 'hook')
    },
  })
  const ruling = createRuling({
    rulesOf: (project) => deps.rules.of(project),
    hookEvents,
    readSpool: ({ attempt }) => ingest.read(spoolOf(attempt)),
    onEvents: ({ attempt }, events) => {
      runner.onEvents(attempt, events)
      notify(attempt.taskId, 'hook')
    },
    redactor: deps.redactor,
    userHome: settings.userHome,
    clock,
    logger,
  })
  const runner = createRunner({
    rules: deps.rules,
    settings,
    tmux,
    attempts,
    hookEvents,
    projects,
    ingest: () => ingest,
    redactor: deps.redactor,
    findClaude: claude,
    workspaces,
    clock,
    logger,
    notify: (taskId, kind) => {
      notify(taskId, kind)
      // A waiting agent has freed its slot, or one that goes on has taken it again.
      dispatcher.nudge()
    },
    spend,
    park: deps.recovery.park,
    started: (task) => recovery.over(task.id, 'Its next attempt was started.'),
    working: (tookMs) => meters.start.observe({}, tookMs / 1000),
    settled: (task, attempt, end) => {
      meters.attemptsEnded.add({ project: task.project, outcome: end.outcome })
      recovery.ended({ ...task, model: modelOf(task) }, attempt, end)
      delivery.nudge()
    },
  })
  const delivery = createDelivery({
    ...reporting.watched,
    outbox: deps.outbox,
    queue: reporting.api,
    clock,
    logger,
    onDelivered: (taskId) => {
      notifyEnd(taskId)
      dispatcher.nudge()
      trees.nudge()
    },
  })
  const trees = createWorkspaceSweep({
    workspaces,
    queue,
    isRunning: (taskId) => runner.agents.has(taskId),
    onClosed: (taskId) => notify(taskId, 'task'),
    everyMs: settings.sweepMs,
    logger,
  })
  const recovery = createRecovery({
    settings: deps.recovery,
    incidents: deps.incidents,
    notes: deps.notes,
    facts: () => fleetFacts({ queue, attempts, agents: runner.agents, clock }, deps.recovery.alerts.windowMs),
    isRunning: (id) => runner.agents.has(id),
    clock,
    random: Math.random,
    logger,
  })
  const takes = { ...settings.takes, elsewhere: deps.shared !== undefined }
  const passedOver = createPassedOver({
    queue: claiming.api,
    projects,
    isShared: deps.shared !== undefined,
    worksInPlace: workspaces.worksInPlace,
    holderOf: places.holderOf,
    isLimited: () => recovery.limits.holds().length > 0,
    limitedUntil: (task) => recovery.limits.until(modelOf(task)),
  })
  const dispatcher = createDispatcher({
    ...claiming.watched,
    queue: claiming.api,
    renew: () => claiming.during(leases.renew()),
    filter: createClaimFilter({ queue: claiming.api, projects, spent, passedOver, takes: settings.takes }),
    gate: recovery.gate,
    claimed: (task) => {
      meters.claims.add({ project: task.project })
      // Of later attempts nobody knows since when they waited.
      if (task.attempt === 1)
        meters.wait.observe({}, Math.max(0, clock() - Math.max(task.createdAt, task.scheduledAt)) / 1000)
      recovery.breakers.claimed(task)
    },
    occupied: () =>
      [...runner.agents.values()].filter(({ watcher }) => occupiesSlot(watcher?.view().state ?? 'spawning'))
        .length,
    isShared: deps.shared !== undefined,
    starting: () =>
      [...runner.agents.values()].filter(({ startedAt }) => clock() - startedAt < MEMORY_SETTLES_MS).length,
    maxConcurrent: () => settings.maxConcurrent,
    minFreeMemoryMb: () => settings.minFreeMemoryMb,
    ready: async () => {
      await ensureTmux()
      await claude()
    },
    onReaped: notifyEnd,
    start: createBeginning({ budgets, recovery, runner, queue, modelOf, notify, clock, logger }),
    sweepMs: settings.sweepMs,
    clock,
    logger,
  })
  const sweep = createScreenSweep({
    ...watched,
    tmux,
    agents: runner.agents,
    look: settings.look,
    clock,
    logger,
    took: (ms) => meters.sweep.observe({}, ms / 1000),
    onOrphans: (count) => recovery.orphans(count),
    onTick: () => {
      ingest.rescan()
      for (const agent of runner.agents.values()) void spend(agent)
    },
  })
  // The control client ends with its server: the next look need not wait for its turn.
  tmux.onLost(() => sweep.hurry())
  const leases = createLeaseKeeper({
    ...renewing.watched,
    queue: renewing.api,
    runner,
    everyMs: settings.heartbeatMs,
    lost: () => meters.leasesLost.add({}),
    fence: deps.shared?.fence,
    logger,
  })
  /** Found before the queue was joined. */
  const left: string[] = []
  const joining = createJoin({
    async join() {
      await deps.shared?.register()
      await desk.tellAll()
      note([
        ...left.splice(0),
        ...(await adoptAll({
          queue,
          attempts,
          runner,
          tmux,
          clock,
          logger,
          home: settings.home,
          stray: (what) =>
            recovery.recorder.note({ kind: 'stray_ended', what, action: 'Nothing is left of it.' }),
        })),
      ])
      await leases.renew()
      const closed = await trees.atStart()
      for (const sentence of closed) logger.info(sentence)
      found.push(...closed)
      delivery.nudge()
      dispatcher.lift('starting')
      retention ??= createRetention({ queue, keepMs: settings.keepMs, logger })
    },
    async meanwhile() {
      const { claimed } = deps.shared ?? {}
      const taken = claimed === undefined ? [] : await adoptProvisionally({ attempts, runner, tmux, claimed })
      note([...left.splice(0), 'Supabase does not answer: nothing is claimed until it does.', ...taken])
    },
    retryMs: settings.sweepMs,
    logger,
  })

  /** Where others ask for work on a project, they must find it. */
  function projectsChanged(): void {
    deps.shared?.describe().catch((err: unknown) => {
      if (!isAway(err)) logger.warn({ err }, 'the queue could not be told of the projects of this machine')
    })
  }

  function note(sentences: string[]): void {
    found.push(...sentences)
    for (const sentence of sentences) logger.info(sentence)
    recovery.adopted(sentences)
  }

  // A task that comes in meanwhile waits, until every agent of before is known.
  dispatcher.hold({ kind: 'starting', sentence: 'The daemon is starting.', until: null })

  /** Stores what an agent has used since the last time, and ends it where a budget is used up. Never rejects. */
  async function spend({ usage, task }: RunningAgent): Promise<void> {
    const messages = (await usage?.update()) ?? []
    if (messages.length === 0) return
    try {
      await budgets.record(task, messages)
      notify(task.id, 'task')
      const why = budgets.over(task)
      if (why !== null) runner.end(task.id, endedBy('budget', why))
    } catch (err) {
      logger.error({ err, taskId: task.id }, 'what an agent used could not be stored; it is tried again')
      usage?.again(messages)
    }
  }

  // While no agent works nobody looks at tmux, so its end is noticed here.
  async function ensureTmux(): Promise<void> {
    await tmux.run([['display-message', '-p', '']], { readOnly: true }).catch(() => tmux.start())
  }

  /** Why no task of this project may start today, or null. */
  function spent(project: string): string | null {
    return budgets.dayOver() ?? budgets.projectOver(project)
  }

  function modelOf(task: ListedTask): string | null {
    return task.model ?? projects.byName(task.project)?.model ?? settings.claude.model
  }
  const api = createFleetApi({
    queue,
    projects,
    attempts,
    worktrees: deps.worktrees,
    desk,
    dispatcher,
    runner,
    ruling,
    workspaces,
    places,
    recovery,
    budgets,
    redactor: deps.redactor,
    worker: settings.worker,
    takes,
    modelOf,
    spent,
    waitsHere: (taskId) => deps.shared?.waitsHere(taskId) === true,
    notify,
    notifyEnd,
    projectsChanged,
    cancelled: () => trees.nudge(),
    clock,
  })

  return {
    async begin() {
      const spools = await ingest.leftovers(join(settings.home, 'attempts'), (lease) => {
        const attempt = attempts.get(lease)
        return attempt === null ? null : spoolOf(attempt)
      })
      if (spools > 0)
        left.push(`Events were left in ${spools} ${spools === 1 ? 'spool' : 'spools'}; they are stored now.`)
      await joining.begin()
    },
    ...api,
    claude,
    foundAtStart: () => found,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    recorder: recovery.recorder,
    pause: (hold) => dispatcher.hold(hold),
    lift: (kind) => dispatcher.lift(kind),
    wake: () => dispatcher.nudge(),
    changed: (taskId) => notify(taskId, 'task'),
    hintCancel(taskId) {
      if (runner.agents.has(taskId)) leases.renew().catch(() => undefined)
    },
    async close(mode) {
      await joining.close()
      await dispatcher.close()
      if (mode === 'end') {
        const ends = [...runner.agents.keys()]
        for (const id of ends) runner.end(id, endedBy('drain', 'ccm was stopped; the task is queued again.'))
        const until = clock() + 2 * settings.exitMs + 5000
        while (runner.agents.size > 0 && clock() < until)
          await new Promise((resolve) => setTimeout(resolve, 50))
        if (runner.agents.size > 0)
          throw new CcmError('INTERNAL', `${runner.agents.size} agents did not end in time.`)
      }
      await retention?.close()
      leases.close()
      await trees.close()
      await sweep.close()
      await recovery.close(mode === 'end')
      await ingest.close()
      await delivery.close()
    },
  }
}
