import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Attempt } from '../core/agent/attempt.ts'
import type { AgentFacts } from '../core/incident/alerts.ts'
import type { Lease } from '../core/task/queue.ts'
import type { Task } from '../core/task/task.ts'
import type { TmuxServer } from '../tmux/server.ts'
import type { Runner } from './attempts/runner.ts'
import { forgetAgent, newAgent } from './attempts/running-agent.ts'
import { untilEnded } from './attempts/until-ended.ts'
import type { Workspaces } from './workspaces/workspaces.ts'

/**
 * Attempts of an earlier daemon that do not go on, and whose processes do not die: that is tried again and again, and
 * people are told. `settle` is called when nothing of them is left, and again where it throws.
 */
export type Leftovers = {
  /** One that is still ours: until then it keeps its lease, its slot and its directory. */
  hold: (task: Task, attempt: Attempt, settle: () => void) => void
  /** One that the queue does not count with any more. A second call for it changes nothing. */
  end: (lease: Lease, settle: () => void) => void
  /** Those that the queue does not count with. */
  all: () => AgentFacts[]
}

const SETTLE_AGAIN_MS = 5000

/** `settled` hears of each that was settled. */
export function createLeftovers(of: {
  tmux: TmuxServer
  runner: Pick<Runner, 'agents'>
  workspaces: Pick<Workspaces, 'takeBack' | 'leave'>
  settled: () => void
  logger: Logger
}): Leftovers {
  const { workspaces, logger } = of
  const { agents } = of.runner
  const known = new Map<string, { attempt: Lease; left: string | null }>()

  async function untilSettled(leftover: { attempt: Lease; left: string | null }, settle: () => void) {
    await untilEnded(of, leftover)
    for (;;) {
      try {
        settle()
        return of.settled()
      } catch (err) {
        logger.error(
          { err, taskId: leftover.attempt.taskId },
          'an outcome could not be stored; it is tried again',
        )
        await sleep(SETTLE_AGAIN_MS, undefined, { ref: false })
      }
    }
  }

  return {
    hold(task, attempt, settle) {
      const agent = newAgent(task, attempt)
      agents.set(task.id, agent)
      workspaces.takeBack(attempt)
      void untilSettled(agent, () => {
        settle()
        forgetAgent(agents, workspaces.leave, agent)
      })
    },
    end({ taskId, attempt }, settle) {
      const key = `${taskId}.${attempt}`
      if (known.has(key)) return
      const leftover = { attempt: { taskId, attempt }, left: null }
      known.set(key, leftover)
      void untilSettled(leftover, () => {
        settle()
        known.delete(key)
      })
    },
    all: () => [...known.values()].map(({ attempt, left }) => ({ ...attempt, waiting: null, left })),
  }
}
