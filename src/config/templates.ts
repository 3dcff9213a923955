import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TomlError, parse as parseToml } from 'smol-toml'
import type { z } from 'zod'
import type { TEMPLATE } from './schema.ts'
import type { Template } from '../core/task/template.ts'

type Origins = Record<
  string,
  { from: 'default' } | { from: 'file'; file: string } | { from: 'environment'; variable: string }
>

/**
 * Puts each `templates/NAME.md` beside the configuration file into its tree, as `[templates.NAME]`: TOML between two
 * lines `+++`, then the prompt. What cannot be read, or is there twice, becomes a fault.
 */
export function readTemplateFiles(
  configFile: string,
  tree: Record<string, unknown>,
  origins: Origins,
  faults: string[],
): void {
  const folder = join(dirname(configFile), 'templates')
  const names = filesOf(folder)
  if (names.length === 0) return
  const table = (tree['templates'] ??= {}) as Record<string, unknown>
  if (typeof table !== 'object' || Array.isArray(table)) return
  for (const name of names) {
    const file = join(folder, `${name}.md`)
    if (Object.hasOwn(table, name)) {
      faults.push(`${file}: the template ${name} stands in ${configFile} too.`)
      continue
    }
    try {
      table[name] = parseTemplateFile(readFileSync(file, 'utf8'))
      origins[`templates.${name}`] = { from: 'file', file }
    } catch (error) {
      const why =
        error instanceof TomlError
          ? `line ${error.line + 1}: ${error.message.split('\n', 1)[0]}`
          : `it cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`
      faults.push(`${file}: ${why}.`)
    }
  }
}

/** The front matter, if there is one, and the rest as the prompt. Throws TomlError. */
function parseTemplateFile(text: string): Record<string, unknown> {
  const [, front, rest] =
    /^\uFEFF?\+\+\+[ \t]*\r?\n([^]*?)(?:\r?\n)?^\+\+\+[ \t]*(?:\r?\n|$)([^]*)$/m.exec(text) ?? []
  if (front === undefined || !/^\uFEFF?\+\+\+/.test(text)) return { prompt: text.trim() }
  return { prompt: (rest ?? '').trim(), ...parseToml(front) }
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith('.md'))
      .map((file) => file.slice(0, -'.md'.length))
      .sort()
  } catch {
    return []
  }
}

/** A template of the configuration as it is used. */
export function toTemplate([name, data]: [string, z.output<typeof TEMPLATE>]): Template {
  return {
    name,
    description: data.description,
    prompt: data.prompt,
    variables: Object.fromEntries(
      Object.entries(data.variables).map(([key, { default: value, ...rest }]) => [
        key,
        { ...rest, default: value ?? null },
      ]),
    ),
    role: data.role ?? null,
    model: data.model ?? null,
    permissionMode: data.permission_mode ?? null,
    allowedTools: data.allowed_tools,
    disallowedTools: data.disallowed_tools,
    timeoutS: data.timeout === undefined ? null : Math.ceil(data.timeout / 1000),
    maxTokens: data.max_tokens ?? null,
    maxCostUsd: data.max_cost_usd ?? null,
    restricted: data.restricted,
  }
}
