import {
  NewProjectBody,
  ShutdownBody,
  type HealthJson,
  type ProjectJson,
  type ShutdownJson,
} from '../../protocol/rest.ts'
import { CcmError } from '../../core/errors.ts'
import { shown } from '../../protocol/faults.ts'
import type { AppDeps, Project } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { Route } from './route.ts'

/** Health, status, shutdown, and the projects. */
export function daemonRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/health',
      access: 'open',
      async handle(context) {
        const parts = await deps.health().catch(() => ({ daemon: 'unknown' }))
        const well = Object.values(parts).every((word) => word === 'ok')
        return context.json({ ...parts, status: well ? 'ok' : 'degraded' } satisfies HealthJson)
      },
    },
    {
      method: 'GET',
      path: '/api/status',
      access: 'token',
      handle: async (context) => context.json(await deps.status()),
    },
    {
      method: 'POST',
      path: '/api/shutdown',
      access: 'token',
      async handle(context) {
        const { agents } = parseInput(ShutdownBody, await readBody(context))
        deps.shutdown(agents)
        return context.json({ stopping: true, agents } satisfies ShutdownJson, 202)
      },
    },
    {
      method: 'GET',
      path: '/api/projects',
      access: 'token',
      handle: async (context) => context.json((await deps.projects.list()).map(toProjectJson)),
    },
    {
      method: 'POST',
      path: '/api/projects',
      access: 'token',
      async handle(context) {
        const { dir, name, trust } = parseInput(NewProjectBody, await readBody(context))
        const project = await deps.projects.add({ dir, name: name ?? null, trust })
        return context.json(toProjectJson(project), 201)
      },
    },
    {
      method: 'POST',
      path: '/api/projects/:name/trust',
      access: 'token',
      async handle(context) {
        const name = context.req.param('name') ?? ''
        const project = await deps.projects.trust(name)
        if (project === null) throw new CcmError('NOT_FOUND', `There is no project ${shown(name)}.`)
        return context.json(toProjectJson(project))
      },
    },
  ]
}

function toProjectJson({ name, dir, trusted, createdAt }: Project): ProjectJson {
  return { name, dir, trusted, created_at: new Date(createdAt).toISOString() }
}
