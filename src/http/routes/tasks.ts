import { createHash } from 'node:crypto'
import { CcmError } from '../../core/errors.ts'
import { allows, mayEnter, type Principal } from '../../core/principal.ts'
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
  type CancelJson,
  type ExplainJson,
  type RetryJson,
  type NewTaskJson,
  type ScreenJson,
  type TaskJson,
} from '../../protocol/rest.ts'
import type { AnswerReply, AppDeps, TaskView } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'
import { findTask, notFound } from './task-id.ts'

/** More changes than any task makes in a day of waiting and working. */
const CHAIN_MAX = 10_000

/** Everything about tasks but the live stream. */
export function taskRoutes(deps: AppDeps): Route[] {
  const find = (context: HttpContext) => findTask(deps, context, context.req.param('id') ?? '')

  /** The whole ids of what a new task waits for. */
  const dependenciesOf = async (context: HttpContext, given: string[]): Promise<string[]> => {
    const found = await Promise.all(given.map((id) => findTask(deps, context, id)))
    return found.map(({ task }) => task.id)
  }

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
      async handle(context) {
        const body = parseInput(NewTaskBody, await readBody(context))
        checkPlace(context.get('principal'), body)
        const { view, inserted, notices } = await deps.tasks.insert({
          prompt: body.prompt,
          dir: body.dir ?? null,
          project: body.project ?? null,
          role: body.role ?? null,
          model: body.model ?? null,
          priority: body.priority ?? null,
          timeoutS: body.timeout_s ?? null,
          permissionMode: body.permission_mode ?? null,
          allowedTools: body.allowed_tools,
          disallowedTools: body.disallowed_tools,
          // With a key of its own the request is safe to repeat even when a crash lost its reply.
          dedupeKey: body.dedupe_key ?? repeatKey(context),
          dependsOn: await dependenciesOf(context, body.depends_on),
          scheduledAt: body.scheduled_at === undefined ? null : Date.parse(body.scheduled_at),
          labels: body.labels,
          maxTokens: body.max_tokens ?? null,
          maxCostUsd: body.max_cost_usd ?? null,
          inPlace: body.in_place ?? null,
          source: body.source,
          onlyWorker: null,
          trust: body.trust,
        })
        return context.json({ ...toJson(view), notices } satisfies NewTaskJson, inserted ? 201 : 200)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks',
      access: 'read',
      async handle(context) {
        const { status, project, before, limit } = parseInput(TaskFilter, context.req.query())
        const views = await deps.tasks.list({
          ...(status !== undefined && { status }),
          ...(project !== undefined && { project }),
          ...(before !== undefined && { before }),
          limit,
        })
        const principal = context.get('principal')
        return context.json(views.filter(({ task }) => mayEnter(principal, task.project)).map(toJson))
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id',
      access: 'read',
      handle: async (context) => context.json(toJson(await find(context))),
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/events',
      access: 'read',
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
      async handle(context) {
        const view = await find(context)
        const chain = await deps.changes({ taskId: view.task.id, after: 0, limit: CHAIN_MAX })
        return context.json({ task: toJson(view), chain: chain.map(toStateChangeJson) } satisfies ExplainJson)
      },
    },
    {
      method: 'GET',
      path: '/api/tasks/:id/screen',
      access: 'read',
      async handle(context) {
        const { task } = await find(context)
        return context.json({ screen: await deps.tasks.screen(task.id) } satisfies ScreenJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/cancel',
      access: 'write',
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
      async handle(context) {
        const { ask } = parseInput(ApproveBody, await readBody(context))
        return answer(context, (id) => deps.tasks.approve(id, ask ?? null))
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/deny',
      access: 'operate',
      async handle(context) {
        const { reason, ask } = parseInput(DenyBody, await readBody(context))
        return answer(context, (id) => deps.tasks.deny(id, reason ?? null, ask ?? null))
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/send',
      access: 'write',
      async handle(context) {
        const { text, ask } = parseInput(SendBody, await readBody(context))
        return answer(context, (id) => deps.tasks.send(id, text, ask ?? null))
      },
    },
  ]
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

function repeatKey(context: HttpContext): string | null {
  const key = context.get('idempotencyKey')
  return key === undefined ? null : `once:${createHash('sha256').update(key).digest('base64url')}`
}

/** A directory is this machine's business, so only its administrator names one; others name a project. */
function checkPlace(
  principal: Principal,
  body: { dir?: string | undefined; project?: string | undefined; trust: boolean },
): void {
  if ((body.dir !== undefined || body.trust) && !allows(principal, 'admin')) {
    throw new CcmError('FORBIDDEN', 'Only the scope admin may name a directory or trust one.', {
      remedy: 'Name a registered project with `project`.',
    })
  }
  if (body.project !== undefined && !mayEnter(principal, body.project))
    throw new CcmError('NOT_FOUND', `There is no project ${body.project}.`)
}

function toJson(view: TaskView): TaskJson {
  return toTaskJson(view.task, view.agent)
}
