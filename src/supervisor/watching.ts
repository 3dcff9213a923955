import type { Meters } from '../core/incident/meters.ts'
import type { Queue } from '../core/task/queue.ts'
import { createLeaseKeeper } from './attempts/leases.ts'
import { bestEffort } from './attempts/outcome.ts'
import type { Ruling } from './attempts/ruling.ts'
import type { Runner, RunnerDeps } from './attempts/runner.ts'
import { createScreenSweep, type ScreenSweep } from './attempts/sweep.ts'
import type { Hold } from './claims/dispatcher.ts'
import type { Recovery } from './incidents/recovery.ts'
import type { Ingest } from './ingest/ingest.ts'
import type { WatchedLoop } from './loops/patience.ts'
import type { SupervisorDeps } from './supervisor-deps.ts'
import { createSleepNote, machineSleptMs } from './upkeep/slept.ts'

/** What is done for all running agents again and again: their screens are looked at, their leases renewed. */
export function createWatching(
  deps: SupervisorDeps,
  of: {
    loop: WatchedLoop<Queue>
    runner: Runner
    ingest: Ingest
    recovery: Recovery
    ruling: Pick<Ruling, 'unheld'>
    spend: RunnerDeps['spend']
    meters: Meters
    hold: (hold: Hold) => void
    hasTakenOver: () => boolean
  },
): { sweep: ScreenSweep; leases: ReturnType<typeof createLeaseKeeper> } {
  const { settings, tmux, clock, logger, pulse } = deps
  const { loop, runner, ingest, recovery, ruling, spend, meters } = of
  const noteSleep = createSleepNote({ notes: deps.notes, sleptMs: machineSleptMs })
  const sweep = createScreenSweep({
    ...(pulse === undefined ? {} : { pulse }),
    tmux,
    agents: runner.agents,
    look: settings.look,
    attendedMs: () => settings.attendedMs,
    clock,
    logger,
    took: (ms) => meters.sweep.observe({}, ms / 1000),
    onOrphans: (count) => recovery.orphans(count),
    hasTakenOver: of.hasTakenOver,
    onTick: () => {
      ingest.rescan()
      for (const agent of runner.agents.values()) {
        void spend(agent)
        void ruling.unheld(agent)
      }
      bestEffort(noteSleep)
    },
  })
  // The control client ends with its server: the next look need not wait for its turn.
  tmux.onLost(() => sweep.hurry())
  const leases = createLeaseKeeper({
    ...loop.watched,
    queue: loop.api,
    runner,
    everyMs: settings.heartbeatMs,
    lost: () => meters.leasesLost.add({}),
    // Until the next start: two daemons that register in turn would end each other's agents for ever.
    replaced: (why) => {
      const sentence = `${why} Give each machine a name of its own ([supabase] worker), then: ccm restart`
      of.hold({ kind: 'replaced', sentence, until: null })
    },
    fence: deps.shared?.fence,
    logger,
  })
  return { sweep, leases }
}
