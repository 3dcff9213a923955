import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endedBy } from '../agent/agent-end.ts'
import type { Answers, Decides } from '../agent/answers.ts'
import type { Clock } from '../core/clock.ts'
import type { ProjectSettings } from '../core/task/project.ts'
import type { CancelReply, Queue, RetryReply } from '../core/task/queue.ts'
import type { Redactor } from '../core/redact.ts'
import type { ListedTask, NewTask, Task } from '../core/task/task.ts'
import type { Attempts } from '../store/attempts.ts'
import type { Project, Projects } from '../store/projects.ts'
import type { Worktrees } from '../store/worktrees.ts'
import { createAgentFacts, HELD, type AgentFacts, type ListedFacts } from './agent-facts.ts'
import { createBringHome, type BringHome } from './workspaces/bring-home.ts'
import type { Budgets } from './claims/budgets.ts'
import type { Dispatcher, Hold } from './claims/dispatcher.ts'
import { projectOf } from './workspaces/intake.ts'
import type { Listeners } from './listeners.ts'
import type { Places } from './workspaces/places.ts'
import type { ProjectDesk } from './project-desk.ts'
import type { Recovery } from './incidents/recovery.ts'
import type { Ruling } from './attempts/ruling.ts'
import type { Runner } from './attempts/runner.ts'
import type { RunningAgent } from './attempts/running-agent.ts'
import { whyNotTaken, type Takes } from './claims/why-queued.ts'
import type { Workspaces } from './workspaces/workspaces.ts'

/** What became of an answer to a waiting agent. */
export type AnswerReply = 'done' | 'not_waiting' | 'unknown' | { refused: string }

/** What people and programs may ask of the fleet. */
export type FleetApi = {
  insert: (
    request: Omit<NewTask, 'project' | 'priority'> & {
      dir: string | null
      project: string | null
      trust: boolean
      /** null: the project's. */
      priority: number | null
    },
  ) => Promise<{ task: Task; inserted: boolean; held: boolean; notices: string[] }>
  cancel: (id: string, reason: string) => Promise<CancelReply>
  retry: (id: string) => Promise<RetryReply>
  /** `decision`: what it comes to for a permission request, for the record; null for a text. */
  answer: (
    id: string,
    how: (answers: Answers, decides: Decides) => Promise<AnswerReply>,
    decision: 'granted' | 'denied' | null,
  ) => Promise<AnswerReply>
  /** A permission request of an attempt, or a tool that it is about to use; {} leaves it to the dialog. */
  hold: (
    taskId: string,
    attempt: number,
    payload: Record<string, unknown>,
    signal: AbortSignal,
  ) => Promise<Record<string, unknown>>
  /** The task's newest agent, or why it has none. */
  factsOf: (task: Task) => Promise<AgentFacts>
  /** The same of many tasks, in their order. */
  factsOfAll: (tasks: ListedTask[]) => Promise<ListedFacts[]>
  screen: (id: string) => Promise<string | null>
  /** What a person does with the work of a task. */
  work: BringHome
  trustProject: (name: string) => Promise<Project | null>
  updateProject: (name: string, changes: Partial<ProjectSettings>) => Promise<Project | null>
  /** Throws CONFLICT while tasks of it are alive. */
  removeProject: (name: string) => Promise<Project | null>
  /** The project of a directory, registered where it is new; without one the project of that name. */
  addProject: (dir: string | null, name: string | null, trust: boolean) => Promise<Project>
  /** False while the queue does not know the project as it is here: it is told when it answers. */
  isTold: (name: string) => boolean
  agents: () => RunningAgent[]
  holds: () => Hold[]
}

const TAKEN_BACK_WITHIN_MS = 10_000

