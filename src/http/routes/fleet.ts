import { z } from 'zod'
import { mayEnter } from '../../core/principal.ts'
import {
  AgentFilter,
  AgentStatusFilter,
  SystemFilter,
  WorkerFilter,
  KillAgentBody,
  UsageFilter,
  AgentJson,
  KilledJson,
  SpawnedJson,
  SystemJson,
  WorkerJson,
  UsageJson,
} from '../../protocol/fleet.ts'
import { BroadcastBody, BroadcastJson } from '../../protocol/answer.ts'
import { NewTaskBody } from '../../protocol/new-task.ts'
import type { Worker } from '../../core/task/worker.ts'
import { CcmError, messageOf } from '../../core/errors.ts'
import type { AppDeps, TaskView } from '../deps.ts'
import { pageOf, type Ranks } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import { checkProject } from './projects.ts'
import { toRequest } from './new-task.ts'
import type { Route } from './route.ts'
import { findTask, notFound } from './task-id.ts'

/** How long a spawn waits for the agent's window. */
const SPAWN_WAIT_MS = 10_000
const LOOK_MS = 50
/** All get the text at once, each as soon as its input box is free. */
const BROADCAST_MS = 55_000

const AGENT_RANKS: Ranks<TaskView> = {
  started_at: ({ task }) => task.startedAt,
  project: ({ task }) => task.project,
}
const WORKER_RANKS: Ranks<Worker> = { worker: ({ id }) => id, seen_at: ({ seenAt }) => seenAt }

/** The agents, what they use, and the routes for programs on this machine that start and end them. */
export function fleetRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/agents',
      access: 'read',
      about: 'The agents that work now or wait for a person.',
      query: AgentFilter,
      reply: z.array(AgentJson),
      async handle(context) {
        const { project, ...asked } = parseInput(AgentFilter, context.req.query())
        const principal = context.get('principal')
        const agents = (await deps.agents()).filter(
          ({ task }) => mayEnter(principal, task.project) && (project ?? task.project) === task.project,
        )
        const page = pageOf(context, agents, asked, AGENT_RANKS, ({ task }) => task.id)
        return context.json(page.map(toAgentJson))
      },
    },
    {
      method: 'POST',
      path: '/api/agents/send',
      access: 'operate',
      about: 'Send one text to every agent that works or waits, as POST /api/tasks/:id/send does to one.',
      body: BroadcastBody,
      reply: BroadcastJson,
      // A text of 10 KiB fits even when JSON escapes each byte of it.
      maxBytes: 64 * 1024,
      timeoutMs: BROADCAST_MS,
      async handle(context) {
        const { text, project } = parseInput(BroadcastBody, await readBody(context))
        await checkProject(deps, context, project)
        const principal = context.get('principal')
        const agents = (await deps.agents()).filter(
          ({ task }) => mayEnter(principal, task.project) && (project ?? task.project) === task.project,
        )
        const results = await Promise.all(
          agents.map(async ({ task }) => {
            const reason = await whyNotSent(deps, task.id, text)
            return { task_id: task.id, project: task.project, delivered: reason === null, reason }
          }),
        )
        return context.json({ results } satisfies BroadcastJson)
      },
    },
    {
      method: 'GET',
      path: '/api/systems',
      access: 'read',
      about: 'The queues this daemon works for, with the tasks of the projects the caller may enter.',
      query: SystemFilter,
      reply: z.array(SystemJson),
      async handle(context) {
        const asked = parseInput(SystemFilter, context.req.query())
        const { projects } = context.get('principal')
        const page = pageOf(context, await deps.systems(), asked, {}, ({ id }) => id)
        if (projects === null) return context.json(page satisfies SystemJson[])
        const { queued, running } = await deps.tasks.countsOf(projects)
        return context.json(page.map(({ id }) => ({ id, queued, running })) satisfies SystemJson[])
      },
    },
    {
      method: 'GET',
      path: '/api/workers',
      access: 'read',
      about: 'The daemons that work the queue of this one, on all machines.',
      query: WorkerFilter,
      reply: z.array(WorkerJson),
      async handle(context) {
        const asked = parseInput(WorkerFilter, context.req.query())
        const principal = context.get('principal')
        const page = pageOf(context, await deps.workers(), asked, WORKER_RANKS, ({ id }) => id)
        const own = principal.projects === null ? null : await deps.tasks.countsOf(principal.projects)
        const workers = page.map(({ id, seenAt, silentMs, ...worker }) => ({
          ...worker,
          worker: id,
          running: own === null ? worker.running : (own.byWorker.get(id) ?? 0),
          projects: Object.fromEntries(
            Object.entries(worker.projects).filter(([project]) => mayEnter(principal, project)),
          ),
          seen_at: new Date(seenAt).toISOString(),
          silent_ms: Math.max(0, Math.round(silentMs)),
          this_daemon: id === deps.worker,
        }))
        return context.json(workers satisfies WorkerJson[])
      },
    },
    {
      method: 'GET',
      path: '/api/usage',
      access: 'read',
      about: 'Tokens and cost per model.',
      query: UsageFilter,
      reply: UsageJson,
      async handle(context) {
        const { from, to, project } = parseInput(UsageFilter, context.req.query())
        const principal = context.get('principal')
        if (project === undefined && principal.projects !== null)
          throw new CcmError('BAD_INPUT', 'A credential for some projects must name one with `project`.')
        if (project !== undefined && !mayEnter(principal, project))
          throw new CcmError('NOT_FOUND', `There is no project ${project}.`)
        const now = deps.clock()
        const range = {
          from: from === undefined ? new Date(now).setHours(0, 0, 0, 0) : Date.parse(from),
          to: to === undefined ? now + 1 : Date.parse(to),
          project: project ?? null,
        }
        const models = (await deps.usage(range)).map(({ costUsd, ...row }) => ({ ...row, cost_usd: costUsd }))
        return context.json({
          from: new Date(range.from).toISOString(),
          to: new Date(range.to).toISOString(),
          models,
        } satisfies UsageJson)
      },
    },
    {
      method: 'POST',
      path: '/internal/spawn-agent',
      access: 'admin',
      about: 'Add a task for this machine and wait up to 10 s for its window. 202: it has not begun.',
      body: NewTaskBody,
      reply: SpawnedJson,
      statuses: [201, 202],
      async handle(context) {
        const body = parseInput(NewTaskBody, await readBody(context))
        const request = await toRequest(deps, context, body)
        const { view } = await deps.tasks.insert({ ...request, onlyWorker: deps.worker })
        context.set('about', { taskId: view.task.id, project: view.task.project })
        const spawned = await waitForWindow(deps, view)
        return context.json(spawned, spawned.window === null ? 202 : 201)
      },
    },
    {
      method: 'POST',
      path: '/internal/kill-agent',
      access: 'admin',
      about: 'End the agent of a task.',
      body: KillAgentBody,
      reply: KilledJson,
      async handle(context) {
        const { task: given, reason } = parseInput(KillAgentBody, await readBody(context))
        const { task } = await findTask(deps, context, given)
        const reply = await deps.tasks.cancel(task.id, reason ?? 'Ended by a program on this machine.')
        if (reply === 'unknown') throw notFound(task.id)
        return context.json({ task: task.id, reply })
      },
    },
    {
      method: 'GET',
      path: '/internal/agent-status',
      access: 'admin',
      about: 'The agent of a task.',
      query: AgentStatusFilter,
      reply: AgentJson,
      async handle(context) {
        const { task } = parseInput(AgentStatusFilter, context.req.query())
        return context.json({ ...toAgentJson(await findTask(deps, context, task)) })
      },
    },
  ]
}

