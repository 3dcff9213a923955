import { z } from 'zod'
import type { Template } from '../core/template.ts'
import { paged } from './list.ts'

/** Query of `GET /api/templates`. */
export const TemplateFilter = z.strictObject(paged(['name', '-name']))

/** A task template on the wire. */
export const TemplateJson = z
  .object({
    name: z.string(),
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

export function toTemplateJson(template: Template): TemplateJson {
  return {
    name: template.name,
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
