import { clip } from '../clip.ts'
import type { InboxTask } from './inbox.ts'
import { outsideBlock, withinPrompt, type OutsideText } from './outside-text.ts'
import { promptFault } from '../task/task.ts'
import { renderTemplate, type Template } from '../task/template.ts'

/**
 * The task that a request from outside asks for: the template's prompt with those of `values` that it has as
 * variables, and every text as a block of data. A sentence where it cannot be made.
 */
export function outsideTask(given: {
  template: Template
  /** Words of our own or checked by us; never free text. */
  values: Readonly<Record<string, string | number | null>>
  texts: readonly OutsideText[]
  boundary: string
  source: string
}): InboxTask | { fault: string } {
  const { template, texts, boundary, source } = given
  const values = Object.entries(given.values).flatMap(([name, value]) =>
    value === null || !Object.hasOwn(template.variables, name) ? [] : [[name, value] as const],
  )
  const blocks = withinPrompt(texts)
    .map((text) => outsideBlock(text, boundary))
    .join('\n\n')
  const rendered = renderTemplate(template, Object.fromEntries(values), blocks)
  if ('faults' in rendered) return { fault: rendered.faults.join(' ') }
  const fault = promptFault(rendered.prompt)
  if (fault !== null) return { fault }
  return {
    prompt: rendered.prompt,
    role: template.role,
    model: template.model,
    priority: null,
    timeoutS: template.timeoutS,
    permissionMode: template.permissionMode,
    allowedTools: template.allowedTools,
    disallowedTools: template.disallowedTools,
    scheduledAt: null,
    labels: [],
    maxTokens: template.maxTokens,
    maxCostUsd: template.maxCostUsd,
    inPlace: null,
    source,
  }
}

/** A template of our own, for a rule that names none. */
export function plainTemplate(name: string, prompt: string, variables: readonly string[]): Template {
  return {
    name,
    description: '',
    prompt,
    variables: Object.fromEntries(
      variables.map((variable) => [variable, { type: 'text', required: false, default: null, choices: [] }]),
    ),
    role: null,
    model: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    timeoutS: null,
    maxTokens: null,
    maxCostUsd: null,
    restricted: true,
  }
}

/** One line of at most 200 characters for a list. */
export function titleOf(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is taken out
  return clip(text.replaceAll(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim(), 200)
}
