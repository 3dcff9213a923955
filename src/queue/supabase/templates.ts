import type { SupabaseClient } from '@supabase/supabase-js'
import { refusalOf } from './refusal.ts'

const COLUMNS =
  'name, description, prompt, variables, role, model, permission_mode, allowed_tools, disallowed_tools, timeout_s, max_tokens, max_cost_usd, restricted'

/** How many of a system are used. */
export const TEMPLATES_MAX = 500

/**
 * The rows of a system's templates as they are, by name, at most `limit`: whoever reads them looks at each. Throws
 * SUPABASE_UNREACHABLE and SUPABASE_REFUSED.
 */
export async function listTemplateRows(
  client: SupabaseClient,
  options: { system: string; secretKey: string; limit: number },
): Promise<unknown[]> {
  const { system, secretKey, limit } = options
  const { data, error, status } = await client
    .from('templates')
    .select(COLUMNS)
    .eq('system_id', system)
    .order('name')
    .limit(limit)
  if (error === null && Array.isArray(data)) return data
  const { code, message, hint } = error ?? { code: '', message: 'it is no list', hint: null }
  throw refusalOf({ call: 'templates', status, code, message, hint }, secretKey)
}
