import { setTimeout as sleep } from 'node:timers/promises'
import type { PostgrestError } from '@supabase/supabase-js'
import type { Logger } from 'pino'
import { CcmError, messageOf } from '../../core/errors.ts'
import { createSupabase, type Supabase, type SupabaseAccess } from './client.ts'
import { keyFault } from './key.ts'
import { refusalOf } from './refusal.ts'
import { subscribe } from './trial.ts'

/** One thing that was looked at; a failed one has the sentence that helps. */
export type SupabaseCheck = { name: string; state: 'ok' | 'failed'; detail: string; remedy: string | null }

/** Of migrations/postgres; what a database answers that has them all. */
export const NEWEST_MIGRATION = '20261120000024'

const ANSWER_MS = 5000
/** The API reads the schema anew some seconds after it was changed. */
const SCHEMA_MS = 20_000
const SCHEMA_LOOK_MS = 500

const ok = (name: string, detail: string): SupabaseCheck => ({ name, state: 'ok', detail, remedy: null })
const failed = (name: string, detail: string, remedy: string | undefined): SupabaseCheck => ({
  name,
  state: 'failed',
  detail,
  remedy: remedy ?? 'See docs/supabase.md.',
})

/**
 * Looks at a Supabase project as a worker needs it, in the order in which things fail; stops at the first that does. With
 * `make` a missing system is made, which changes nothing where it exists. `migrated`: the tables were brought up to date
 * a moment ago, so the API may not know them yet; it gets up to 20 s. Throws nothing.
 */
export async function checkSupabase(
  access: SupabaseAccess,
  options: { make: boolean; migrated?: boolean; logger: Logger; fetch?: typeof fetch },
): Promise<SupabaseCheck[]> {
  const { url, secretKey, system } = access
  const checks: SupabaseCheck[] = []
  const fault = keyFault(secretKey)
  if (fault !== null)
    return [failed('key', fault, 'Copy the secret key (sb_secret_…) from the dashboard: Settings, API keys.')]
  const supabase = createSupabase({
    url,
    secretKey,
    timeoutMs: ANSWER_MS,
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  })
  const steps: [name: string, look: () => Promise<string>][] = [
    ['url', () => lookAtUrl(access, options.fetch ?? fetch)],
    ['key', () => lookAtKey(supabase)],
    ['tables', () => lookAtFunctions(supabase, access, options.migrated === true ? SCHEMA_MS : 0)],
    ['system', () => lookAtSystem(supabase, access, options.make)],
    ['realtime', () => lookAtRealtime(supabase, system, options.logger)],
  ]
  for (const [name, look] of steps) {
    try {
      checks.push(ok(name, await look()))
    } catch (error) {
      checks.push(failed(name, messageOf(error), error instanceof CcmError ? error.remedy : undefined))
      break
    }
  }
  return checks
}

async function lookAtUrl({ url, secretKey }: SupabaseAccess, ask: typeof fetch): Promise<string> {
  const remedy = 'Copy the URL of the project from the dashboard: https://REF.supabase.co'
  const wrong = (why: string) => new CcmError('SUPABASE_UNREACHABLE', why, { remedy })
  let response: Response
  try {
    response = await ask(`${url}/rest/v1/systems?select=id&limit=1`, {
      headers: { apikey: secretKey },
      signal: AbortSignal.timeout(ANSWER_MS),
    })
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw wrong(`Nobody answers at ${url}: ${messageOf(cause)}`)
  }
  if (isOfSupabase(response.status, await response.text().catch(() => ''))) return url
  throw wrong(`What answers at ${url} is no Supabase project (status ${response.status}).`)
}

async function lookAtKey({ call, client }: Supabase): Promise<string> {
  const { error, status } = await client.from('systems').select('id').limit(1)
  // A right that the role of the key lacks is told of what it lacks it for. An unknown key has no role: 401.
  if (status === 403 && error?.code === '42501') return 'the key is accepted'
  if (status === 401 || status === 403) {
    throw new CcmError('SUPABASE_REFUSED', `Supabase refuses the key: ${error?.message ?? status}`, {
      remedy: 'Copy the secret key (sb_secret_…) from the dashboard again: it may be expired or revoked.',
    })
  }
  if (error !== null && ['PGRST205', 'PGRST204', '42P01'].includes(error.code)) {
    // A key that is good enough to be told so.
    return 'the key is accepted'
  }
  await call('tasks_count', { p_system: '', p_status: 'queued' }, () => null).catch((error: unknown) => {
    if (!(error instanceof CcmError && error.remedy?.includes('migrate'))) throw error
  })
  return 'the key is accepted'
}