async function waitForWindow(deps: AppDeps, view: TaskView): Promise<SpawnedJson> {
  const until = deps.clock() + SPAWN_WAIT_MS
  for (let now = view; ; now = (await deps.tasks.get(view.task.id)) ?? now) {
    const { task, agent } = now
    const isOver = task.status !== 'queued' && task.status !== 'running'
    if (agent.window !== null || isOver || deps.clock() >= until)
      return { task: task.id, attempt: task.attempt, window: agent.window, status: task.status }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** Why the agent of this task did not get the text; null: it did. */
async function whyNotSent(deps: AppDeps, taskId: string, text: string): Promise<string | null> {
  try {
    const reply = await deps.tasks.send(taskId, text, null)
    if (reply === 'done') return null
    if (reply === 'unknown') return 'It is over.'
    return reply === 'not_waiting' ? 'It takes no text now: it begins or ends.' : reply.refused
  } catch (error) {
    if (!(error instanceof CcmError)) deps.logger.error({ err: error, taskId }, 'a text could not be sent')
    return error instanceof CcmError ? messageOf(error) : 'It could not be sent; the log says why.'
  }
}

function toAgentJson({ task, agent }: TaskView): AgentJson {
  return {
    task_id: task.id,
    attempt: task.attempt,
    project: task.project,
    state: agent.state,
    reason: agent.reason,
    window: agent.window,
    dir: agent.dir,
    claude_session_id: agent.claudeSessionId,
    waiting: agent.waitingFor !== null,
    tokens: agent.tokens,
    started_at: task.startedAt === null ? null : new Date(task.startedAt).toISOString(),
  }
}
