import { createRedactor, type Redactor } from '../core/redact.ts'

/** Takes in further secrets while the daemon runs; what it knew before stays hidden. */
export function createGrowingRedactor(
  first: string[],
  patterns: RegExp[],
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
