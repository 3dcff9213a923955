import { familyOfLimit, familyOfModel } from '../../core/task/limit.ts'
import type { Clock } from '../../core/clock.ts'
import type { Notes } from '../../store/notes.ts'
import type { Hold } from '../claims/dispatcher.ts'

/** The account's usage limits as far as agents ran into them; they outlive the daemon. */
export type Limits = {
  /** `type` is the API's own name of it, `model` what the task asked for (null: the account's default). */
  reached: (limit: { until: number; type: string | null; model: string | null }) => void
  /** When a task with this model may start; null: now, as far as is known. */
  until: (model: string | null) => number | null
  /** A limit of all models holds everything; one of a single family only its tasks, and names them. */
  holds: () => Hold[]
}

const NOTE = 'limits'
const ALL = 'all models'

/** A limit that cannot be told to be of one family of models counts for all. */
export function createLimits(deps: { notes: Notes; clock: Clock }): Limits {
  const { notes, clock } = deps
  const known = new Map<string, number>()
  for (const [name, until] of Object.entries((notes.read(NOTE) ?? {}) as Record<string, unknown>))
    if (typeof until === 'number') known.set(name, until)

  function current(): [string, number][] {
    for (const [name, until] of known) if (until <= clock()) known.delete(name)
    return [...known]
  }

  return {
    reached({ until, type, model }) {
      const family = familyOfLimit(type)
      // A task that names no model ran on the account's default one, which is of this family then.
      const names = family === null ? [ALL] : model === null ? [family, ''] : [family]
      for (const name of names) known.set(name, Math.max(until, known.get(name) ?? 0))
      notes.write(NOTE, Object.fromEntries(current()))
    },
    until(model) {
      const name = model === null ? '' : familyOfModel(model)
      const times = current().flatMap(([of, until]) => (of === ALL || of === name ? [until] : []))
      return times.length === 0 ? null : Math.max(...times)
    },
    holds: () =>
      current()
        .filter(([name]) => name !== '')
        .map(([name, until]) => {
          const end = new Date(until).toISOString()
          return name === ALL
            ? { kind: 'limit', sentence: `The account's usage limit is reached until ${end}.`, until }
            : {
                kind: 'limit',
                sentence: `The account's usage limit for ${name} is reached until ${end}.`,
                until,
                model: name,
              }
        }),
  }
}
