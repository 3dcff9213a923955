import type { z } from 'zod'
import { fieldAt } from './overlay.ts'
import { CONFIG_FILE } from './schema.ts'

/** What reads a minute as so many milliseconds is a duration. */
function isDuration(section: string, key: string): boolean {
  return fieldAt(section, key)?.safeParse('90s').data === 90_000
}

function exactDuration(ms: number): string {
  const units = Object.entries({ d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 })
  const [unit, size] = units.find(([, size]) => ms >= size && ms % size === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}

/** Every value by its dotted key, durations as the shortest exact text; may hold secrets. */
export function flat(data: z.output<typeof CONFIG_FILE>): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const [section, table] of Object.entries(data)) {
    for (const [key, value] of Object.entries(table)) {
      if (section === 'claude' && key === 'env') {
        for (const [name, text] of Object.entries(value as object)) values[`claude.env.${name}`] = text
      } else values[`${section}.${key}`] = isDuration(section, key) ? exactDuration(Number(value)) : value
    }
  }
  return values
}
