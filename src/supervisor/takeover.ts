import { join } from 'node:path'
import { attemptFiles } from '../agent/launch.ts'
import type { Lease } from '../core/task/queue.ts'
import type { AgentFacts } from '../core/incident/alerts.ts'
import { adoptAll, adoptProvisionally } from './adopt.ts'
import { createDeadly } from './incidents/deadly.ts'
import type { Ingest } from './ingest/ingest.ts'
import { mayHoldEvents, spoolsIn } from './ingest/spool.ts'
import { createJoin } from './join.ts'
import { createLeftovers } from './leftovers.ts'
import type { ProjectDesk } from './project-desk.ts'
import type { Recovery } from './incidents/recovery.ts'
import type { Runner } from './attempts/runner.ts'
import { bestEffort } from './attempts/outcome.ts'
import { spoolOf } from './attempts/running-agent.ts'
import type { SupervisorDeps } from './supervisor-deps.ts'
import { forgiveSleep, machineSleptMs } from './upkeep/slept.ts'
import type { WorkspaceSweep } from './workspaces/workspace-sweep.ts'
import type { Workspaces } from './workspaces/workspaces.ts'

/** What a fleet does before its first claim: it takes over what an earlier daemon left. */
export type Takeover = {
  /** Resolves once everything is taken over, or what can be while the queue does not answer. */
  begin: () => Promise<void>
  /** What was found, one sentence each. */
  found: () => string[]
  /** What of it does not die, and holds no task. */
  left: () => AgentFacts[]
  close: () => Promise<void>
}

/**
 * Nothing may be claimed before `joined` is called: every agent of before is known then, and the queue has heard of
 * this worker. That comes with `begin`, or as soon as the queue answers.
 */
export function createTakeover(
  deps: SupervisorDeps,
  fleet: {
    ingest: Ingest
    desk: ProjectDesk
    runner: Runner
    recovery: Recovery
    renew: () => Promise<void>
    trees: WorkspaceSweep
    workspaces: Workspaces
    /** Reports are in the outbox. */
    deliver: () => void
  },
  joined: () => void,
): Takeover {
  const { settings, queue, attempts, tmux, clock, logger, shared } = deps
  const { ingest, desk, runner, recovery, renew, trees, workspaces, deliver } = fleet
  const deadly = createDeadly(deps.blackBox, recovery.recorder)
  const leftovers = createLeftovers({ tmux, runner, workspaces, settled: deliver, logger })
  const found: string[] = []
  /** Found before the queue was joined. */
  const left: string[] = []

  function note(sentences: string[]): void {
    found.push(...sentences)
    for (const sentence of sentences) logger.info(sentence)
    recovery.adopted(sentences)
  }

  /** What an attempt left in its spool, also one that nobody knows. Only before it is watched, or when it is over. */
  async function readLeftover(spool: Lease & { folder: string }, isOver: boolean): Promise<void> {
    if (!deadly.is(spool.taskId)) {
      const attempt = attempts.get(spool)
      const known = attempt === null ? {} : spoolOf(attempt)
      return deps.blackBox.meanwhile(spool, (gotOn) => ingest.leftover({ ...known, ...spool }, gotOn, isOver))
    }
    deadly.setAside(spool.folder)
    if (attempts.openOnes().some(({ taskId }) => taskId === spool.taskId)) return
    // Of an attempt that is over nobody else would tell.
    deadly.tell(spool)
    deadly.over(spool.taskId)
  }

  async function readLeftovers(): Promise<number> {
    const left = spoolsIn(join(settings.home, 'attempts'))
    for (const spool of left) await readLeftover(spool, false)
    return left.length
  }

  /** Also one without an event: what could not be written is counted beside it. */
  async function readLast({ taskId, attempt }: Lease): Promise<void> {
    const { spool: folder } = attemptFiles(join(settings.home, 'attempts', `${taskId}.${attempt}`))
    if (mayHoldEvents(folder) || !deadly.is(taskId)) await readLeftover({ taskId, attempt, folder }, true)
  }

  const joining = createJoin({
    async join() {
      await shared?.register()
      await desk.begin()
      const adopted = await adoptAll({
        queue,
        attempts,
        runner,
        tmux,
        home: settings.home,
        deadly,
        leftovers,
        clock,
        elsewhereMs: (lease) =>
          shared === undefined || shared.claimed(lease) !== null ? 0 : shared.fence.leaseMs,
        // It went on writing while the others' spools were read.
        ended: readLast,
        stray: (what, left) =>
          recovery.recorder.note({ kind: 'stray_ended', what, action: left ?? 'Nothing is left of it.' }),
      })
      note([...left.splice(0), ...adopted])
      await renew()
      const closed = await trees.atStart()
      for (const sentence of closed) logger.info(sentence)
      found.push(...closed)
      joined()
    },
    async meanwhile() {
      const taken =
        shared === undefined
          ? []
          : await adoptProvisionally({ attempts, runner, tmux, deadly, claimed: shared.claimed })
      note([...left.splice(0), 'Supabase does not answer: nothing is claimed until it does.', ...taken])
    },
    retryMs: settings.sweepMs,
    logger,
  })

  return {
    async begin() {
      bestEffort(() => forgiveSleep({ attempts, notes: deps.notes, sleptMs: machineSleptMs }))
      const spools = await readLeftovers()
      if (spools > 0)
        left.push(`Events were left in ${spools} ${spools === 1 ? 'spool' : 'spools'}; they are stored now.`)
      await joining.begin()
    },
    found: () => found,
    left: leftovers.all,
    close: () => joining.close(),
  }
}