/** A function of the oldest migration, and the one that tells the newest. */
async function lookAtFunctions(
  supabase: Supabase,
  access: SupabaseAccess,
  patienceMs: number,
): Promise<string> {
  const until = performance.now() + patienceMs
  for (;;) {
    try {
      return await lookAtSchema(supabase, access)
    } catch (error) {
      if (performance.now() >= until) throw error
      await sleep(SCHEMA_LOOK_MS)
    }
  }
}

async function lookAtSchema({ client }: Supabase, { system, secretKey }: SupabaseAccess): Promise<string> {
  const remedy = 'Run `ccm supabase migrate --db-url …`.'
  const isMissing = (code: string | undefined) =>
    ['PGRST202', 'PGRST205', '42883', '42P01'].includes(code ?? '')
  const tables = await client.rpc('tasks_count', { p_system: system, p_status: 'queued' })
  if (isMissing(tables.error?.code)) {
    throw new CcmError('SUPABASE_REFUSED', 'The tables of ccm are not in this database.', { remedy })
  }
  if (tables.error !== null) throw refused('tasks_count', tables.status, tables.error, secretKey)
  const { data, error, status } = await client.rpc('queue_version')
  if (error !== null && !isMissing(error.code)) throw refused('queue_version', status, error, secretKey)
  if (error !== null || typeof data !== 'string' || data < NEWEST_MIGRATION) {
    throw new CcmError('SUPABASE_REFUSED', 'The tables of ccm are those of an older version.', { remedy })
  }
  return 'the tables and functions of this version are there'
}

async function lookAtSystem(
  { call, client }: Supabase,
  { system, secretKey }: SupabaseAccess,
  make: boolean,
): Promise<string> {
  if (make)
    await call(
      'configure_system',
      { p_system: system, p_max_queued: null, p_default_project: null },
      () => null,
    )
  const { data, error, status } = await client.from('systems').select('id').eq('id', system)
  if (error !== null) throw refused('systems', status, error, secretKey)
  if (data.length > 0) return `the system "${system}" is there`
  if (make)
    throw new CcmError('SUPABASE_REFUSED', 'Row level security hides the rows of the tables from this key.', {
      remedy:
        'Use the secret key of the project itself, whose role service_role bypasses it: alter role service_role bypassrls;',
    })
  throw new CcmError('SUPABASE_REFUSED', `There is no system "${system}", or row level security hides it.`, {
    remedy: 'Run `ccm supabase init` to make it.',
  })
}

function refused(call: string, status: number, error: PostgrestError, secretKey: string): CcmError {
  const { code, message, hint } = error
  return refusalOf({ call, status, code, message, hint }, secretKey)
}

async function lookAtRealtime(supabase: Supabase, system: string, logger: Logger): Promise<string> {
  let why = ''
  await using subscription = await subscribe(supabase, system, logger, (trouble) => (why = trouble))
  if (await subscription.ready) return 'Realtime tells of new tasks'
  const isOff = /enabled|publication|RealtimeDisabled/i.test(why)
  throw new CcmError(
    'SUPABASE_REFUSED',
    isOff
      ? 'Realtime is not enabled for the table tasks.'
      : `Realtime does not become ready${why === '' ? '' : `: ${why}`}.`,
    {
      remedy: isOff
        ? 'In the SQL editor: alter publication supabase_realtime add table public.tasks;'
        : 'Tasks are found by looking every 15 s meanwhile. Check Realtime in the dashboard.',
    },
  )
}

/** Rows, an error of the database or its API with its code, or what stands before them: it refuses keys, and tells of its own trouble. */
function isOfSupabase(status: number, text: string): boolean {
  try {
    const body = JSON.parse(text) as unknown
    if (typeof body !== 'object' || body === null) return false
    return Array.isArray(body) || 'code' in body || status === 401 || status === 403 || status >= 500
  } catch {
    return false
  }
}
