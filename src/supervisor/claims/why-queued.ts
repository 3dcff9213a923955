import type { Clock } from '../../core/clock.ts'
import type { Queue } from '../../core/task/queue.ts'
import type { ListedTask, Task } from '../../core/task/task.ts'
import type { Projects } from '../../store/projects.ts'
import type { Hold } from './dispatcher.ts'

/** What a worker's settings let it take; `elsewhere`: the queue has other workers too. */
export type Takes = { roles: string[] | null; labels: string[]; elsewhere: boolean }

/** Why a task is not for this worker at all, for its labels or its role: a word, a colon and a sentence; or null. */
export function whyNotTaken(task: Pick<Task, 'labels' | 'role'>, takes: Takes): string | null {
  const missing = task.labels.filter((label) => !takes.labels.includes(label))
  const wait = (setting: string): string =>
    takes.elsewhere
      ? 'It waits for a worker of another machine.'
      : `It waits until ${setting} of [agents] in ccm.toml has it; then: ccm restart`
  if (missing.length > 0) {
    return `label: no worker here has ${missing.join(' and ')}. ${wait('labels')}`
  }
  if (task.role !== null && takes.roles !== null && !takes.roles.includes(task.role)) {
    return `role: no worker here takes tasks of role ${task.role}. ${wait('roles')}`
  }
  return null
}

/** Holds that outlast a task's own backoff. */
const LASTING = ['login', 'limit', 'breaker']

/**
 * Why a queued task waits: a word, a colon and a sentence with the command that helps where there is one; null
 * when nothing keeps it. What lasts longest is said first.
 */
export async function whyQueued(
  task: ListedTask,
  deps: {
    queue: Pick<Queue, 'dependencies' | 'list'>
    projects: Pick<Projects, 'byName'>
    /** As the queue knows this worker, and what it takes. */
    worker: string
    takes: Takes
    /** Why no task of a project may start today, for its costs; null: they may. */
    spent: (project: string) => string | null
    holds: () => Hold[]
    /** The task that has the directory this one has to work in; null: nobody, or it gets a tree of its own. */
    holder: () => string | null
    /** What its last attempt ended with; null before the first. */
    lastReason: () => string | null
    clock: Clock
  },
): Promise<string | null> {
  const project = deps.projects.byName(task.project)
  if (project === null) return `project: this machine has no project ${task.project}.`
  const { name, dir, maxRunning } = project
  if (!project.trusted) {
    return `trust: ${dir} is not trusted yet; its own hooks and servers could run. To trust it: ccm projects trust ${name}`
  }
  if (project.paused) return `paused: project ${name} is paused. To go on: ccm projects set ${name} paused=no`
  if (task.onlyWorker !== null && task.onlyWorker !== deps.worker) {
    return `worker: it is for worker ${task.onlyWorker} only.`
  }
  const misfit = whyNotTaken(task, deps.takes)
  if (misfit !== null) return misfit
  if (task.dependsOn.length > 0) {
    const open = (await deps.queue.dependencies(task.id)).filter(({ status }) => status !== 'succeeded')
    const [first] = open
    if (first !== undefined) {
      const more = open.length === 1 ? '' : ` and ${open.length - 1} more`
      return `dependency: it waits for task ${first.id} (${first.status})${more}.`
    }
  }
  // Its own time comes first as a rule, but a held task that is parked for the same reason says the reason.
  const holds = deps.holds()
  const lasting = holds.find(({ kind }) => LASTING.includes(kind))
  if (lasting !== undefined) return `${lasting.kind}: ${lasting.sentence}`
  const now = deps.clock()
  if (task.scheduledAt > now) {
    const last = deps.lastReason()
    const why = last === null ? '' : ` Last time: ${last}`
    return `scheduled: it starts at ${new Date(task.scheduledAt).toISOString()}.${why}`
  }
  if (task.resumeUntil !== null && task.resumeUntil > now && task.resumeWorker !== deps.worker) {
    const until = new Date(task.resumeUntil).toISOString()
    return `reserved: worker ${task.resumeWorker} has its session and may go on with it until ${until}.`
  }
  if (maxRunning !== null) {
    const running = await deps.queue.list({ status: 'running', projects: [name], limit: maxRunning })
    if (running.length >= maxRunning) {
      return `limit: project ${name} runs ${maxRunning} at once, its max_running. To raise it: ccm projects set ${name} max_running=N`
    }
  }
  const holder = deps.holder()
  if (holder !== null) return `directory: task ${holder} works in ${dir}, one agent at a time.`
  const spent = deps.spent(name)
  if (spent !== null) return `budget: ${spent} It goes on tomorrow, or with a larger budget.`
  const [hold] = holds
  return hold === undefined ? null : `${hold.kind}: ${hold.sentence}`
}
