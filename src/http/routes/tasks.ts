import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { mayEnter, type Principal } from '../../core/principal.ts'
import {
  CancelBody,
  ApproveBody,
  DenyBody,
  EventFilter,
  NewTaskBody,
  RetryBody,
  SendBody,
  TaskFilter,
  toHookEventJson,
  toStateChangeJson,
  toTaskJson,
  CancelJson,
  ExplainJson,
  HookEventJson,
  NewTaskJson,
  RetryJson,
  ResultJson,
  ScreenJson,
  TaskJson,
} from '../../protocol/rest.ts'
import type { AnswerReply, AppDeps, TaskView } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'
import { toRequest } from './new-task.ts'
import { findTask, notFound } from './task-id.ts'

/** More changes than any task makes in a day of waiting and working. */
const CHAIN_MAX = 10_000

/** Everything about tasks but the live stream. */
export function taskRoutes(deps: AppDeps): Route[] {
  const find = (context: HttpContext) => findTask(deps, context, context.req.param('id') ?? '')

  /** Gives an answer to a waiting agent and replies with the task as it is then. */
  const answer = async (context: HttpContext, give: (id: string) => Promise<AnswerReply>) => {
    const { task } = await find(context)
    const reply = await give(task.id)
    if (reply === 'unknown') throw notFound(task.id)
    if (reply === 'not_waiting') {
      throw new CcmError('CONFLICT', `Task ${task.id} is not waiting for an answer.`, {
        remedy: `\`ccm show ${task.id}\` says what it does.`,
      })
    }
    if (reply !== 'done') throw new CcmError('CONFLICT', reply.refused)
    return context.json(toJson((await deps.tasks.get(task.id)) ?? { task, agent: NO_AGENT }))
  }

  return [
    {
      method: 'POST',
      path: '/api/tasks',
      access: 'write',
      about:
        'Add a task. 200: a living task has its dedupe key, and this is that task. 202: it is kept here until Supabase answers.',
      body: NewTaskBody,
      reply: NewTaskJson,
      statuses: [200, 201, 202],
      async handle(context) {
        const body = parseInput(NewTaskBody, await readBody(context))
        const request = await toRequest(deps, context, body)
        const { view, inserted, held, notices } = await deps.tasks.insert(request)
        context.set('about', { taskId: view.task.id, project: view.task.project })
        const status = held === true && inserted ? 202 : inserted ? 201 : 200
        return context.json({ ...toJson(view), notices } satisfies NewTaskJson, status)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks',
      access: 'read',
      about: 'Tasks, newest first.',
      query: TaskFilter,
      reply: z.array(TaskJson),
      async handle(context) {
        const filter = parseInput(TaskFilter, context.req.query())
        const views = await listVisible(deps, context.get('principal'), filter)
        const last = views.at(-1)
        if (last !== undefined && views.length === filter.limit) {
          const next = new URLSearchParams({ ...context.req.query(), before: last.task.id })
          context.header('link', `</api/tasks?${next.toString()}>; rel="next"`)
        }
        return context.json(views.map(toJson))
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id',
      access: 'read',
      about: 'One task, by its id or the beginning of it.',
      reply: TaskJson,
      handle: async (context) => context.json(toJson(await find(context))),
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/events',
      access: 'read',
      about: 'Hook events of a task, oldest first.',
      query: EventFilter,
      reply: z.array(HookEventJson),
      async handle(context) {
        const narrowed = parseInput(EventFilter, context.req.query())
        const { task } = await find(context)
        const events = await deps.events({ taskId: task.id, ...narrowed })
        return context.json(events.map(toHookEventJson))
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/explain',
      access: 'read',
      about: "Every change of a task's state with its proof, oldest first.",
      reply: ExplainJson,
      async handle(context) {
        const view = await find(context)
        const chain = await deps.changes({ taskId: view.task.id, after: 0, limit: CHAIN_MAX })
        return context.json({ task: toJson(view), chain: chain.map(toStateChangeJson) } satisfies ExplainJson)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/result',
      access: 'read',
      about: 'What a task gave back; null while it has not ended.',
      reply: ResultJson,
      async handle(context) {
        const { id, status, result, error } = (await find(context)).task
        return context.json({ task: id, status, result, error } satisfies ResultJson)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/screen',
      access: 'read',
      about: "The text of the task's window.",
      reply: ScreenJson,
      async handle(context) {
        const { task } = await find(context)
        return context.json({ screen: await deps.tasks.screen(task.id) } satisfies ScreenJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/cancel',
      access: 'write',
      about: 'Cancel a task; its agent is ended.',
      body: CancelBody,
      reply: CancelJson,
      async handle(context) {
        const { reason } = parseInput(CancelBody, await readBody(context))
        const before = await find(context)
        const reply = await deps.tasks.cancel(before.task.id, reason ?? 'Cancelled by a person.')
        if (reply === 'unknown') throw notFound(before.task.id)
        const view = (await deps.tasks.get(before.task.id)) ?? before
        return context.json({ reply, task: toJson(view) } satisfies CancelJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/retry',
      access: 'write',
      about: 'Queue a task again that failed, was cancelled or is dead.',
      body: RetryBody,
      reply: RetryJson,
      async handle(context) {
        parseInput(RetryBody, await readBody(context))
        const before = await find(context)
        const { id } = before.task
        const reply = await deps.tasks.retry(id)
        if (reply === 'unknown') throw notFound(id)
        if (reply === 'running') {
          throw new CcmError('CONFLICT', `Task ${id} is still running, so there is nothing to retry.`, {
            remedy: `Watch it: ccm attach ${id}. To end it first: ccm cancel ${id}.`,
          })
        }
        if (reply === 'succeeded') {
          throw new CcmError('CONFLICT', `Task ${id} succeeded, so there is nothing to retry.`, {
            remedy: `Its result: ccm show ${id}. To do the same again: ccm run.`,
          })
        }
        if (typeof reply === 'object') throw new CcmError('CONFLICT', reply.refused)
        const view = (await deps.tasks.get(id)) ?? before
        return context.json({ reply, task: toJson(view) } satisfies RetryJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/approve',
      access: 'operate',
      about: 'Allow what the agent asks for.',
      body: ApproveBody,
      reply: TaskJson,
      async handle(context) {
        const { ask } = parseInput(ApproveBody, await readBody(context))
        return answer(context, (id) => deps.tasks.approve(id, ask ?? null))
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/deny',
      access: 'operate',
      about: 'Deny what the agent asks for; it is told the reason.',
      body: DenyBody,
      reply: TaskJson,
      async handle(context) {
        const { reason, ask } = parseInput(DenyBody, await readBody(context))
        return answer(context, (id) => deps.tasks.deny(id, reason ?? null, ask ?? null))
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/send',
      access: 'write',
      about: 'Answer a question, or type text to the agent.',
      body: SendBody,
      reply: TaskJson,
      async handle(context) {
        const { text, ask } = parseInput(SendBody, await readBody(context))
        return answer(context, (id) => deps.tasks.send(id, text, ask ?? null))
      },
    },
  ]
}

/** As many as were asked for, also where most tasks are of projects the caller may not enter. */
async function listVisible(
  deps: AppDeps,
  principal: Principal,
  { limit, ...filter }: z.output<typeof TaskFilter>,
): Promise<TaskView[]> {
  const visible: TaskView[] = []
  for (let { before } = filter; visible.length < limit;) {
    const { status, project } = filter
    const page = await deps.tasks.list({
      ...(status !== undefined && { status }),
      ...(project !== undefined && { project }),
      ...(before !== undefined && { before }),
      limit,
    })
    visible.push(...page.filter(({ task }) => mayEnter(principal, task.project)))
    before = page.at(-1)?.task.id
    if (page.length < limit) break
  }
  return visible.slice(0, limit)
}

const NO_AGENT: TaskView['agent'] = {
  state: null,
  reason: null,
  dir: null,
  window: null,
  claudeSessionId: null,
  waitingFor: null,
  tokens: null,
  workspace: null,
}

function toJson(view: TaskView): TaskJson {
  return toTaskJson(view.task, view.agent)
}
