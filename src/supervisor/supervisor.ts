import { endedBy } from '../agent/agent-end.ts'
import { type Claude, createClaudeFinder } from '../agent/claude.ts'
import { createMeters } from '../core/incident/meters.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import type { Lease } from '../core/task/queue.ts'
import type { ListedTask } from '../core/task/task.ts'
import { createDelivery } from './attempts/deliver.ts'
import { createClaiming } from './claiming.ts'
import type { Hold } from './claims/dispatcher.ts'
import { createFleetApi, type FleetApi } from './fleet-api.ts'
import { fleetFacts } from './fleet-facts.ts'
import { createIngest } from './ingest/ingest.ts'
import { createListeners, type Listeners } from './listeners.ts'
import { watchLoop } from './loops/patience.ts'
import { createPlaces } from './workspaces/places.ts'
import { createProjectDesk } from './project-desk.ts'
import type { Recorder } from './incidents/recorder.ts'
import { createRecovery } from './incidents/recovery.ts'
import { createRetention, type Retention } from './upkeep/retention.ts'
import { createRuling } from './attempts/ruling.ts'
import { createRunner } from './attempts/runner.ts'
import { spoolOf } from './attempts/running-agent.ts'
import { createSpend } from './attempts/spend.ts'
import type { SupervisorDeps } from './supervisor-deps.ts'
import { createTakeover } from './takeover.ts'
import { createWatching } from './watching.ts'
import { createWorkspaceSweep } from './workspaces/workspace-sweep.ts'
import { createWorkspaces } from './workspaces/workspaces.ts'

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
  /** What was accepted for the queue came to nothing: people are told. */
  refused: (taskId: string, what: string) => void
  /** A cancel of this task may have been asked for elsewhere. */
  hintCancel: (taskId: string) => void
  claude: () => Promise<Claude>
  foundAtStart: () => string[]
  subscribe: Listeners['subscribe']
  /** No more claims; agents live on for the next daemon, or are ended and their tasks queued again. */
  close: (agents: 'keep' | 'end') => Promise<void>
}

