import type { Config } from '../config/config.ts'
import { withSecrets } from '../config/with-secrets.ts'
import { readHs256Secret } from './identity.ts'
import { readOutsideSecrets, type OutsideSecrets } from './outside.ts'
import { readSupabaseKey } from './queue-choice.ts'

/** Every secret of a daemon. */
export type Secrets = {
  /** The configuration with the secrets that belong into it. */
  config: Config
  /** The key of the shared queue; null: the embedded one is used. */
  supabaseKey: string | null
  /** What users' tokens are signed with; null: they are checked by published keys, or there are no users. */
  hs256Secret: string | null
  outside: OutsideSecrets
  /** All of them, for whatever must not show one. */
  hidden: string[]
}

/** Reads them once, from where the configuration says they are; throws BAD_CONFIG for one that cannot be had. */
export async function readSecrets(given: Config, env: Record<string, string | undefined>): Promise<Secrets> {
  // One after the other: two programs may ask a person for the same password.
  const { config, values } = await withSecrets(given, env)
  const supabaseKey = await readSupabaseKey(config, env)
  const outside = await readOutsideSecrets(config, env)
  const hs256Secret = await readHs256Secret(config.auth, env)
  const hidden = [...values, supabaseKey, hs256Secret, ...Object.values(outside)]
  return {
    config,
    supabaseKey,
    hs256Secret,
    outside,
    hidden: hidden.filter((secret) => secret !== null),
  }
}
