import type { ClaimFilter, Queue } from '../../core/task/queue.ts'
import type { Projects } from '../../store/projects.ts'
import type { PassedOver } from './passed-over.ts'

/**
 * What this worker can take now. Before it answers, the queue knows the limits of each trusted project as they
 * are set here: also after a crash between the two, and for a project that came back under an old name.
 */
export function createClaimFilter(deps: {
  queue: Pick<Queue, 'configureProject'>
  projects: Pick<Projects, 'list'>
  /** Why a project's tasks may not start for the money they would cost; null: they may. */
  spent: (project: string) => string | null
  passedOver: () => Promise<PassedOver>
  takes: Pick<ClaimFilter, 'roles' | 'labels'>
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
    const { busy, except, oneByOne } = await deps.passedOver()
    const affordable = trusted.filter(({ name }) => deps.spent(name) === null && !busy.includes(name))
    return {
      projects: affordable.map(({ name }) => name),
      ...deps.takes,
      except,
      oneByOne,
    }
  }
}
