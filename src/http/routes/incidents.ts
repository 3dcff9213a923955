import { z } from 'zod'
import { mayEnter } from '../../core/principal.ts'
import { IncidentFilter, type IncidentView, toIncidentJson, IncidentJson } from '../../protocol/incident.ts'
import type { AppDeps } from '../deps.ts'
import { parseInput } from '../problem.ts'
import type { HttpContext, Route } from './route.ts'

/** `GET /api/incidents`: what went wrong, and what was done about it. */
export function incidentRoutes(deps: AppDeps): Route[] {
  // Who may enter some projects only sees what is about a task of theirs.
  const isVisible = async (context: HttpContext, { taskId }: IncidentView): Promise<boolean> => {
    const principal = context.get('principal')
    if (principal.projects === null) return true
    const view = taskId === null ? null : await deps.tasks.get(taskId)
    return view !== null && mayEnter(principal, view.task.project)
  }
  return [
    {
      method: 'GET',
      path: '/api/incidents',
      access: 'read',
      about: 'What went wrong and what was done about it, newest first.',
      query: IncidentFilter,
      reply: z.array(IncidentJson),
      async handle(context) {
        const { limit, open } = parseInput(IncidentFilter, context.req.query())
        const found = await deps.incidents({ limit, open: open === '1' })
        const visible = await Promise.all(found.map((incident) => isVisible(context, incident)))
        return context.json(found.filter((_, index) => visible[index]).map(toIncidentJson))
      },
    },
  ]
}
