import type pg from 'pg'
import type { Call } from '../../src/queue/supabase/client.ts'
import { refusalOf } from '../../src/queue/supabase/refusal.ts'

/** Calls the queue's functions over the database's own protocol, for what would take too long over REST. */
export function createPostgresCall(database: Pick<pg.Pool, 'query'>): Call {
  return async (name, parameters, parse) => {
    const names = Object.keys(parameters)
    const text = `SELECT to_jsonb(answer) AS answer FROM public.${name}(${names
      .map((parameter, index) => `${parameter} => $${index + 1}`)
      .join(', ')}) AS answer`
    try {
      const { rows } = await database.query<{ answer: unknown }>(text, Object.values(parameters))
      return parse(SETS.has(name) ? rows.map(({ answer }) => answer) : rows[0]?.answer)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error
      throw refusalOf({ call: name, status: 400, code: error.code, message: error.message }, '-')
    }
  }
}

/** Functions that answer a list. */
const SETS = new Set([
  'task_get',
  'tasks_by_prefix',
  'task_dependencies',
  'tasks_claim',
  'tasks_heartbeat',
  'task_finish_many',
  'tasks_mine',
  'tasks_reap',
])
