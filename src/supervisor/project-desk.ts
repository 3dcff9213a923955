import type { Logger } from 'pino'
import { CcmError } from '../core/errors.ts'
import type { ProjectSettings } from '../core/task/project.ts'
import type { Queue } from '../core/task/queue.ts'
import type { ListedTask } from '../core/task/task.ts'
import type { Project, Projects } from '../store/projects.ts'
import { createInOrder } from './loops/in-order.ts'
import { inTime } from './loops/in-time.ts'
import { isAway } from './shared/away.ts'
import type { SharedDeps } from './supervisor-deps.ts'

/** Changes of projects that the queue must hear of. The local row is the truth; the queue is told again at each start. */
export type ProjectDesk = {
  /** Tells the queue of every project: a daemon may have died between a change and its telling. */
  tellAll: () => Promise<void>
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
  /** Throws CONFLICT while tasks of it are queued or running, because no agent could start for them again. */
  remove: (name: string) => Promise<Project | null>
  close: () => Promise<void>
}

const ANSWER_MS = 5000
const AGAIN_MS = 10_000
/** How many living tasks a refusal names. */
const NAMED = 3

export function createProjectDesk(deps: {
  queue: Pick<Queue, 'list' | 'configureProject'>
  projects: Projects
  shared?: Pick<SharedDeps, 'describe'> | undefined
  logger: Logger
}): ProjectDesk {
  const { queue, projects, shared, logger } = deps
  const configure = ({ name, maxRunning, paused }: Project) =>
    queue.configureProject({ name, maxRunning, paused })
  /** What the queue has to hear of, each with the number of its newest change. */
  const owed = new Map<string, number>()
  let changes = 0
  /** What an earlier daemon did not tell is told when this one joins. */
  let hasJoined = shared === undefined
  const line = createInOrder(step, logger)

  async function step(): Promise<number | null> {
    const [next] = owed
    if (next === undefined) return null
    const [name, change] = next
    try {
      const project = projects.byName(name)
      if (project !== null) await configure(project)
      await shared?.describe()
    } catch (err) {
      if (!isAway(err)) logger.warn({ err }, 'the queue could not be told of the projects of this machine')
      return AGAIN_MS
    }
    // It may have been changed again meanwhile.
    if (owed.get(name) === change) owed.delete(name)
    return 0
  }

  async function tell(name: string): Promise<void> {
    changes += 1
    owed.set(name, changes)
    line.nudge()
    await inTime(ANSWER_MS, line.settled(), () => undefined)
  }

  return {
    async tellAll() {
      for (const project of projects.list()) await configure(project)
      hasJoined = true
    },
    tell,
    isTold: (name) => hasJoined && !owed.has(name),
    async update(name, changes) {
      const project = projects.update(name, changes)
      if (project !== null) await tell(name)
      return project
    },
    async remove(name) {
      const alive: ListedTask[] = []
      for (const status of ['running', 'queued'] as const) {
        alive.push(...(await queue.list({ status, projects: [name], limit: NAMED + 1 })))
      }
      if (alive.length > 0) {
        const ids = alive.slice(0, NAMED).map(({ id }) => id)
        const more = alive.length > NAMED ? ', …' : ''
        throw new CcmError(
          'CONFLICT',
          `The project ${name} has living tasks (${ids.join(', ')}${more}), so it was not removed.`,
          { remedy: `Wait for them, or end them: ccm cancel ${ids[0]}` },
        )
      }
      const project = projects.remove(name)
      // A project that gets this name later starts without limits.
      if (project !== null) {
        await queue.configureProject({ name, maxRunning: null, paused: false })
        await tell(name)
      }
      return project
    },
    close: line.close,
  }
}
