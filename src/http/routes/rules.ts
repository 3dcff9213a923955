import { z } from 'zod'
import { RuleChangesBody, RuleFilter, PermissionRuleJson } from '../../protocol/rules.ts'
import type { AppDeps } from '../deps.ts'
import { pageOf } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import { noProject, visibleProjects } from './projects.ts'
import type { HttpContext, Route } from './route.ts'

/** The permission rules of a project. */
export function ruleRoutes(deps: AppDeps): Route[] {
  const find = async (context: HttpContext): Promise<string> => {
    const given = context.req.param('name') ?? ''
    const known = (await visibleProjects(deps, context)).some(({ name }) => name === given)
    if (!known) throw await noProject(deps, context, given)
    return given
  }
  return [
    {
      method: 'GET',
      path: '/api/projects/:name/rules',
      access: 'read',
      about: 'The permission rules of a project.',
      query: RuleFilter,
      reply: z.array(PermissionRuleJson),
      async handle(context) {
        const asked = parseInput(RuleFilter, context.req.query())
        const rules = await deps.rules.of(await find(context))
        const page = pageOf(context, rules, asked, { added: ({ place }) => place }, ({ rule }) => rule)
        return context.json(page.map(toJson))
      },
    },
    {
      method: 'POST',
      path: '/api/projects/:name/rules',
      access: 'admin',
      about: 'Set and remove permission rules: all of them or none.',
      body: RuleChangesBody,
      reply: z.array(PermissionRuleJson),
      async handle(context) {
        const changes = parseInput(RuleChangesBody, await readBody(context))
        const name = await find(context)
        await deps.rules.change(name, changes)
        return context.json((await deps.rules.of(name)).map(toJson))
      },
    },
  ]
}

function toJson({ effect, rule }: PermissionRuleJson): PermissionRuleJson {
  return { effect, rule }
}
