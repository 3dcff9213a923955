import type { Claude } from '../agent/claude.ts'
import type { Meters } from '../core/incident/meters.ts'
import type { Queue } from '../core/task/queue.ts'
import type { ListedTask } from '../core/task/task.ts'
import { createBeginning } from './attempts/begin-task.ts'
import type { Runner } from './attempts/runner.ts'
import { isGrowing, occupiesSlot } from './attempts/running-agent.ts'
import { createClaimFilter } from './claims/claim-filter.ts'
import { createDispatcher, type Dispatcher } from './claims/dispatcher.ts'
import { createPassedOver } from './claims/passed-over.ts'
import { createWakes, type Wakes } from './claims/wakes.ts'
import type { Recovery } from './incidents/recovery.ts'
import type { Listeners } from './listeners.ts'
import type { WatchedLoop } from './loops/patience.ts'
import type { SupervisorDeps } from './supervisor-deps.ts'
import type { Places } from './workspaces/places.ts'
import type { Workspaces } from './workspaces/workspaces.ts'

/** What takes tasks from the queue and begins them: what may be claimed, when it is asked for, and what is counted. */
export function createClaiming(
  deps: SupervisorDeps,
  of: {
    loop: WatchedLoop<Queue>
    /** Renews the leases of all agents of ours; throws when it cannot. */
    renew: () => Promise<void>
    workspaces: Workspaces
    places: Places
    recovery: Recovery
    runner: Runner
    claude: () => Promise<Claude>
    modelOf: (task: ListedTask) => string | null
    meters: Meters
    listeners: Listeners
  },
): { dispatcher: Dispatcher; wakes: Wakes } {
  const { settings, projects, budgets, blackBox, tmux, clock, logger } = deps
  const { loop, workspaces, recovery, runner, modelOf, meters } = of
  const { notify, notifyEnd } = of.listeners
  const isShared = deps.shared !== undefined
  const queue = loop.api
  const { spent } = budgets
  const passedOver = createPassedOver({
    queue,
    projects,
    isShared,
    worksInPlace: workspaces.worksInPlace,
    holderOf: of.places.holderOf,
    isLimited: () => recovery.limits.holds().length > 0,
    limitedUntil: (task) => recovery.limits.until(modelOf(task)),
  })
  const dispatcher = createDispatcher({
    ...loop.watched,
    queue,
    renew: () => loop.during(of.renew()),
    filter: createClaimFilter({ queue, projects, spent, passedOver, takes: settings.takes }),
    gate: recovery.gate,
    claimed: (task) => {
      meters.claims.add({ project: task.project })
      // Of later attempts nobody knows since when they waited.
      if (task.attempt === 1)
        meters.wait.observe({}, Math.max(0, clock() - Math.max(task.createdAt, task.scheduledAt)) / 1000)
      recovery.breakers.claimed(task)
    },
    occupied: () => [...runner.agents.values()].filter(occupiesSlot).length,
    isShared,
    starting: () => [...runner.agents.values()].filter((agent) => isGrowing(agent, clock())).length,
    maxConcurrent: () => settings.maxConcurrent,
    minFreeMemoryMb: () => settings.minFreeMemoryMb,
    ready: async () => {
      // While no agent works nobody looks at tmux, so its end is noticed here.
      await tmux.run([['display-message', '-p', '']], { readOnly: true }).catch(() => tmux.start())
      await of.claude()
    },
    onReaped: notifyEnd,
    start: createBeginning({
      budgets,
      recovery,
      runner,
      blackBox,
      queue: deps.queue,
      modelOf,
      notify,
      putOff: (ms) => wakes.after(ms),
      clock,
      random: Math.random,
      logger,
    }),
    sweepMs: settings.sweepMs,
    clock,
    logger,
  })
  const { nudge } = dispatcher
  const wakes = createWakes({ queue: deps.queue, worker: settings.worker, nudge, clock, logger })
  return { dispatcher, wakes }
}
