import { z } from 'zod'
import { AuditFilter, AuditJson, toAuditJson } from '../../protocol/audit.ts'
import type { AppDeps } from '../deps.ts'
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
        const { since, who, before, limit } = parseInput(AuditFilter, context.req.query())
        const entries = await deps.audits({
          since: since === undefined ? null : Date.parse(since),
          who: who ?? null,
          before: before ?? null,
          limit,
        })
        const last = entries.at(-1)
        if (last !== undefined && entries.length === limit) {
          const next = new URLSearchParams({ ...context.req.query(), before: String(last.id) })
          context.header('link', `</api/audit?${next.toString()}>; rel="next"`)
        }
        return context.json(entries.map(toAuditJson))
      },
    },
  ]
}
