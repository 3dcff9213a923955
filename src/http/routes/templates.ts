import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import type { Template } from '../../core/template.ts'
import { nearestName, shown } from '../../protocol/faults.ts'
import { TemplateFilter, TemplateJson, toTemplateJson } from '../../protocol/template.ts'
import type { AppDeps } from '../deps.ts'
import { pageOf } from '../page.ts'
import { parseInput } from '../problem.ts'
import type { Route } from './route.ts'

/** The task templates of the configuration. */
export function templateRoutes({ templates }: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/templates',
      access: 'read',
      about: 'The task templates of the configuration.',
      query: TemplateFilter,
      reply: z.array(TemplateJson),
      handle(context) {
        const asked = parseInput(TemplateFilter, context.req.query())
        const page = pageOf(context, templates, asked, {}, ({ name }) => name)
        return context.json(page.map(toTemplateJson))
      },
    },
    {
      method: 'GET',
      path: '/api/templates/:name',
      access: 'read',
      about: 'One task template.',
      reply: TemplateJson,
      handle: (context) =>
        context.json(toTemplateJson(findTemplate(templates, context.req.param('name') ?? ''))),
    },
  ]
}

/** The template of this name; throws NOT_FOUND with the one that was probably meant. */
export function findTemplate(templates: readonly Template[], given: string): Template {
  const found = templates.find(({ name }) => name === given)
  if (found !== undefined) return found
  const near = nearestName(
    given,
    templates.map(({ name }) => name),
  )
  const hint = near === null ? '.' : `; did you mean ${near}?`
  throw new CcmError('NOT_FOUND', `There is no template ${shown(given)}${hint}`, {
    remedy: 'See: ccm templates',
  })
}
