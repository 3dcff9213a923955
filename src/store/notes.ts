import type { Database } from './database.ts'

/** Small things a daemon must know again after a restart: JSON by name, in the table `meta`. */
export type Notes = {
  /** Undefined when nothing is noted, or nothing readable. */
  read: (name: string) => unknown
  write: (name: string, value: unknown) => void
}

/** Notes on the local database. */
export function createNotes(db: Database): Notes {
  const one = db.prepare<{ key: string }, { value: string }>('SELECT value FROM meta WHERE key = :key')
  const put = db.prepare<{ key: string; value: string }>(
    `INSERT INTO meta (key, value) VALUES (:key, :value)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
  )
  return {
    read(name) {
      try {
        return JSON.parse(one.get({ key: name })?.value ?? '') as unknown
      } catch {
        return undefined
      }
    },
    write: (name, value) => void put.run({ key: name, value: JSON.stringify(value) }),
  }
}
