import { createHmac } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import type { Lease } from '../core/task/queue.ts'
import { createAuthenticate, type Authenticate } from '../http/identity/authenticate.ts'
import type { TokenSource } from '../http/identity/user-token.ts'
import { readSecret } from '../config/secrets.ts'
import type { ApiKeys } from '../store/api-keys.ts'

/** The secret that users' tokens are signed with; null: they are checked by published keys, or there are no users. */
export async function readHs256Secret(
  { supabaseUrl, hs256Secret }: Config['auth'],
  env: Record<string, string | undefined>,
): Promise<string | null> {
  return supabaseUrl === null ? null : readSecret('auth.hs256_secret', hs256Secret, env)
}

/** Who may use the API, from the configuration. */
export async function openDoor(deps: {
  config: Config['auth']
  hs256Secret: string | null
  token: string
  keys: ApiKeys
  clock: Clock
}): Promise<Authenticate> {
  const { config, token, keys, clock } = deps
  const memberOf = async (userId: string) =>
    (Object.hasOwn(config.users, userId) ? config.users[userId] : undefined) ?? null
  const source = tokenSource(config.supabaseUrl, deps.hs256Secret)
  if (source === null) return createAuthenticate({ token, keys, users: null, memberOf, clock })
  // Loaded where users are configured only: it is 200 kB of code.
  const { createUserTokens } = await import('../http/identity/user-token.ts')
  return createAuthenticate({ token, keys, users: createUserTokens(source, clock), memberOf, clock })
}

function tokenSource(supabaseUrl: string | null, secret: string | null): TokenSource | null {
  if (supabaseUrl === null) return null
  const from = { issuer: `${supabaseUrl}/auth/v1`, audience: 'authenticated' }
  return secret === null
    ? { ...from, jwksUrl: `${supabaseUrl}/auth/v1/.well-known/jwks.json` }
    : { ...from, secret }
}

/** The secret by which an attempt's own hook asks for permissions: from the token, so a restart changes none. */
export function attemptSecrets(token: string): (attempt: Lease) => string {
  return ({ taskId, attempt }) => createHmac('sha256', token).update(`${taskId}.${attempt}`).digest('hex')
}
