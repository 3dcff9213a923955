import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { templateFaults, type PlacedTemplate, type Template } from '../../core/task/template.ts'
import { nearestName, shown } from '../../protocol/faults.ts'
import {
  NewTemplateBody,
  TemplateBody,
  TemplateFilter,
  TemplateJson,
  toTemplate,
  toTemplateJson,
} from '../../protocol/template.ts'
import type { AppDeps } from '../deps.ts'
import { pageOf } from '../page.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'

/** The task templates: those of the configuration, of Supabase, and those that came through here. */
export function templateRoutes(deps: AppDeps): Route[] {
  const { stored } = deps.templates
  const nameOf = (context: HttpContext) => context.req.param('name') ?? ''
  const find = async (name: string) => findTemplate(await deps.templates.list(), name)
  const placed = async (name: string) => (await deps.templates.list()).find((one) => one.name === name)
  /** Of the configuration: only its owner changes it, in the file. */
  const refuseFile = async (name: string): Promise<void> => {
    if ((await placed(name))?.storedIn !== 'file') return
    throw new CcmError('CONFLICT', `The template ${name} stands in the configuration.`, {
      remedy: `Change it there, in ccm.toml or templates/${name}.md beside it; then: ccm restart`,
    })
  }
  return [
    {
      method: 'GET',
      path: '/api/templates',
      access: 'read',
      about:
        'The task templates. Of two with one name that of the configuration counts, then that of the database, then that of Supabase.',
      query: TemplateFilter,
      reply: z.array(TemplateJson),
      async handle(context) {
        const asked = parseInput(TemplateFilter, context.req.query())
        const page = pageOf(context, await deps.templates.list(), asked, {}, ({ name }) => name)
        return context.json(page.map(toTemplateJson))
      },
    },
    {
      method: 'POST',
      path: '/api/templates',
      access: 'admin',
      about: 'Add a task template to the database.',
      body: NewTemplateBody,
      reply: TemplateJson,
      statuses: [201],
      async handle(context) {
        const { name, ...body } = parseInput(NewTemplateBody, await readBody(context))
        await refuseFile(name)
        const template = checked(toTemplate(name, body))
        if (!stored.add(template)) {
          throw new CcmError('CONFLICT', `There is a template ${name} already.`, {
            remedy: `See: ccm templates show ${name}. To replace it: ccm templates add --replace`,
          })
        }
        return context.json(toTemplateJson(await find(name)), 201)
      },
    },
    {
      method: 'GET',
      path: '/api/templates/:name',
      access: 'read',
      about: 'One task template.',
      reply: TemplateJson,
      handle: async (context) => context.json(toTemplateJson(await find(nameOf(context)))),
    },
    {
      method: 'PUT',
      path: '/api/templates/:name',
      access: 'admin',
      about: 'Replace a task template of the database, or add it.',
      body: TemplateBody,
      reply: TemplateJson,
      async handle(context) {
        const name = parseInput(NewTemplateBody.shape.name, nameOf(context))
        const body = parseInput(TemplateBody, await readBody(context))
        await refuseFile(name)
        stored.put(checked(toTemplate(name, body)))
        return context.json(toTemplateJson(await find(name)))
      },
    },
    {
      method: 'DELETE',
      path: '/api/templates/:name',
      access: 'admin',
      about: 'Remove a task template from the database.',
      reply: TemplateJson,
      async handle(context) {
        const template: PlacedTemplate = await find(nameOf(context))
        await refuseFile(template.name)
        if (!stored.remove(template.name)) {
          throw new CcmError('CONFLICT', `The template ${template.name} stands in Supabase.`, {
            remedy: 'Delete its row in the table templates there.',
          })
        }
        return context.json(toTemplateJson(template))
      },
    },
  ]
}

function checked(template: Template): Template {
  const faults = templateFaults(template)
  if (faults.length > 0) throw new CcmError('BAD_INPUT', faults.join(' '))
  return template
}

/** The template of this name; throws NOT_FOUND with the one that was probably meant. */
export function findTemplate(templates: readonly PlacedTemplate[], given: string): PlacedTemplate {
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
