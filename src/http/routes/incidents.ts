import { z } from 'zod'
import { IncidentFilter, toIncidentJson, IncidentJson } from '../../protocol/incident.ts'
import type { AppDeps } from '../deps.ts'
import { byId, firstPage, readIdCursor } from '../page.ts'
import { parseInput } from '../problem.ts'
import type { Route } from './route.ts'

/** `GET /api/incidents`: what went wrong, and what was done about it. */
export function incidentRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/incidents',
      access: 'read',
      about: 'What went wrong and what was done about it, newest first.',
      query: IncidentFilter,
      reply: z.array(IncidentJson),
      async handle(context) {
        const { open, ...asked } = parseInput(IncidentFilter, context.req.query())
        const found = await deps.incidents({
          open: open === '1',
          // Who may enter some projects only sees what is about a task of theirs.
          projects: context.get('principal').projects,
          before: readIdCursor(asked),
          limit: asked.limit + 1,
        })
        return context.json(firstPage(context, found, asked, byId).map(toIncidentJson))
      },
    },
  ]
}
