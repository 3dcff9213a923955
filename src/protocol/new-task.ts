import { z } from 'zod'
import { PERMISSION_MODES, promptFault } from '../core/task/task.ts'
import { ProjectName } from './project.ts'

const toolRule = z.string().min(1).max(1000)

/** What a task may say. */
export const Prompt = z.string().superRefine((prompt, context) => {
  const fault = promptFault(prompt)
  if (fault !== null) context.addIssue({ code: 'custom', message: fault })
})

/** Body of `POST /api/tasks`. Either `prompt` or `template` is needed; what else is set goes over the template's. One of `dir` and `project` is needed; `dir` registers a project if it is new. */
export const NewTaskBody = z
  .strictObject({
    prompt: Prompt.optional(),
    template: ProjectName.optional(),
    variables: z.record(z.string().max(40), z.union([z.string().max(50_000), z.number()])).optional(),
    dir: z.string().min(1).max(4096).optional(),
    project: ProjectName.optional(),
    role: ProjectName.optional(),
    model: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[\w.:@/[\]-]+$/, 'is not a model id')
      .optional(),
    /** Left out: the project's. */
    priority: z.int().min(-100).max(100).optional(),
    timeout_s: z
      .int()
      .min(1)
      .max(7 * 86_400)
      .optional(),
    permission_mode: z.enum(PERMISSION_MODES).optional(),
    allowed_tools: z.array(toolRule).max(200).default([]),
    disallowed_tools: z.array(toolRule).max(200).default([]),
    /** Those that begin like the keys of webhooks, chats, schedules and repeated requests are theirs. */
    dedupe_key: z
      .string()
      .min(1)
      .max(200)
      .regex(/^(?!(?:gh|tg|am|cron|once):)/, 'must not begin with gh:, tg:, am:, cron: or once:')
      .optional(),
    /** Ids, or their beginnings, of tasks that have to succeed first. */
    depends_on: z
      .array(z.string().regex(/^[\w-]{1,64}$/, 'is not the id of a task'))
      .max(50)
      .default([]),
    /** ISO 8601 with a zone; a time that has passed means now, as `scheduled_at` of the answer shows. */
    scheduled_at: z.iso
      .datetime({ offset: true, error: 'must be a time such as 2030-01-31T07:00:00Z' })
      .optional(),
    /** A worker must have all of them. */
    labels: z
      .array(
        z.string().regex(/^[a-z0-9][a-z0-9._:-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, ".", "_", ":", "-"'),
      )
      .max(20)
      .default([]),
    /** The task's budget over all its attempts. */
    max_tokens: z.int().min(1).optional(),
    max_cost_usd: z.number().min(0.01).max(1_000_000).optional(),
    /** Works in the directory itself, one agent at a time; left out: as the project's setting says. */
    in_place: z.boolean().optional(),
    source: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
      .default('api'),
    /** Trusts the directory: its own hooks, servers and settings may run. */
    trust: z.boolean().default(false),
  })
  .refine((body) => body.dir !== undefined || body.project !== undefined, { message: 'needs dir or project' })
  .superRefine(({ prompt, template }, context) => {
    if ((prompt === undefined) !== (template === undefined)) return
    const message = prompt === undefined ? 'is missing' : 'must not stand beside a template'
    context.addIssue({ code: 'custom', path: ['prompt'], message })
  })
export type NewTaskBody = z.input<typeof NewTaskBody>
