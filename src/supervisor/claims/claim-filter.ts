import type { ClaimFilter, Queue } from '../../core/task/queue.ts'
import type { Projects } from '../../store/projects.ts'
import type { PassedOver } from './passed-over.ts'

/** What this worker can take now. Before it answers, the queue knows the limits that were set here. */
export function createClaimFilter(deps: {
  queue: Pick<Queue, 'configureProject'>
  projects: Pick<Projects, 'list' | 'owedLimits' | 'toldLimits'>
  /** Why a project's tasks may not start for the money they would cost; null: they may. */
  spent: (project: string) => string | null
  passedOver: () => Promise<PassedOver>
  takes: Pick<ClaimFilter, 'roles' | 'labels'>
}): () => Promise<ClaimFilter & { oneByOne: boolean }> {
  return async () => {
    await tellLimits(deps)
    const trusted = deps.projects.list().filter((project) => project.trusted)
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

/** Tells the queue of limits that were set here and that it has not heard of. */
export async function tellLimits(deps: {
  queue: Pick<Queue, 'configureProject'>
  projects: Pick<Projects, 'owedLimits' | 'toldLimits'>
}): Promise<void> {
  for (const limits of deps.projects.owedLimits()) {
    await deps.queue.configureProject(limits)
    deps.projects.toldLimits(limits)
  }
}
