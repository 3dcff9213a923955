import type { ClaimFilter, Queue } from '../core/queue.ts'
import type { Projects } from '../store/projects.ts'

/**
 * What this worker can take now. Before it answers, the queue knows the limits of each trusted project as they
 * are set here: also after a crash between the two, and for a project that came back under an old name.
 */
export function createClaimFilter(deps: {
  queue: Pick<Queue, 'configureProject'>
  projects: Pick<Projects, 'list'>
  /** Why a project's tasks may not start for the money they would cost; null: they may. */
  spent: (project: string) => string | null
  /** Queued tasks whose directory is taken; `oneByOne`: two others want the same one. */
  inTheWay: () => Promise<{ except: string[]; oneByOne: boolean; /** Projects. */ busy?: string[] }>
  /** Roles and labels of this worker; those of the embedded queue are none. */
  takes?: Pick<ClaimFilter, 'roles' | 'labels'> | undefined
}): () => Promise<ClaimFilter & { oneByOne: boolean }> {
  const told = new Map<string, string>()
  return async () => {
    const trusted = deps.projects.list().filter((project) => project.trusted)
    for (const { name, maxRunning, paused } of trusted) {
      const limits = `${maxRunning} ${paused}`
      if (told.get(name) === limits) continue
      await deps.queue.configureProject({ name, maxRunning, paused })
      told.set(name, limits)
    }
    const { busy = [], ...inTheWay } = await deps.inTheWay()
    const affordable = trusted.filter(({ name }) => deps.spent(name) === null && !busy.includes(name))
    return {
      projects: affordable.map(({ name }) => name),
      ...(deps.takes ?? { roles: null, labels: [] }),
      ...inTheWay,
    }
  }
}
