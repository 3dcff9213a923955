import { createRedactor, type Redactor } from '../core/redact.ts'

/**
 * Hides these values and what the patterns match, given as sources of regular expressions. Takes in further values
 * while the daemon runs; what it knew before stays hidden.
 */
export function createGrowingRedactor(
  first: string[],
  patterns: string[],
): Redactor & { add: (values: string[]) => void } {
  let values = first
  let current = createRedactor({ values, patterns })
  return {
    text: (text) => current.text(text),
    value: (value) => current.value(value),
    mayHold: (json) => current.mayHold(json),
    add(more) {
      values = [...new Set([...values, ...more])]
      current = createRedactor({ values, patterns })
    },
  }
}
