import { z } from 'zod'
import { mayEnter } from '../../core/principal.ts'
import { SearchQuery, toTimelineJson, SearchHitJson, TimelineJson } from '../../protocol/records.ts'
import type { AppDeps } from '../deps.ts'
import { byId, firstPage, readIdCursor } from '../page.ts'
import { parseInput } from '../problem.ts'
import { noProject } from './projects.ts'
import type { Route } from './route.ts'
import { findTask } from './task-id.ts'

/** What can be asked of the record of all events: the timeline of a task, and search. */
export function recordRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/tasks/:id/timeline',
      access: 'read',
      about: 'What the agents of a task spent their time on.',
      reply: TimelineJson,
      async handle(context) {
        const { task } = await findTask(deps, context, context.req.param('id') ?? '')
        return context.json(toTimelineJson(await deps.record.timeline(task.id)))
      },
    },
    {
      method: 'GET',
      path: '/api/search',
      access: 'read',
      about: 'Search the record of all events; newest first.',
      query: SearchQuery,
      reply: z.array(SearchHitJson),
      async handle(context) {
        const { q, project, since, ...asked } = parseInput(SearchQuery, context.req.query())
        const principal = context.get('principal')
        if (project !== undefined && !mayEnter(principal, project))
          throw await noProject(deps, context, project)
        const wanted = {
          text: q,
          since: since ?? null,
          before: readIdCursor(asked),
          limit: asked.limit + 1,
        }
        const projects = project === undefined ? (principal.projects ?? [null]) : [project]
        const found = await Promise.all(
          projects.map((one) => deps.record.search({ ...wanted, project: one })),
        )
        const hits = found.flat().toSorted((a, b) => b.id - a.id)
        const json = firstPage(context, hits, asked, byId).map(({ taskId, at, ...hit }): SearchHitJson => {
          return { ...hit, task_id: taskId, at: new Date(at).toISOString() }
        })
        return context.json(json)
      },
    },
  ]
}
