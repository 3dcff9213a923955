import type { Logger } from 'pino'
import { CcmError } from '../core/errors.ts'
import type { ProjectSettings } from '../core/project.ts'
import type { Queue } from '../core/queue.ts'
import type { ListedTask } from '../core/task.ts'
import type { Project, Projects } from '../store/projects.ts'
import { isAway } from './shared-queue.ts'
import type { SharedDeps } from './supervisor-deps.ts'

/** Changes of projects that the queue must hear of. The local row is the truth; the queue is told again at each start. */
export type ProjectDesk = {
  /** Tells the queue of every project: a daemon may have died between a change and its telling. */
  tellAll: () => Promise<void>
  /** Tells others who share the queue which projects this machine has: where they ask for work, they must find it. */
  describe: () => void
  /** Null: there is no such project. */
  update: (name: string, changes: Partial<ProjectSettings>) => Promise<Project | null>
  /** Throws CONFLICT while tasks of it are queued or running, because no agent could start for them again. */
  remove: (name: string) => Promise<Project | null>
}

/** How many living tasks a refusal names. */
const NAMED = 3

export function createProjectDesk(deps: {
  queue: Pick<Queue, 'list' | 'configureProject'>
  projects: Projects
  shared?: Pick<SharedDeps, 'describe'> | undefined
  logger: Logger
}): ProjectDesk {
  const { queue, projects, shared, logger } = deps
  const tell = ({ name, maxRunning, paused }: Project) => queue.configureProject({ name, maxRunning, paused })

  return {
    async tellAll() {
      for (const project of projects.list()) await tell(project)
    },
    describe() {
      shared?.describe().catch((err: unknown) => {
        if (!isAway(err)) logger.warn({ err }, 'the queue could not be told of the projects of this machine')
      })
    },
    async update(name, changes) {
      const project = projects.update(name, changes)
      if (project !== null) await tell(project)
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
      if (project !== null) await queue.configureProject({ name, maxRunning: null, paused: false })
      return project
    },
  }
}
