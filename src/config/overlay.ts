import { parse as parseToml } from 'smol-toml'
import type { z } from 'zod'
import { nearestName, shown } from '../protocol/faults.ts'
import type { Origin } from './config.ts'
import { SECTIONS } from './schema.ts'
import { type Environment, isTable, type Tree } from './sources.ts'

/** Puts every `CCM__SECTION__KEY` into the tree, as the type its field takes. */
export function overlayEnvironment(
  tree: Tree,
  env: Environment,
  origins: Record<string, Origin>,
  faults: string[],
): void {
  // Sorted, so that CCM__CLAUDE__ENV comes before CCM__CLAUDE__ENV__FOO and does not undo it.
  for (const variable of Object.keys(env).sort()) {
    const text = env[variable]
    if (!variable.startsWith('CCM__') || text === undefined) continue
    const [first = '', second = '', ...rest] = variable.slice(5).split('__')
    const [section, key] = [first.toLowerCase(), second.toLowerCase()]
    const field = fieldAt(section, key)
    const inner = section === 'claude' && key === 'env' && rest.length > 0 ? rest.join('__') : null
    if (field === null || (rest.length > 0 && inner === null) || inner === '') {
      const best = nearestName(variable.slice(5), knownVariables())
      const hint = best === null ? '' : `; did you mean CCM__${best.toUpperCase()}?`
      faults.push(`${shown(variable)}: the variable is not known${hint}${hint === '' ? '.' : ''}`)
      continue
    }
    const table = (tree[section] ??= {})
    if (!isTable(table)) continue
    if (inner === null) {
      table[key] = valueFor(field, text)
      for (const known of Object.keys(origins))
        if (known.startsWith(`${section}.${key}.`)) delete origins[known]
      origins[`${section}.${key}`] = { from: 'environment', variable }
    } else {
      const map = (table[key] ??= {})
      if (!isTable(map)) continue
      map[inner] = text
      origins[`${section}.${key}.${inner}`] = { from: 'environment', variable }
    }
  }
}

/** What a variable's text means for a field: the text itself where that is valid, else JSON, else a TOML value. */
function valueFor(field: z.ZodType, text: string): unknown {
  const readings = [
    () => text,
    () => JSON.parse(text) as unknown,
    () => parseToml(`value = ${text}`)['value'],
  ]
  let last: unknown = text
  for (const read of readings) {
    try {
      const value = read()
      if (field.safeParse(value).success) return value
      last = value
    } catch {
      // Not in this notation.
    }
  }
  return last
}

/** The schema of `[section] key`; null when there is no such key. */
export function fieldAt(section: string, key: string): z.ZodType | null {
  const shape: Record<string, z.ZodType> | undefined = Object.hasOwn(SECTIONS, section)
    ? SECTIONS[section as keyof typeof SECTIONS].shape
    : undefined
  return shape !== undefined && Object.hasOwn(shape, key) ? (shape[key] ?? null) : null
}

function knownVariables(): string[] {
  return Object.entries(SECTIONS).flatMap(([section, shape]) =>
    Object.keys(shape.shape).map((key) => `${section}__${key}`),
  )
}
