import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { mayEnter, type Principal } from '../../core/principal.ts'
import { placeOf, type TaskQuery } from '../../core/task/task-list.ts'
import { ApproveBody, DenyBody, SendBody } from '../../protocol/answer.ts'
import { CancelBody, RetryBody, CancelJson, RetryJson } from '../../protocol/cancel-retry.ts'
import { EventFilter, toHookEventJson, HookEventJson } from '../../protocol/hook-event.ts'
import { NewTaskBody } from '../../protocol/new-task.ts'
import { ResultJson } from '../../protocol/result.ts'
import { toStateChangeJson, ExplainJson } from '../../protocol/state-change.ts'
import {
  TaskFilter,
  toTaskJson,
  toTaskSummaryJson,
  NewTaskJson,
  ScreenJson,
  TaskJson,
  TaskSummaryJson,
} from '../../protocol/task.ts'
import type { AnswerReply, AppDeps, TaskView } from '../deps.ts'
import { byId, firstPage, noCursor, readCursor, readIdCursor } from '../page.ts'
import { Problem, parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'
import { toRequest } from './new-task.ts'
import { findTask, findTaskOrLater, notFound } from './task-id.ts'

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
        // A dedupe key is unique over all projects, and the task that has it may be of one that is none to this caller.
        if (!mayEnter(context.get('principal'), view.task.project))
          throw new CcmError('CONFLICT', 'A living task of another project has this dedupe_key.')
        context.set('about', { taskId: view.task.id, project: view.task.project })
        const added = held === true ? 202 : 201
        return context.json({ ...toJson(view), notices } satisfies NewTaskJson, inserted ? added : 200)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks',
      access: 'read',
      about: 'Tasks, without their results: newest first, or the next in line, or what ended last.',
      query: TaskFilter,
      reply: z.array(TaskSummaryJson),
      async handle(context) {
        const filter = parseInput(TaskFilter, context.req.query())
        const found = await deps.tasks.list(toTaskQuery(filter, context.get('principal')))
        const page = firstPage(context, found, filter, ({ task }) => placeOf(task, filter.sort))
        return context.json(page.map(({ task, agent }) => toTaskSummaryJson(task, agent)))
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
        const { cursor, sort, limit, after, ...narrowed } = parseInput(EventFilter, context.req.query())
        const { task } = await find(context)
        const from = Math.max(after, readIdCursor({ cursor, sort }) ?? 0)
        const ask = (behind: number, most: number) =>
          deps.events({ ...narrowed, taskId: task.id, after: behind, limit: most })
        const events = await ask(from, limit + 1)
        // Of large events it may be fewer, though there are more.
        const last = events.length > limit ? undefined : events.at(-1)
        const more = last === undefined ? [] : await ask(last.id, 1)
        const page = { limit: last === undefined ? limit : events.length, sort }
        return context.json(firstPage(context, [...events, ...more], page, byId).map(toHookEventJson))
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
      about: 'Cancel a task; its agent is ended. 202: that is noted here, and Supabase told when it answers.',
      body: CancelBody,
      reply: CancelJson,
      statuses: [200, 202],
      async handle(context) {
        const { reason } = parseInput(CancelBody, await readBody(context))
        const given = context.req.param('id') ?? ''
        const before = await findTaskOrLater(deps, context, given)
        const id = before?.task.id ?? given
        const reply = await deps.tasks.cancel(id, reason ?? 'Cancelled by a person.')
        const view = (await deps.tasks.get(id)) ?? before
        if (reply === 'unknown' || view === null) throw notFound(id)
        context.set('about', { taskId: view.task.id, project: view.task.project })
        const status = deps.tasks.cancelWaits(view.task.id) ? 202 : 200
        return context.json({ reply, task: toJson(view) } satisfies CancelJson, status)
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

/** What the queue is asked for: only of projects that the caller may enter, and one more than was asked for. */
function toTaskQuery(filter: z.output<typeof TaskFilter>, principal: Principal): TaskQuery {
  const { status, project, before, sort, limit } = filter
  if (before !== undefined && sort !== '-created_at') {
    const message = 'before goes with the order -created_at only.'
    throw new Problem(400, { code: 'BAD_INPUT', message, field: 'before' })
  }
  const projects =
    project === undefined ? principal.projects : [project].filter((name) => mayEnter(principal, name))
  const place = readCursor(filter)
  if (place !== null && (typeof place.id !== 'string' || typeof place.key === 'string')) throw noCursor()
  const after =
    (place as TaskQuery['after'] | null) ?? (before === undefined ? null : { key: null, id: before })
  return {
    sort,
    limit: limit + 1,
    ...(status !== undefined && { status }),
    ...(projects !== null && { projects }),
    ...(after !== null && { after }),
  }
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
