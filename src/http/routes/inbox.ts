import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import type { InboxEntry } from '../../core/outside/inbox.ts'
import { mayEnter } from '../../core/principal.ts'
import {
  ApproveEntryBody,
  InboxEntryJson,
  InboxFilter,
  RefuseEntryBody,
  toInboxEntryJson,
} from '../../protocol/inbox.ts'
import type { AppDeps } from '../deps.ts'
import { byId, firstPage, readIdCursor } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'

/** Requests from outside: which there are, and what a person decides about those that wait. */
export function inboxRoutes(deps: AppDeps): Route[] {
  const find = async (context: HttpContext): Promise<InboxEntry> => {
    const given = context.req.param('id') ?? ''
    const entry = /^\d{1,15}$/.test(given) ? await deps.inbox.get(Number(given)) : null
    if (entry === null || !mayEnter(context.get('principal'), entry.project)) throw noEntry(given)
    return entry
  }
  const whoIs = (context: HttpContext): string => {
    const { kind, id } = context.get('principal')
    return kind === 'local' ? 'local' : `${kind} ${id}`
  }
  return [
    {
      method: 'GET',
      path: '/api/inbox',
      access: 'operate',
      about: 'Requests from outside, newest first.',
      query: InboxFilter,
      reply: z.array(InboxEntryJson),
      async handle(context) {
        const { state, ...asked } = parseInput(InboxFilter, context.req.query())
        const entries = await deps.inbox.list({
          state: state ?? null,
          projects: context.get('principal').projects,
          before: readIdCursor(asked),
          limit: asked.limit + 1,
        })
        return context.json(firstPage(context, entries, asked, byId).map(toInboxEntryJson))
      },
    },
    {
      method: 'GET',
      path: '/api/inbox/:id',
      access: 'operate',
      about: 'One request from outside.',
      reply: InboxEntryJson,
      handle: async (context) => context.json(toInboxEntryJson(await find(context))),
    },
    {
      method: 'POST',
      path: '/api/inbox/:id/approve',
      access: 'operate',
      about: 'Let a request from outside become a task.',
      body: ApproveEntryBody,
      reply: InboxEntryJson,
      async handle(context) {
        parseInput(ApproveEntryBody, await readBody(context))
        const { id } = await find(context)
        const entry = await deps.inbox.approve(id, whoIs(context))
        if (entry === null) throw noEntry(String(id))
        return context.json(toInboxEntryJson(entry))
      },
    },
    {
      method: 'POST',
      path: '/api/inbox/:id/refuse',
      access: 'operate',
      about: 'Refuse a request from outside.',
      body: RefuseEntryBody,
      reply: InboxEntryJson,
      async handle(context) {
        const { reason } = parseInput(RefuseEntryBody, await readBody(context))
        const { id } = await find(context)
        const entry = await deps.inbox.refuse(id, whoIs(context), reason ?? 'A person refused it.')
        if (entry === null) throw noEntry(String(id))
        return context.json(toInboxEntryJson(entry))
      },
    },
  ]
}

function noEntry(id: string): CcmError {
  return new CcmError('NOT_FOUND', `There is no request ${/^\d{1,15}$/.test(id) ? id : 'of that id'}.`, {
    remedy: 'See: ccm inbox',
  })
}
