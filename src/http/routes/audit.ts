import { z } from 'zod'
import { AuditFilter, AuditJson, toAuditJson } from '../../protocol/audit.ts'
import type { AppDeps } from '../deps.ts'
import { byId, firstPage, readIdCursor } from '../page.ts'
import { parseInput } from '../problem.ts'
import type { Route } from './route.ts'

/** `GET /api/audit`: who changed what, from where. */
export function auditRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/audit',
      access: 'admin',
      about: 'Who changed what, from where; newest first.',
      query: AuditFilter,
      reply: z.array(AuditJson),
      async handle(context) {
        const { since, who, ...asked } = parseInput(AuditFilter, context.req.query())
        const entries = await deps.audits({
          since: since === undefined ? null : Date.parse(since),
          who: who ?? null,
          before: readIdCursor(asked),
          limit: asked.limit + 1,
        })
        return context.json(firstPage(context, entries, asked, byId).map(toAuditJson))
      },
    },
  ]
}
