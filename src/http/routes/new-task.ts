import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { CcmError } from '../../core/errors.ts'
import { allows } from '../../core/principal.ts'
import { restrictedSource } from '../../core/task/restricted.ts'
import { widening } from '../../core/task/rights.ts'
import { promptFault } from '../../core/task/task.ts'
import { renderTemplate, type PlacedTemplate } from '../../core/task/template.ts'
import type { NewTaskBody } from '../../protocol/new-task.ts'
import type { AppDeps, TaskRequest } from '../deps.ts'
import type { HttpContext } from './route.ts'
import { checkProject, noProject } from './projects.ts'
import { findTaskOrLater } from './task-id.ts'
import { findTemplate } from './templates.ts'

type Body = z.output<typeof NewTaskBody>

/** The task a caller asks for; throws where it is more than the caller may have. */
export async function toRequest(deps: AppDeps, context: HttpContext, body: Body): Promise<TaskRequest> {
  await checkRights(deps, context, body)
  const named = await templateOf(deps, body)
  const source = named?.restricted === true ? restrictedSource(body.source) : body.source
  const place = { name: body.project ?? null, dir: body.dir ?? null }
  const template = named === null ? null : deps.templates.within(named, place, source)
  const dependencies = await Promise.all(
    body.depends_on.map(async (id) => (await findTaskOrLater(deps, context, id))?.task.id ?? id),
  )
  return {
    prompt: template === null ? (body.prompt ?? '') : template.prompt,
    dir: body.dir ?? null,
    project: body.project ?? null,
    role: body.role ?? template?.role ?? null,
    model: body.model ?? template?.model ?? null,
    priority: body.priority ?? null,
    timeoutS: body.timeout_s ?? template?.timeoutS ?? null,
    permissionMode: body.permission_mode ?? template?.permissionMode ?? null,
    allowedTools: [...(template?.allowedTools ?? []), ...body.allowed_tools],
    disallowedTools: [...(template?.disallowedTools ?? []), ...body.disallowed_tools],
    // With a key of its own the request is safe to repeat even when a crash lost its reply.
    dedupeKey: body.dedupe_key ?? repeatKey(context),
    // The whole ids of what it waits for.
    dependsOn: dependencies,
    scheduledAt: body.scheduled_at === undefined ? null : Date.parse(body.scheduled_at),
    labels: body.labels,
    maxTokens: body.max_tokens ?? template?.maxTokens ?? null,
    maxCostUsd: body.max_cost_usd ?? template?.maxCostUsd ?? null,
    inPlace: body.in_place ?? null,
    source,
    onlyWorker: null,
    trust: body.trust,
  }
}

/** The template that is asked for, with its prompt rendered; throws NOT_FOUND or BAD_INPUT with every fault. */
async function templateOf(
  deps: AppDeps,
  { template: name, variables = {} }: Body,
): Promise<PlacedTemplate | null> {
  if (name === undefined) {
    if (Object.keys(variables).length === 0) return null
    throw new CcmError('BAD_INPUT', 'Variables are for a template, and none is named.')
  }
  const template = findTemplate(await deps.templates.list(), name)
  const rendered = renderTemplate(template, variables)
  if ('faults' in rendered)
    throw new CcmError('BAD_INPUT', rendered.faults.join(' '), { remedy: `See: ccm templates show ${name}` })
  const fault = promptFault(rendered.prompt)
  if (fault !== null) throw new CcmError('BAD_INPUT', fault)
  return { ...template, prompt: rendered.prompt }
}

/**
 * A directory is this machine's business, so only its administrator names one; others name a project and may
 * narrow what its agents are allowed, never widen it.
 */
async function checkRights(deps: AppDeps, context: HttpContext, body: Body): Promise<void> {
  const principal = context.get('principal')
  if (body.dir === undefined) await checkProject(deps, context, body.project)
  if (allows(principal, 'admin')) return
  if (body.dir !== undefined || body.trust) {
    throw new CcmError('FORBIDDEN', 'Only the scope admin may name a directory or trust one.', {
      remedy: 'Name a registered project with `project`.',
    })
  }
  const project = (await deps.projects.list()).find(({ name }) => name === body.project)
  if (project === undefined) throw await noProject(deps, context, body.project ?? '')
  const asked = { permissionMode: body.permission_mode ?? null, allowedTools: body.allowed_tools }
  const wide =
    widening(asked, deps.rightsOf(project)) ??
    (body.in_place === true && !project.inPlace ? 'The project does not work in its directory itself.' : null)
  if (wide !== null) {
    throw new CcmError('FORBIDDEN', wide, {
      remedy: `What the project allows: ccm projects show ${project.name}`,
    })
  }
}

function repeatKey(context: HttpContext): string | null {
  const key = context.get('idempotencyKey')
  return key === undefined ? null : `once:${createHash('sha256').update(key).digest('base64url')}`
}
