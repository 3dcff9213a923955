import type { Logger } from 'pino'
import { CcmError } from '../core/errors.ts'
import type { ProjectSettings } from '../core/task/project.ts'
import type { Lease, Queue } from '../core/task/queue.ts'
import type { ListedTask } from '../core/task/task.ts'
import type { Attempts } from '../store/attempts.ts'
import { limitsOf, type Project, type Projects } from '../store/projects.ts'
import { tellLimits } from './claims/claim-filter.ts'
import { createInOrder } from './loops/in-order.ts'
import { inTime } from './loops/in-time.ts'
import { isAway } from './shared/away.ts'
import type { SharedDeps } from './supervisor-deps.ts'

/**
 * Changes of projects that the queue must hear of. The limits of a project are those of this machine, and a queue that
 * is shared has them for all machines: there they change by what somebody sets, here or elsewhere, and by nothing else.
 */
export type ProjectDesk = {
  /**
   * Tells the queue what it has not heard: a daemon may have died between a change and its telling. Limits that were
   * set elsewhere are taken over, now and every minute.
   */
  begin: () => Promise<void>
  /**
   * Tells the queue of one that was added, changed or removed, and others who share it which projects this machine has:
   * where they ask for work, they must find it. Resolves once that is done, and after 5 s at the latest; then it is
   * tried until it is done. Never rejects.
   */
  tell: (name: string) => Promise<void>
  /** False while the queue does not know it as it is here. */
  isTold: (name: string) => boolean
  /** Null: there is no such project. */
  update: (name: string, changes: Partial<ProjectSettings>) => Promise<Project | null>
  /**
   * Throws CONFLICT while tasks of it are queued or running, because no agent could start for them again; of a shared
   * queue, whose other machines may have it too, only while they run here.
   */
  remove: (name: string) => Promise<Project | null>
  close: () => Promise<void>
}

const ANSWER_MS = 5000
const AGAIN_MS = 10_000
const LIMITS_MS = 60_000
/** How many living tasks a refusal names. */
const NAMED = 3

export function createProjectDesk(deps: {
  queue: Pick<Queue, 'list' | 'configureProject'>
  projects: Projects
  attempts: Pick<Attempts, 'openOnes'>
  shared?: Pick<SharedDeps, 'describe' | 'limits' | 'claimed'> | undefined
  logger: Logger
}): ProjectDesk {
  const { queue, projects, shared, logger } = deps
  /** What the queue has to hear of, each with the number of its newest change. */
  const owed = new Map<string, number>()
  let changes = 0
  /** What an earlier daemon did not tell is told when this one joins. */
  let hasJoined = shared === undefined
  const line = createInOrder(step, logger)
  let timer: NodeJS.Timeout | null = null

  async function step(): Promise<number | null> {
    const [next] = owed
    if (next === undefined) return null
    const [name, change] = next
    try {
      await meet(name)
      await shared?.describe()
    } catch (err) {
      if (!isAway(err)) logger.warn({ err }, 'the queue could not be told of the projects of this machine')
      return AGAIN_MS
    }
    // It may have been changed again meanwhile.
    if (owed.get(name) === change) owed.delete(name)
    return 0
  }

  /** What is set here and elsewhere meets: afterwards the queue has each project, and this machine its limits. */
  async function meet(name?: string): Promise<void> {
    await tellLimits(deps)
    const before = projects.list().filter((project) => name === undefined || project.name === name)
    const known = new Map((await shared?.limits())?.map((limits) => [limits.name, limits]))
    for (const seen of before) {
      const limits = known.get(seen.name)
      if (limits === undefined) await queue.configureProject(limitsOf(seen))
      else if (projects.takeLimits(seen, limits))
        logger.info(limits, 'limits of a project were set elsewhere')
    }
  }

  function meetAgain(): void {
    meet().catch((err: unknown) => {
      if (!isAway(err)) logger.warn({ err }, 'the limits of projects could not be read')
    })
  }

  /** Ids of tasks that would be left behind, the first few. */
  async function livingOf(name: string): Promise<string[]> {
    if (shared !== undefined) {
      const isOwn = (lease: Lease) => shared.claimed(lease)?.project === name
      return deps.attempts
        .openOnes()
        .filter(isOwn)
        .map(({ taskId }) => taskId)
    }
    const alive: ListedTask[] = []
    for (const status of ['running', 'queued'] as const)
      alive.push(...(await queue.list({ status, projects: [name], limit: NAMED + 1 })))
    return alive.map(({ id }) => id)
  }

  async function tell(name: string): Promise<void> {
    changes += 1
    owed.set(name, changes)
    line.nudge()
    await inTime(ANSWER_MS, line.settled(), () => undefined)
  }

  return {
    async begin() {
      await meet()
      hasJoined = true
      if (shared !== undefined) timer ??= setInterval(meetAgain, LIMITS_MS).unref()
    },
    tell,
    isTold: (name) => hasJoined && !owed.has(name),
    async update(name, changes) {
      // Both limits are told together: the one that is not changed here may have been set elsewhere.
      if ('maxRunning' in changes || 'paused' in changes)
        await inTime(ANSWER_MS, meet(name), () => undefined).catch(() => undefined)
      const project = projects.update(name, changes)
      if (project !== null) await tell(name)
      return project
    },
    async remove(name) {
      const alive = await livingOf(name)
      if (alive.length > 0) {
        const ids = alive.slice(0, NAMED)
        const more = alive.length > NAMED ? ', …' : ''
        throw new CcmError(
          'CONFLICT',
          `The project ${name} has living tasks (${ids.join(', ')}${more}), so it was not removed.`,
          { remedy: `Wait for them, or end them: ccm cancel ${ids[0]}` },
        )
      }
      const project = projects.remove(name)
      if (project !== null) {
        // A project that gets this name later starts without limits.
        if (shared === undefined) await queue.configureProject({ name, maxRunning: null, paused: false })
        await tell(name)
      }
      return project
    },
    async close() {
      if (timer !== null) clearInterval(timer)
      await line.close()
    },
  }
}
