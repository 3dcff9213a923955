import { CcmError } from '../core/errors.ts'
import type { Queue } from '../core/queue.ts'
import type { Task } from '../core/task.ts'
import type { Project, Projects } from '../store/projects.ts'

/** How many living tasks a refusal names. */
const NAMED = 3

/**
 * Forgets a project; null: there was none. Throws CONFLICT while tasks of it are queued or running, because
 * no agent could ever start for them again.
 */
export async function removeProject(
  deps: { queue: Queue; projects: Projects },
  name: string,
): Promise<Project | null> {
  const alive: Task[] = []
  for (const status of ['running', 'queued'] as const) {
    const tasks = await deps.queue.list({ status, limit: 1_000_000 })
    alive.push(...tasks.filter(({ project }) => project === name))
  }
  if (alive.length > 0) {
    const ids = alive.slice(0, NAMED).map(({ id }) => id)
    const more = alive.length > NAMED ? ', …' : ''
    throw new CcmError(
      'CONFLICT',
      `The project ${name} has ${alive.length} living task${alive.length === 1 ? '' : 's'} (${ids.join(', ')}${more}), so it was not removed.`,
      { remedy: `Wait for them, or end them: ccm cancel ${ids[0]}` },
    )
  }
  return deps.projects.remove(name)
}