/** A fleet that claims nothing before `begin`. */
export function createSupervisor(deps: SupervisorDeps): Supervisor {
  const { settings, queue, attempts, hookEvents, projects, budgets, tmux, clock, logger } = deps
  const { redactor, rules, worktrees, shared, pulse } = deps
  const isShared = shared !== undefined
  const watched = pulse === undefined ? {} : { pulse }
  const loopOnQueue = () => watchLoop(queue, pulse, isShared)
  const [reporting, claiming, renewing] = [loopOnQueue(), loopOnQueue(), loopOnQueue()]
  const meters = deps.meters ?? createMeters()

  const listeners = createListeners(queue, logger)
  const { notify, notifyEnd } = listeners
  listeners.subscribe(({ kind }) => kind === 'state' && sweep.hurry())

  const claude = createClaudeFinder({
    command: settings.claude.command ?? '',
    path: settings.claude.env['PATH'] ?? settings.inherited['PATH'] ?? '',
  })
  const desk = createProjectDesk({ queue, projects, attempts, shared, logger })
  const places = createPlaces()
  const workspaces = createWorkspaces({ home: settings.home, worktrees, places, clock, logger })

  const ingest = createIngest({
    ...watched,
    hookEvents,
    redactor,
    clock,
    logger,
    took: (ms, events) => {
      meters.ingest.observe({}, ms / 1000)
      meters.hookEvents.add({}, events)
    },
    onEvents,
  })
  const ruling = createRuling({
    rulesOf: (project) => rules.of(project),
    hookEvents,
    readSpool: ({ attempt }) => ingest.read(spoolOf(attempt)),
    onEvents: ({ attempt }, events) => onEvents(attempt, events),
    redactor,
    userHome: settings.userHome,
    clock,
    logger,
  })
  const spend = createSpend({
    budgets,
    stored: (taskId) => notify(taskId, 'task'),
    over: (task, why) => runner.end(task.id, endedBy('budget', why)),
    logger,
  })
  const runner = createRunner({
    rules,
    settings,
    tmux,
    attempts,
    hookEvents,
    projects,
    ingest: () => ingest,
    blackBox: deps.blackBox,
    redactor,
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
    answeredInWindow: ruling.inWindow,
    park: deps.recovery.park,
    started: (task) => recovery.over(task.id, 'Its next attempt was started.'),
    working: (tookMs) => meters.start.observe({}, tookMs / 1000),
    settled: (task, attempt, end) => {
      // First: whatever goes wrong with the rest, an outcome that nobody delivers is work done twice.
      delivery.nudge()
      meters.attemptsEnded.add({ project: task.project, outcome: end.outcome })
      recovery.ended({ ...task, model: modelOf(task) }, attempt, end)
      if (end.retryAfterMs) wakes.after(end.retryAfterMs)
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
  let hasTakenOver = false
  const recovery = createRecovery({
    settings: deps.recovery,
    incidents: deps.incidents,
    notes: deps.notes,
    facts: () => {
      const agents = hasTakenOver ? runner.agents : null
      return fleetFacts(
        { queue, attempts, agents, left: takeover.left(), clock },
        deps.recovery.alerts.windowMs,
      )
    },
    isRunning: (id) => runner.agents.has(id),
    taskOf: queue.get,
    worker: settings.worker,
    clock,
    random: Math.random,
    logger,
  })
  const takes = { ...settings.takes, elsewhere: isShared }
  const { dispatcher, wakes } = createClaiming(deps, {
    loop: claiming,
    renew: () => leases.renew(),
    workspaces,
    places,
    recovery,
    runner,
    claude,
    modelOf,
    meters,
    listeners,
  })
  const { sweep, leases } = createWatching(deps, {
    loop: renewing,
    runner,
    ingest,
    recovery,
    ruling,
    spend,
    meters,
    hold: dispatcher.hold,
    hasTakenOver: () => hasTakenOver,
  })
  let retention: Retention | null = null
  const takeover = createTakeover(
    deps,
    { ingest, desk, runner, recovery, renew: leases.renew, trees, workspaces, deliver: delivery.nudge },
    () => {
      delivery.nudge()
      dispatcher.lift('starting')
      void wakes.ofBefore()
      retention ??= createRetention({ queue, keepMs: settings.keepMs, logger })
    },
  )
  // A task that comes in meanwhile waits, until every agent of before is known.
  dispatcher.hold({ kind: 'starting', sentence: 'The daemon is starting.', until: null })

  function onEvents(lease: Lease, events: HookEvent[]): void {
    runner.onEvents(lease, events)
    notify(lease.taskId, 'hook')
  }

  function modelOf(task: ListedTask): string | null {
    return task.model ?? projects.byName(task.project)?.model ?? settings.claude.model
  }
  const api = createFleetApi({
    queue,
    projects,
    attempts,
    worktrees,
    desk,
    dispatcher,
    runner,
    ruling,
    workspaces,
    places,
    recovery,
    budgets,
    redactor,
    worker: settings.worker,
    takes,
    modelOf,
    waitsHere: (taskId) => shared?.waitsHere(taskId) === true,
    cancelWaits: (taskId) => shared?.cancelWaits(taskId) === true,
    listeners,
    cancelled: () => trees.nudge(),
    clock,
  })

  return {
    async begin() {
      await takeover.begin()
      hasTakenOver = true
    },
    ...api,
    claude,
    foundAtStart: takeover.found,
    subscribe: listeners.subscribe,
    recorder: recovery.recorder,
    pause: (hold) => dispatcher.hold(hold),
    lift: (kind) => dispatcher.lift(kind),
    wake: () => dispatcher.nudge(),
    changed: (taskId) => notify(taskId, 'task'),
    refused(taskId, what) {
      recovery.recorder.note({
        kind: 'accepted_refused',
        key: `refused:${taskId}`,
        what,
        action: 'It was accepted while Supabase did not answer. Nothing was done.',
        alert: true,
        taskId,
      })
    },
    hintCancel(taskId) {
      if (runner.agents.has(taskId)) leases.renew().catch(() => undefined)
    },
    async close(mode) {
      await takeover.close()
      wakes.close()
      await dispatcher.close()
      if (mode === 'end') await runner.endAll()
      await desk.close()
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
