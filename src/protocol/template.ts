import { z } from 'zod'
import { PERMISSION_MODES } from '../core/task/task.ts'
import { TEMPLATE_PLACES, templateFaults, type PlacedTemplate, type Template } from '../core/task/template.ts'
import { faultsOf, shown } from './faults.ts'
import { paged } from './list.ts'
import { Prompt } from './new-task.ts'
import { ProjectName } from './project.ts'

/** Query of `GET /api/templates`. */
export const TemplateFilter = z.strictObject(paged(['name', '-name']))

/** Of one row. */
const FAULTS_TOLD = 5

const tool = z.string().min(1).max(1000)
const text = z.string().max(50_000)

/** Body of `PUT /api/templates/:name`: the whole template, but for its name. */
export const TemplateBody = z.strictObject({
  description: z.string().max(1000).default(''),
  prompt: Prompt,
  variables: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_]{0,39}$/, 'must be named with a-z, 0-9 and _'),
      z.strictObject({
        type: z.enum(['text', 'number', 'choice']).default('text'),
        required: z.boolean().default(true),
        default: text.nullable().default(null),
        choices: z.array(text).max(200).default([]),
      }),
    )
    .default({}),
  role: ProjectName.nullable().default(null),
  model: z
    .string()
    .regex(/^[\w.:@/[\]-]{1,200}$/, 'is not a model id')
    .nullable()
    .default(null),
  permission_mode: z.enum(PERMISSION_MODES).nullable().default(null),
  allowed_tools: z.array(tool).max(200).default([]),
  disallowed_tools: z.array(tool).max(200).default([]),
  timeout_s: z
    .int()
    .min(1)
    .max(7 * 86_400)
    .nullable()
    .default(null),
  max_tokens: z.int().min(1).nullable().default(null),
  max_cost_usd: z.number().min(0.01).max(1_000_000).nullable().default(null),
  restricted: z.boolean().default(false),
})
export type TemplateBody = z.input<typeof TemplateBody>

/** Body of `POST /api/templates`. */
export const NewTemplateBody = z.strictObject({ name: ProjectName, ...TemplateBody.shape })
export type NewTemplateBody = z.input<typeof NewTemplateBody>

/** A task template on the wire. */
export const TemplateJson = z
  .object({
    name: z.string(),
    /** Where it stands: in the configuration's files, in the daemon's database, or in Supabase. */
    stored_in: z.enum(TEMPLATE_PLACES),
    /** Where another of its name stands, which does not count. */
    hides: z.array(z.enum(TEMPLATE_PLACES)),
    description: z.string(),
    prompt: z.string(),
    variables: z.record(
      z.string(),
      z.object({
        type: z.enum(['text', 'number', 'choice']),
        required: z.boolean(),
        default: z.string().nullable(),
        choices: z.array(z.string()),
      }),
    ),
    role: z.string().nullable(),
    model: z.string().nullable(),
    permission_mode: z.string().nullable(),
    allowed_tools: z.array(z.string()),
    disallowed_tools: z.array(z.string()),
    timeout_s: z.int().nullable(),
    max_tokens: z.int().nullable(),
    max_cost_usd: z.number().nullable(),
    /** Runs with the rights of [outside] only, whoever asks for it. */
    restricted: z.boolean(),
  })
  .meta({ id: 'Template' })
export type TemplateJson = z.output<typeof TemplateJson>

export function toTemplate(name: string, body: z.output<typeof TemplateBody>): Template {
  const { permission_mode, allowed_tools, disallowed_tools, timeout_s, max_tokens, max_cost_usd, ...rest } =
    body
  return {
    ...rest,
    name,
    permissionMode: permission_mode,
    allowedTools: allowed_tools,
    disallowedTools: disallowed_tools,
    timeoutS: timeout_s,
    maxTokens: max_tokens,
    maxCostUsd: max_cost_usd,
  }
}

/** A row of the table `templates` of Supabase, which anybody may have written: what it says, or why nobody can use it. */
export function readTemplateRow(row: unknown): { template: Template } | { fault: string } {
  const parsed = NewTemplateBody.safeParse(row, { jitless: true })
  if (parsed.success) {
    const { name, ...body } = parsed.data
    const template = toTemplate(name, body)
    const faults = templateFaults(template)
    return faults.length === 0 ? { template } : { fault: faults.join(' ') }
  }
  const { name } = (row ?? {}) as { name?: unknown }
  const faults = faultsOf(parsed.error.issues, () => []).map(({ sentence }) => sentence)
  const which = typeof name === 'string' ? `The template ${shown(name)}` : 'A template without a name'
  return { fault: `${which}: ${faults.slice(0, FAULTS_TOLD).join(' ')}` }
}

export function toTemplateJson(template: PlacedTemplate): TemplateJson {
  return {
    name: template.name,
    stored_in: template.storedIn,
    hides: template.hides,
    description: template.description,
    prompt: template.prompt,
    variables: Object.fromEntries(
      Object.entries(template.variables).map(([name, { choices, ...rest }]) => [
        name,
        { ...rest, choices: [...choices] },
      ]),
    ),
    role: template.role,
    model: template.model,
    permission_mode: template.permissionMode,
    allowed_tools: template.allowedTools,
    disallowed_tools: template.disallowedTools,
    timeout_s: template.timeoutS,
    max_tokens: template.maxTokens,
    max_cost_usd: template.maxCostUsd,
    restricted: template.restricted,
  }
}
