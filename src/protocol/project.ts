import { z } from 'zod'
import type { ProjectSettings } from '../core/task/project.ts'
import { PERMISSION_MODES } from '../core/task/task.ts'
import { paged } from './list.ts'
import { at } from './time.ts'

// oxlint-disable-next-line no-control-regex -- control characters are what is refused
const line = z.string().regex(/^[^\x00-\x1f\x7f]*$/, 'must be one line without control characters')
const rule = line.min(1).max(1000)
const command = line.min(1).max(4000)
/** Stays below the project: a pattern of files in it, relative and without `..`. */
const pattern = line
  .min(1)
  .max(500)
  .refine((text) => !text.startsWith('/') && !text.split('/').includes('..'), 'must stay inside the project')
const seconds = z
  .int()
  .min(1)
  .max(7 * 86_400)
const tokens = z.int().min(1).max(1_000_000_000_000)
const dollars = z.number().positive().max(1_000_000)

const SETTINGS = z.strictObject({
  model: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[\w.:@/[\]-]+$/, 'is not a model id')
    .nullable(),
  permission_mode: z.enum(PERMISSION_MODES).nullable(),
  allowed_tools: z.array(rule).max(200),
  disallowed_tools: z.array(rule).max(200),
  max_running: z.int().min(1).max(1000).nullable(),
  paused: z.boolean(),
  timeout_s: seconds.nullable(),
  priority: z.int().min(-100).max(100),
  in_place: z.boolean(),
  setup: z.array(command).max(50),
  setup_timeout_s: seconds.nullable(),
  copy: z.array(pattern).max(100),
  link: z.array(pattern).max(100),
  max_tokens: tokens.nullable(),
  max_cost_usd: dollars.nullable(),
  max_tokens_per_day: tokens.nullable(),
  max_cost_usd_per_day: dollars.nullable(),
})

/** What a project, role or schedule may be called. */
export const ProjectName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')

/** Body of `POST /api/projects`. */
export const NewProjectBody = z.strictObject({
  dir: z.string().min(1).max(4096),
  name: ProjectName.optional(),
  trust: z.boolean().default(false),
})

/** Query of `GET /api/projects`. */
export const ProjectFilter = z.strictObject(paged(['name', '-name', 'created_at', '-created_at']))

/** Body of `PATCH /api/projects/:name`: what is named changes, all at once; null: no value of its own. */
export const ProjectChangesBody = SETTINGS.partial()
export type ProjectChangesBody = z.input<typeof ProjectChangesBody>

/** The settings of a project on the wire; their meaning is ProjectSettings'. */
export type ProjectSettingsJson = z.output<typeof SETTINGS>

/** A project on the wire. */
export const ProjectJson = z
  .object({
    name: z.string(),
    dir: z.string(),
    trusted: z.boolean(),
    created_at: at,
    /** False while Supabase does not know it as it is here: it is told when it answers. */
    told: z.boolean(),
    ...SETTINGS.shape,
  })
  .meta({ id: 'Project' })
export type ProjectJson = z.output<typeof ProjectJson>

const WIRE: Record<keyof ProjectSettings, keyof ProjectSettingsJson> = {
  model: 'model',
  permissionMode: 'permission_mode',
  allowedTools: 'allowed_tools',
  disallowedTools: 'disallowed_tools',
  maxRunning: 'max_running',
  paused: 'paused',
  timeoutS: 'timeout_s',
  priority: 'priority',
  inPlace: 'in_place',
  setup: 'setup',
  setupTimeoutS: 'setup_timeout_s',
  copy: 'copy',
  link: 'link',
  maxTokens: 'max_tokens',
  maxCostUsd: 'max_cost_usd',
  maxTokensPerDay: 'max_tokens_per_day',
  maxCostUsdPerDay: 'max_cost_usd_per_day',
}

/** Every setting by its name on the wire, in the order they are shown. */
export const PROJECT_SETTING_NAMES = Object.values(WIRE)

export function toProjectSettings(changes: z.output<typeof ProjectChangesBody>): Partial<ProjectSettings> {
  const named = Object.entries(WIRE).filter(([, wire]) => changes[wire] !== undefined)
  return Object.fromEntries(named.map(([name, wire]) => [name, changes[wire]]))
}

export function toProjectJson(
  project: ProjectSettings & { name: string; dir: string; trusted: boolean; createdAt: number },
  told: boolean,
): ProjectJson {
  const { name, dir, trusted, createdAt } = project
  const settings = Object.entries(WIRE).map(([key, wire]) => [wire, project[key as keyof ProjectSettings]])
  return {
    name,
    dir,
    trusted,
    created_at: new Date(createdAt).toISOString(),
    told,
    ...(Object.fromEntries(settings) as ProjectSettingsJson),
  }
}
