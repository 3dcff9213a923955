import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { CcmError } from '../../core/errors.ts'
import { createPatientFetch } from './patient-fetch.ts'
import { refusalOf } from './refusal.ts'
import { storable } from './storable.ts'

/** Calls a function of the database and reads its answer with `parse`; throws CcmError. */
export type Call = <T>(
  name: string,
  parameters: Record<string, unknown>,
  parse: (value: unknown) => T,
) => Promise<T>

export type SupabaseOptions = {
  /** `https://<ref>.supabase.co` */
  url: string
  /** `sb_secret_…`; in no message of any error. */
  secretKey: string
  fetch?: typeof fetch
  random?: () => number
  timeoutMs?: number
}

/** A system in a Supabase project, and the key of the project. */
export type SupabaseAccess = { url: string; secretKey: string; system: string }

/** One client for everything a daemon asks of its Supabase project: its HTTP calls share Node's pool of connections. */
export type Supabase = {
  client: SupabaseClient
  call: Call
  /** A further client with a WebSocket of its own, for a subscription that replaces one that broke. */
  connect: (onHeartbeat: (status: string) => void) => SupabaseClient
}

/** Builds the client; asks nothing yet. */
export function createSupabase(options: SupabaseOptions): Supabase {
  const { url, secretKey, timeoutMs } = options
  const patient = createPatientFetch({
    fetch: options.fetch ?? fetch,
    wait: (ms, signal) => sleep(ms, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }),
    random: options.random ?? Math.random,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  })
  // A worker is nobody's browser session.
  const auth = { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false }
  const client = createClient(url, secretKey, { auth, global: { fetch: patient } })
  return {
    client,
    call: createCall(client, secretKey),
    connect: (heartbeatCallback) => createClient(url, secretKey, { auth, realtime: { heartbeatCallback } }),
  }
}

function createCall(client: SupabaseClient, secretKey: string): Call {
  return async (name, parameters, parse) => {
    const { data, error, status } = await client.rpc(name, storable(parameters))
    if (error !== null) {
      const { code, message, hint } = error
      throw refusalOf({ call: name, status, code, message, hint }, secretKey)
    }
    try {
      return parse(data)
    } catch (cause) {
      throw new CcmError(
        'SUPABASE_UNREACHABLE',
        `Supabase answered ${name} with something else than a result.`,
        {
          remedy: 'Check that the URL is that of the project, and run `ccm supabase migrate`.',
          cause,
        },
      )
    }
  }
}
