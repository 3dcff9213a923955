import type { Clock } from '../core/clock.ts'
import type { Template } from '../core/task/template.ts'
import type { Database } from './database.ts'

/** The task templates that came through the API. */
export type StoredTemplates = {
  /** By name. */
  list: () => Template[]
  /** False where the name is taken. */
  add: (template: Template) => boolean
  /** Takes the place of the one of its name, or is new. */
  put: (template: Template) => void
  /** False where there is none of this name. */
  remove: (name: string) => boolean
}

type Row = { name: string; template: string; changed_at: number }

/** Task templates on the local database; they have to be valid. */
export function createStoredTemplates(db: Database, clock: Clock): StoredTemplates {
  const list = db.prepare<Record<string, never>, Row>('SELECT * FROM templates ORDER BY name')
  const add = db.prepare<Row>(
    `INSERT INTO templates (name, template, changed_at) VALUES (:name, :template, :changed_at)
     ON CONFLICT (name) DO NOTHING`,
  )
  const put = db.prepare<Row>(
    `INSERT INTO templates (name, template, changed_at) VALUES (:name, :template, :changed_at)
     ON CONFLICT (name) DO UPDATE SET template = :template, changed_at = :changed_at`,
  )
  const remove = db.prepare<{ name: string }>('DELETE FROM templates WHERE name = :name')
  const toRow = ({ name, ...template }: Template): Row => {
    return { name, template: JSON.stringify(template), changed_at: clock() }
  }
  return {
    list: () =>
      list
        .all({})
        .map(({ name, template }) => ({ ...(JSON.parse(template) as Omit<Template, 'name'>), name })),
    add: (template) => add.run(toRow(template)) > 0,
    put: (template) => void put.run(toRow(template)),
    remove: (name) => remove.run({ name }) > 0,
  }
}
