import type { Queue } from '../../core/task/queue.ts'
import type { ListedTask, Task } from '../../core/task/task.ts'
import type { Project, Projects } from '../../store/projects.ts'

/** What a claim must leave. */
export type PassedOver = {
  /** Ids of tasks. */
  except: string[]
  /** Projects, as a whole. */
  busy: string[]
  /** Two of the others want the same directory: after each claim it is to be asked again. */
  oneByOne: boolean
}

/** More are not looked through: those behind them are claimed, and given back where they cannot start. */
const QUEUED_MAX = 10_000

/**
 * Tells which queued tasks this worker cannot start now: their directory is taken, or their model's usage limit is
 * reached. A claim of such a task would be an attempt for nothing.
 */
export function createPassedOver(deps: {
  queue: Pick<Queue, 'list'>
  projects: Pick<Projects, 'byName' | 'list'>
  /** The queue is far and may be long: its tasks are listed only while a model has reached its limit. */
  isShared: boolean
  worksInPlace: (project: Project, task: Pick<Task, 'id' | 'inPlace'>) => boolean
  /** The other task that has a directory, or null. */
  holderOf: (dir: string, taskId: string) => string | null
  /** Whether any model's limit is reached. */
  isLimited: () => boolean
  /** When the model of a task is free again; null: it is. */
  limitedUntil: (task: ListedTask) => number | null
}): () => Promise<PassedOver> {
  const { queue, projects, worksInPlace, holderOf } = deps
  return async () => {
    const isLimited = deps.isLimited()
    const queued =
      deps.isShared && !isLimited ? [] : await queue.list({ status: 'queued', limit: QUEUED_MAX })
    const limited = isLimited ? queued.filter((task) => deps.limitedUntil(task) !== null) : []
    const except = limited.map(({ id }) => id)
    if (deps.isShared) {
      const inPlace = projects.list().filter((project) => worksInPlace(project, { id: '', inPlace: null }))
      const busy = inPlace.filter(({ dir }) => holderOf(dir, '') !== null).map(({ name }) => name)
      return { except, busy, oneByOne: inPlace.length > busy.length }
    }
    const inPlace = queued.flatMap((task) => {
      const project = projects.byName(task.project)
      return project !== null && !limited.includes(task) && worksInPlace(project, task)
        ? [{ id: task.id, dir: project.dir }]
        : []
    })
    const taken = inPlace.filter(({ id, dir }) => holderOf(dir, id) !== null).map(({ id }) => id)
    return { except: [...except, ...taken], busy: [], oneByOne: inPlace.length - taken.length > 1 }
  }
}
