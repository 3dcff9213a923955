import {
  ApplyBody,
  DiffFilter,
  EmptyBody,
  AppliedJson,
  DiffJson,
  DiscardedJson,
} from '../../protocol/workspace.ts'
import type { AppDeps } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'
import { findTask } from './task-id.ts'

/** Git may have to work through a large repository. */
const TIMEOUT_MS = 5 * 60_000

/** What a task changed, and what a person does with it. */
export function workspaceRoutes(deps: AppDeps): Route[] {
  const idOf = async (context: HttpContext) =>
    (await findTask(deps, context, context.req.param('id') ?? '')).task.id
  return [
    {
      method: 'GET',
      path: '/api/tasks/:id/diff',
      access: 'read',
      about: 'What a task changed, as a patch or its --stat.',
      query: DiffFilter,
      reply: DiffJson,
      timeoutMs: TIMEOUT_MS,
      async handle(context) {
        const { stat } = parseInput(DiffFilter, context.req.query())
        const id = await idOf(context)
        return context.json({ diff: await deps.work.diff(id, stat === '1') } satisfies DiffJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/apply',
      access: 'operate',
      about: "Bring a task's work home.",
      body: ApplyBody,
      reply: AppliedJson,
      timeoutMs: TIMEOUT_MS,
      async handle(context) {
        const { how } = parseInput(ApplyBody, await readBody(context))
        return context.json((await deps.work.apply(await idOf(context), how)) satisfies AppliedJson)
      },
    },
    {
      method: 'POST',
      path: '/api/tasks/:id/discard',
      access: 'operate',
      about: "Throw a task's work away; it can be had back for 30 days.",
      body: EmptyBody,
      reply: DiscardedJson,
      timeoutMs: TIMEOUT_MS,
      async handle(context) {
        parseInput(EmptyBody, await readBody(context))
        return context.json((await deps.work.discard(await idOf(context))) satisfies DiscardedJson)
      },
    },
  ]
}