/** Answers them over the parts of a fleet, which it neither starts nor ends. */
export function createFleetApi(of: {
  queue: Queue
  projects: Projects
  attempts: Attempts
  worktrees: Worktrees
  desk: ProjectDesk
  dispatcher: Pick<Dispatcher, 'nudge' | 'holds'>
  runner: Pick<Runner, 'agents' | 'end'>
  ruling: Ruling
  workspaces: Workspaces
  places: Places
  recovery: Pick<Recovery, 'holds'>
  budgets: Budgets
  redactor: Redactor
  worker: string
  takes: Takes
  /** The model a task runs with; null: Claude Code's own choice. */
  modelOf: (task: ListedTask) => string | null
  /** It was accepted here, and the queue does not have it yet. */
  waitsHere: (taskId: string) => boolean
  /** It is to be cancelled, and the queue has not heard of that. */
  cancelWaits: (taskId: string) => boolean
  listeners: Pick<Listeners, 'notify' | 'notifyEnd'>
  /** A task was cancelled: what its agent left may go. */
  cancelled: () => void
  clock: Clock
}): FleetApi {
  const { queue, projects, attempts, desk, dispatcher, runner, ruling, workspaces, budgets, takes, clock } =
    of
  const { notify, notifyEnd } = of.listeners
  const holds = (): Hold[] => [...dispatcher.holds(), ...of.recovery.holds()]
  const facts = createAgentFacts({ ...of, spent: budgets.spent, holds })

  /** A daemon that begins takes its agents back one by one; what one of them asks meanwhile waits for that. */
  async function agentSoon(
    lease: { taskId: string; attempt: number },
    isThere: (agent: RunningAgent) => boolean,
    signal: AbortSignal,
  ): Promise<RunningAgent | null> {
    const until = performance.now() + TAKEN_BACK_WITHIN_MS
    for (;;) {
      const agent = runner.agents.get(lease.taskId)
      if (agent !== undefined && agent.attempt.attempt !== lease.attempt) return null
      if (agent !== undefined && isThere(agent)) return agent
      if (signal.aborted || performance.now() > until) return null
      await sleep(50)
    }
  }

  return {
    async insert({ dir, project: name, trust, ...task }) {
      const known = projects.list().filter(({ trusted }) => trusted).length
      const project = projectOf(projects, clock, { dir, name, trust })
      if (projects.list().filter(({ trusted }) => trusted).length !== known) void desk.tell(project.name)
      const priority = task.priority ?? project.priority
      const added = await queue.insert({ ...task, priority, project: project.name })
      notify(added.task.id, 'task')
      dispatcher.nudge()
      const { held = false } = added
      if (held || !added.inserted) return { ...added, held, notices: held ? [HELD] : [] }
      const misfit = whyNotTaken(added.task, takes)
      const left = await workspaces.announce(project, task.inPlace)
      return { ...added, held, notices: misfit === null ? left : [misfit, ...left] }
    },
    async cancel(id, reason) {
      const reply = await queue.cancel(id, reason)
      if (reply === 'requested') runner.end(id, endedBy('cancelled', reason || 'Cancelled.'))
      notifyEnd(id)
      of.cancelled()
      return reply
    },
    async retry(id) {
      const reply = await queue.retry(id)
      notify(id, 'task')
      dispatcher.nudge()
      return reply
    },
    async answer(id, how, decision) {
      const agent = runner.agents.get(id)
      if (agent?.watcher) {
        const { answers } = agent.watcher
        if (decision === null) return how(answers, () => undefined)
        return ruling.through(agent, decision, (decides) => how(answers, decides))
      }
      return (await queue.get(id)) === null ? 'unknown' : 'not_waiting'
    },
    async hold(taskId, attempt, payload, signal) {
      const { tool_name: tool, tool_input: input, hook_event_name: name } = payload
      if (typeof tool !== 'string' || typeof input !== 'object' || input === null) return {}
      const ask = { tool, input: input as Record<string, unknown> }
      const lease = { taskId, attempt }
      if (name === 'PreToolUse') return ruling.look(await agentSoon(lease, () => true, signal), ask)
      const agent = await agentSoon(lease, ({ watcher }) => watcher !== null, signal)
      if (!agent?.watcher) return {}
      return (await ruling.answer(agent, ask)) ?? agent.watcher.answers.hold(ask, signal)
    },
    factsOf: facts.of,
    factsOfAll: facts.ofAll,
    async screen(id) {
      const live = runner.agents.get(id)?.watcher?.screen()
      if (live !== undefined && live !== '') return of.redactor.text(live)
      const attempt = attempts.newestOf(id)
      if (attempt === null) return null
      return readFile(join(attempt.folder, 'screen.txt'), 'utf8').catch(() => null)
    },
    async trustProject(name) {
      if (!projects.setTrusted(name, true)) return null
      await desk.tell(name)
      dispatcher.nudge()
      return projects.byName(name)
    },
    async updateProject(name, changes) {
      const project = await desk.update(name, changes)
      dispatcher.nudge()
      return project
    },
    async removeProject(name) {
      return desk.remove(name)
    },
    isTold: desk.isTold,
    async addProject(dir, name, trust) {
      const project = projectOf(projects, clock, { dir, name, trust })
      await desk.tell(project.name)
      dispatcher.nudge()
      return project
    },
    work: createBringHome({
      worktrees: of.worktrees,
      workspaces,
      queue,
      dirOf: (task) => attempts.newestOf(task.id)?.dir ?? null,
      changed: (taskId) => notify(taskId, 'task'),
    }),
    agents: () => [...runner.agents.values()],
    holds: () => {
      const spent = budgets.dayOver()
      return spent === null
        ? holds()
        : [...holds(), { kind: 'budget', sentence: spent, until: budgets.dayEndsAt() }]
    },
  }
}
