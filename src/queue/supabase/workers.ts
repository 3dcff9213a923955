import type { SupabaseClient } from '@supabase/supabase-js'
import type { Worker } from '../../core/worker.ts'
import { parseList, parseWorker } from './rows.ts'
import { refusalOf } from './refusal.ts'

/** All workers of a system, by name. Throws SUPABASE_UNREACHABLE and SUPABASE_REFUSED. */
export async function listWorkers(
  client: SupabaseClient,
  system: string,
  secretKey: string,
): Promise<Worker[]> {
  const { data, error, status } = await client
    .from('workers')
    .select('id, host, version, capacity, roles, labels, projects, draining, running, seen_at')
    .eq('system_id', system)
    .order('id')
  if (error !== null) {
    const { code, message, hint } = error
    throw refusalOf({ call: 'workers', status, code, message, hint }, secretKey)
  }
  return parseList(parseWorker)(data)
}
