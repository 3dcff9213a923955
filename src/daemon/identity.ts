import type { Config } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import { createAuthenticate, type Authenticate } from '../http/identity/authenticate.ts'
import type { TokenSource } from '../http/identity/user-token.ts'
import { readSecret } from '../config/secrets.ts'
import type { ApiKeys } from '../store/api-keys.ts'

/** Who may use the API, from the configuration. Throws BAD_CONFIG for a secret that cannot be had. */
export async function openDoor(deps: {
  config: Config['auth']
  env: Record<string, string | undefined>
  token: string
  keys: ApiKeys
  clock: Clock
}): Promise<Authenticate> {
  const { config, token, keys, clock } = deps
  const memberOf = async (userId: string) =>
    (Object.hasOwn(config.users, userId) ? config.users[userId] : undefined) ?? null
  const source = await tokenSource(config, deps.env)
  if (source === null) return createAuthenticate({ token, keys, users: null, memberOf, clock })
  // Loaded where users are configured only: it is 200 kB of code.
  const { createUserTokens } = await import('../http/identity/user-token.ts')
  return createAuthenticate({ token, keys, users: createUserTokens(source, clock), memberOf, clock })
}

async function tokenSource(
  { supabaseUrl, hs256Secret }: Config['auth'],
  env: Record<string, string | undefined>,
): Promise<TokenSource | null> {
  if (supabaseUrl === null) return null
  const from = { issuer: `${supabaseUrl}/auth/v1`, audience: 'authenticated' }
  const secret = await readSecret('auth.hs256_secret', hs256Secret, env)
  return secret === null
    ? { ...from, jwksUrl: `${supabaseUrl}/auth/v1/.well-known/jwks.json` }
    : { ...from, secret }
}
