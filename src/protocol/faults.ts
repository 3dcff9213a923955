import { closest, distance } from 'fastest-levenshtein'
import type { z } from 'zod'

/** One thing that is wrong with a document: where, and a full sentence that never repeats the value itself. */
export type Fault = { path: string[]; sentence: string }

const WORDS: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a table of keys and values',
  record: 'a table of keys and values',
}

/**
 * What zod found, as sentences for a person. `knownAt` names the keys that are allowed at a path, for the
 * nearest name of an unknown one.
 */
export function faultsOf(issues: z.core.$ZodIssue[], knownAt: (path: string[]) => string[]): Fault[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...path, key],
        sentence: `${[...path, shown(key)].join('.')} is not known${hint(key, path, knownAt(path))}`,
      }))
    }
    const text = predicateOf(issue)
    // A schema's own message that starts with a capital letter is a whole sentence already.
    if (/^[A-Z]/.test(text)) return [{ path, sentence: text }]
    return [{ path, sentence: `${path.length === 0 ? 'It' : path.map(shown).join('.')} ${text}.` }]
  })
}

/** The known name that `name` was probably meant to be, or null when none is near. */
export function nearestName(name: string, known: string[]): string | null {
  if (known.length === 0 || name.length > 200) return null
  const best = closest(name.toLowerCase(), known)
  return distance(name.toLowerCase(), best) <= Math.max(2, Math.ceil(name.length / 2)) ? best : null
}

/** A name as it may be shown: control characters escaped, at most 60 characters. */
export function shown(name: string): string {
  const short = name.length > 60 ? `${name.slice(0, 59)}…` : name
  return /^[\w.-]+…?$/.test(short) ? short : JSON.stringify(short)
}

function hint(key: string, path: string[], known: string[]): string {
  const best = nearestName(key, known)
  if (best !== null) return `; did you mean ${[...path, best].join('.')}?`
  return known.length === 0 ? '.' : `; known are ${known.join(', ')}.`
}

function predicateOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') {
    if (issue.message.endsWith('received undefined')) return 'is missing'
    return `must be ${WORDS[issue.expected] ?? issue.expected}`
  }
  if (issue.code === 'too_small') return `must ${amount(issue.origin, 'at least', Number(issue.minimum))}`
  if (issue.code === 'too_big') return `must ${amount(issue.origin, 'at most', Number(issue.maximum))}`
  if (issue.code === 'invalid_value') {
    return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`
  }
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? 'has a name that is not allowed'
  return issue.message
}

function amount(origin: string, bound: string, count: number): string {
  if (origin === 'string') return `have ${bound} ${count} character${count === 1 ? '' : 's'}`
  if (origin === 'array') return `have ${bound} ${count} entr${count === 1 ? 'y' : 'ies'}`
  return `be ${bound} ${count}`
}
