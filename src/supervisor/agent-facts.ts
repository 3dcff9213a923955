import type { Pending } from '../agent/answers.ts'
import type { LiveTokens } from '../agent/live-usage.ts'
import type { Attempt } from '../core/agent/attempt.ts'
import type { AgentState } from '../core/agent/agent-state.ts'
import type { Clock } from '../core/clock.ts'
import { familyOfModel } from '../core/task/limit.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import { isFinal, type ListedTask, type Task } from '../core/task/task.ts'
import type { WorkspaceJson } from '../core/task/workspace.ts'
import type { Attempts } from '../store/attempts.ts'
import type { Projects } from '../store/projects.ts'
import type { Hold } from './claims/dispatcher.ts'
import type { Places } from './workspaces/places.ts'
import type { Runner } from './attempts/runner.ts'
import { whyQueued, type Takes } from './claims/why-queued.ts'
import type { Workspaces } from './workspaces/workspaces.ts'

/** What lists tell of a task's newest agent. */
export type ListedFacts = {
  state: AgentState | null
  reason: string | null
  dir: string | null
  window: string | null
  claudeSessionId: string | null
  waitingFor: Pending | null
  tokens: LiveTokens | null
}

/** What is known of a task's newest agent. */
export type AgentFacts = ListedFacts & { workspace: WorkspaceJson | null }

/** What is said of a task that was accepted while the shared queue does not answer. */
export const HELD = 'Supabase does not answer. The task is kept on this machine and handed over when it does.'

const CANCEL_HELD = 'It is being cancelled. Supabase does not answer, and is told when it does.'

/** Tells of a task's newest agent, or why it has none; of many tasks, in their order, with one look into the store. */
export function createAgentFacts(of: {
  runner: Pick<Runner, 'agents'>
  attempts: Attempts
  queue: Queue
  projects: Projects
  workspaces: Pick<Workspaces, 'view' | 'worksInPlace'>
  places: Places
  redactor: Redactor
  worker: string
  takes: Takes
  holds: () => Hold[]
  modelOf: (task: ListedTask) => string | null
  /** Why no task of this project may start today, or null. */
  spent: (project: string) => string | null
  /** It was accepted here, and the queue does not have it yet. */
  waitsHere: (taskId: string) => boolean
  /** It is to be cancelled, and the queue has not heard of that. */
  cancelWaits: (taskId: string) => boolean
  clock: Clock
}): { of: (task: Task) => Promise<AgentFacts>; ofAll: (tasks: ListedTask[]) => Promise<ListedFacts[]> } {
  const { runner, attempts, projects, workspaces, places } = of

  function holderFor(task: ListedTask): string | null {
    const project = projects.byName(task.project)
    if (project === null || !workspaces.worksInPlace(project, task)) return null
    return places.holderOf(project.dir, task.id)
  }

  /** Its id stays: it is made from what was really asked, and answers name it. */
  const shown = (asked: Pending | null): Pending | null =>
    asked && {
      ...asked,
      detail: of.redactor.text(asked.detail),
      options: asked.options.map(of.redactor.text),
    }

  async function factsOf(task: ListedTask, attempt: Attempt | null): Promise<ListedFacts> {
    const running = runner.agents.get(task.id)
    // Within one state only the watcher knows the newest reason: the tool that runs now, say.
    const view = running?.watcher?.view()
    const facts: ListedFacts = {
      state: attempt?.state ?? null,
      reason:
        (view !== undefined && view.state === attempt?.state ? of.redactor.text(view.reason) : null) ??
        attempt?.stateReason ??
        null,
      dir: attempt?.dir ?? projects.byName(task.project)?.dir ?? null,
      window: running?.attempt.windowName ?? null,
      claudeSessionId: attempt?.claudeSessionId ?? null,
      waitingFor: shown(running?.watcher?.answers.pending() ?? null),
      tokens: running?.usage?.tokens() ?? null,
    }
    if (!isFinal(task.status) && of.cancelWaits(task.id)) return { ...facts, reason: `queue: ${CANCEL_HELD}` }
    if (of.waitsHere(task.id)) return { ...facts, reason: `queue: ${HELD}` }
    if (task.status === 'queued')
      return {
        ...facts,
        reason:
          (await whyQueued(task, {
            queue: of.queue,
            projects,
            worker: of.worker,
            takes: of.takes,
            spent: of.spent,
            holds: () => of.holds().filter((hold) => concerns(hold, task.project, of.modelOf(task))),
            holder: () => holderFor(task),
            lastReason: () => attempt?.stateReason ?? null,
            clock: of.clock,
          })) ?? (attempt === null ? null : facts.reason),
      }
    return isFinal(task.status) ? { ...facts, waitingFor: null } : facts
  }

  return {
    of: async (task) => ({
      ...(await factsOf(task, attempts.newestOf(task.id))),
      workspace: workspaces.view(task.id) ?? task.result?.workspace ?? null,
    }),
    ofAll: async (tasks) => {
      const newest = attempts.newestOfAll(tasks.map(({ id }) => id))
      return Promise.all(tasks.map((task) => factsOf(task, newest.get(task.id) ?? null)))
    },
  }
}

/** A hold of one project or family of models is a reason only for tasks of theirs. */
function concerns({ project, model }: Hold, ofProject: string, ofModel: string | null): boolean {
  if (project !== undefined && project !== ofProject) return false
  return model === undefined || ofModel === null || familyOfModel(ofModel) === model
}
