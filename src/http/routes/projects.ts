import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { mayEnter } from '../../core/principal.ts'
import { nearestName, shown } from '../../protocol/faults.ts'
import {
  ProjectChangesBody,
  ProjectFilter,
  toProjectJson,
  toProjectSettings,
  ProjectJson,
  NewProjectBody,
} from '../../protocol/project.ts'
import type { AppDeps, Project } from '../deps.ts'
import { pageOf, type Ranks } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'

const RANKS: Ranks<Project> = {
  name: ({ name }) => name,
  created_at: ({ createdAt }) => createdAt,
}

/** The directories agents may work in, and what they set for their tasks. */
export function projectRoutes(deps: AppDeps): Route[] {
  const nameOf = (context: HttpContext) => context.req.param('name') ?? ''
  const json = (project: Project) => toProjectJson(project, deps.projects.isTold(project.name))
  /** 202: it is so here, and the shared queue is told when it answers. */
  const changed = (context: HttpContext, project: Project, status: 200 | 201) => {
    const body = json(project)
    return context.json(body, body.told ? status : 202)
  }
  return [
    {
      method: 'GET',
      path: '/api/projects',
      access: 'read',
      about: 'The projects.',
      query: ProjectFilter,
      reply: z.array(ProjectJson),
      async handle(context) {
        const asked = parseInput(ProjectFilter, context.req.query())
        const page = pageOf(context, await visibleProjects(deps, context), asked, RANKS, ({ name }) => name)
        return context.json(page.map(json))
      },
    },
    {
      method: 'POST',
      path: '/api/projects',
      access: 'admin',
      about: 'Register a directory agents may work in. 202: Supabase is told of it when it answers.',
      body: NewProjectBody,
      reply: ProjectJson,
      statuses: [201, 202],
      async handle(context) {
        const { dir, name, trust } = parseInput(NewProjectBody, await readBody(context))
        const project = await deps.projects.add({ dir, name: name ?? null, trust })
        return changed(context, project, 201)
      },
    },
    {
      method: 'GET',
      path: '/api/projects/:name',
      access: 'read',
      about: 'One project.',
      reply: ProjectJson,
      async handle(context) {
        const found = (await visibleProjects(deps, context)).find(({ name }) => name === nameOf(context))
        if (found === undefined) throw await noProject(deps, context, nameOf(context))
        return context.json(json(found))
      },
    },
    {
      method: 'PATCH',
      path: '/api/projects/:name',
      access: 'admin',
      about: 'Change settings of a project. 202: Supabase is told of them when it answers.',
      body: ProjectChangesBody,
      reply: ProjectJson,
      statuses: [200, 202],
      async handle(context) {
        const changes = toProjectSettings(parseInput(ProjectChangesBody, await readBody(context)))
        const project = await deps.projects.update(nameOf(context), changes)
        if (project === null) throw await noProject(deps, context, nameOf(context))
        return changed(context, project, 200)
      },
    },
    {
      method: 'DELETE',
      path: '/api/projects/:name',
      access: 'admin',
      about: 'Forget a project; its directory and finished tasks stay.',
      reply: ProjectJson,
      async handle(context) {
        const project = await deps.projects.remove(nameOf(context))
        if (project === null) throw await noProject(deps, context, nameOf(context))
        return context.json(json(project))
      },
    },
    {
      method: 'POST',
      path: '/api/projects/:name/trust',
      access: 'admin',
      about:
        "Let the directory's own hooks, servers and settings run. 202: Supabase is told when it answers.",
      reply: ProjectJson,
      statuses: [200, 202],
      async handle(context) {
        const project = await deps.projects.trust(nameOf(context))
        if (project === null) throw await noProject(deps, context, nameOf(context))
        return changed(context, project, 200)
      },
    },
  ]
}

/** The projects the caller may enter. */
export async function visibleProjects(deps: AppDeps, context: HttpContext): Promise<Project[]> {
  const principal = context.get('principal')
  return (await deps.projects.list()).filter(({ name }) => mayEnter(principal, name))
}

/** Throws NOT_FOUND where a project is named that the caller cannot see. */
export async function checkProject(
  deps: AppDeps,
  context: HttpContext,
  given: string | undefined,
): Promise<void> {
  if (given === undefined || (await visibleProjects(deps, context)).some(({ name }) => name === given)) return
  throw await noProject(deps, context, given)
}

/** There is no such project; names the one that was probably meant. */
export async function noProject(deps: AppDeps, context: HttpContext, given: string): Promise<CcmError> {
  const near = nearestName(
    given,
    (await visibleProjects(deps, context)).map(({ name }) => name),
  )
  const hint = near === null ? '.' : `; did you mean ${near}?`
  return new CcmError('NOT_FOUND', `There is no project ${shown(given)}${hint}`, {
    remedy: 'See `ccm projects list`, or register it: ccm projects add DIR.',
  })
}
