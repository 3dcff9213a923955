import { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { templateFaults, type Template } from '../../core/template.ts'
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

/** The task templates: those of the configuration, and those that came through here. */
export function templateRoutes(deps: AppDeps): Route[] {
  const { templates, storedTemplates } = deps
  const isFile = (name: string) => templates.some((template) => template.name === name)
  const json = (template: Template) => toTemplateJson(template, isFile(template.name) ? 'file' : 'database')
  const nameOf = (context: HttpContext) => context.req.param('name') ?? ''
  /** Of the configuration: only its owner changes it, in the file. */
  const refuseFile = (name: string): void => {
    if (!isFile(name)) return
    throw new CcmError('CONFLICT', `The template ${name} stands in the configuration.`, {
      remedy: `Change it there, in ccm.toml or templates/${name}.md beside it; then: ccm restart`,
    })
  }
  return [
    {
      method: 'GET',
      path: '/api/templates',
      access: 'read',
      about: 'The task templates; one of the configuration goes before one of the database with its name.',
      query: TemplateFilter,
      reply: z.array(TemplateJson),
      handle(context) {
        const asked = parseInput(TemplateFilter, context.req.query())
        const page = pageOf(context, allTemplates(deps), asked, {}, ({ name }) => name)
        return context.json(page.map(json))
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
        refuseFile(name)
        const template = checked(toTemplate(name, body))
        if (!storedTemplates.add(template)) {
          throw new CcmError('CONFLICT', `There is a template ${name} already.`, {
            remedy: `See: ccm templates show ${name}. To replace it: ccm templates add --replace`,
          })
        }
        return context.json(json(template), 201)
      },
    },
    {
      method: 'GET',
      path: '/api/templates/:name',
      access: 'read',
      about: 'One task template.',
      reply: TemplateJson,
      handle: (context) => context.json(json(findTemplate(allTemplates(deps), nameOf(context)))),
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
        refuseFile(name)
        const template = checked(toTemplate(name, body))
        storedTemplates.put(template)
        return context.json(json(template))
      },
    },
    {
      method: 'DELETE',
      path: '/api/templates/:name',
      access: 'admin',
      about: 'Remove a task template from the database.',
      reply: TemplateJson,
      handle(context) {
        const template = findTemplate(allTemplates(deps), nameOf(context))
        refuseFile(template.name)
        storedTemplates.remove(template.name)
        return context.json(json(template))
      },
    },
  ]
}

/** All templates by name; of two with one name the configuration's, which only the owner of this machine can write. */
export function allTemplates({ templates, storedTemplates }: AppDeps): Template[] {
  const names = new Set(templates.map(({ name }) => name))
  return [...templates, ...storedTemplates.list().filter(({ name }) => !names.has(name))].toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  )
}

function checked(template: Template): Template {
  const faults = templateFaults(template)
  if (faults.length > 0) throw new CcmError('BAD_INPUT', faults.join(' '))
  return template
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
