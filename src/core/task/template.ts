import { narrowed, type Rights } from './rights.ts'
import type { PermissionMode } from './task.ts'

/** What may be put in place of `{{name}}`. Without a default it must be given, unless it is not required. */
export type Variable = {
  type: 'text' | 'number' | 'choice'
  required: boolean
  default: string | null
  /** Of a choice. */
  choices: readonly string[]
}

/** A task that only lacks its variables. */
export type Template = {
  name: string
  description: string
  prompt: string
  variables: Readonly<Record<string, Variable>>
  role: string | null
  model: string | null
  permissionMode: PermissionMode | null
  allowedTools: string[]
  disallowedTools: string[]
  timeoutS: number | null
  maxTokens: number | null
  maxCostUsd: number | null
  /** Runs with the rights of [outside] only, whoever asks for it. */
  restricted: boolean
}

/** Where a template stands: the owner's files, this machine's database, or that of all machines of the system. */
export const TEMPLATE_PLACES = ['file', 'database', 'supabase'] as const
export type TemplatePlace = (typeof TEMPLATE_PLACES)[number]

/** A template that counts, and the places whose template of the same name it hides. */
export type PlacedTemplate = Template & { storedIn: TemplatePlace; hides: TemplatePlace[] }

/**
 * One template a name, by name. Of two with one name that counts which fewer people can write: the owner of this
 * machine writes files, its administrators the database, and whoever holds the system's key Supabase.
 */
export function templatesOf(of: Partial<Record<TemplatePlace, readonly Template[]>>): PlacedTemplate[] {
  const found = new Map<string, PlacedTemplate>()
  for (const storedIn of TEMPLATE_PLACES) {
    for (const template of of[storedIn] ?? []) {
      const before = found.get(template.name)
      if (before === undefined) found.set(template.name, { ...template, storedIn, hides: [] })
      else before.hides.push(storedIn)
    }
  }
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** What tasks may do at most. */
type Limit = Rights & { permissionMode: PermissionMode }

/**
 * The template with the rights that it may give a task: a file's are its owner's word; one of this machine's database
 * gives a restricted task no more than `outside`, and one of Supabase no task more than the limit it is under.
 */
export function templateWithin<T extends Template & { storedIn: TemplatePlace }>(
  template: T,
  isRestricted: boolean,
  limits: { project: Limit; outside: Limit },
): T {
  const { storedIn } = template
  if (storedIn === 'file' || (storedIn === 'database' && !isRestricted)) return template
  const { permissionMode, allowedTools } = narrowed(template, isRestricted ? limits.outside : limits.project)
  return { ...template, permissionMode, allowedTools: [...allowedTools] }
}

const PLACE = /\{\{\s*([a-z][a-z0-9_]*)\s*\}\}/g
const VALUE_MAX = 50_000
const OUTSIDE = 'outside'

/** Why nobody could use this template, one sentence each. */
export function templateFaults(template: Template): string[] {
  const { name, prompt, variables } = template
  const known = [...Object.keys(variables), OUTSIDE]
  const used = [...new Set([...prompt.matchAll(PLACE)].map(([, variable]) => variable ?? ''))]
  return [
    ...(Object.hasOwn(variables, OUTSIDE)
      ? [`The template ${name} has a variable outside, which is reserved.`]
      : []),
    ...used
      .filter((variable) => !known.includes(variable))
      .map((variable) => `The template ${name} uses {{${variable}}}, which is none of its variables.`),
    ...Object.entries(variables).flatMap(([variable, { type, choices, default: value, ...rest }]) => {
      const fault =
        type === 'choice' && choices.length === 0
          ? 'has no choices'
          : type !== 'choice' && choices.length > 0
            ? `has choices, and is a ${type}`
            : value === null
              ? null
              : valueFault({ type, choices, default: value, ...rest }, value)
      return fault === null ? [] : [`The variable ${variable} of the template ${name} ${fault}.`]
    }),
  ]
}

/**
 * The prompt with every `{{name}}` replaced once: what a value holds is never read as a variable again. Or every
 * fault, one sentence each: missing, unknown and unfit values. `outside` is a block of data (outside-text.ts); it
 * goes to `{{outside}}`, or to the end where the prompt has no such place.
 */
export function renderTemplate(
  { name, prompt, variables }: Pick<Template, 'name' | 'prompt' | 'variables'>,
  values: Readonly<Record<string, string | number>>,
  outside = '',
): { prompt: string } | { faults: string[] } {
  const faults: string[] = []
  const known = Object.keys(variables)
  for (const variable of Object.keys(values)) {
    if (!known.includes(variable)) {
      const has = known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`
      faults.push(`The template ${name} has no variable ${JSON.stringify(variable)}; ${has}.`)
    }
  }
  const texts = new Map<string, string>()
  for (const [variable, rule] of Object.entries(variables)) {
    const given = Object.hasOwn(values, variable) ? String(values[variable]) : rule.default
    if (given === null) {
      if (rule.required) faults.push(`The template ${name} needs the variable ${variable}.`)
      texts.set(variable, '')
      continue
    }
    const fault = valueFault(rule, given)
    if (fault !== null) faults.push(`The variable ${variable} of the template ${name} ${fault}.`)
    texts.set(variable, given)
  }
  if (faults.length > 0) return { faults }
  texts.set(OUTSIDE, outside)
  const places = [...prompt.matchAll(PLACE)].some(([, variable]) => variable === OUTSIDE)
  const filled = prompt.replaceAll(PLACE, (place, variable: string) => texts.get(variable) ?? place)
  return { prompt: places || outside === '' ? filled : `${filled.trimEnd()}\n\n${outside}` }
}

function valueFault({ type, choices }: Variable, value: string): string | null {
  if (value.length > VALUE_MAX) return `is longer than ${VALUE_MAX} characters`
  if (type === 'number' && !/^-?\d{1,15}(\.\d{1,15})?$/.test(value)) return 'must be a number'
  if (type === 'choice' && !choices.includes(value)) return `must be one of ${choices.join(', ')}`
  return null
}
