import { statSync } from 'node:fs'
import type { Config } from './config.ts'
import { isSecretVariable } from '../core/redact.ts'
import { readSecret } from './secrets.ts'

/**
 * The configuration with the secrets that come from elsewhere in their places: `[claude.env]` and the tokens of
 * `[alerts]`. `values` are all that must never be seen. Throws BAD_CONFIG as `readSecret` does.
 */
export async function withSecrets(
  config: Config,
  env: Record<string, string | undefined>,
): Promise<{ config: Config; values: string[] }> {
  const found: Record<string, string> = {}
  // One after the other: two programs may ask a person for the same password.
  for (const [key, source] of Object.entries(config.secretSources))
    found[key] = (await readSecret(key, source, env)) ?? ''
  const ofAgents = Object.entries(found).flatMap(([key, value]) =>
    key.startsWith(ENV_KEY) ? [[key.slice(ENV_KEY.length), value] as const] : [],
  )
  const { ntfy, telegram, webhook } = config.notify
  const notify = {
    ...config.notify,
    webhook: found['alerts.webhook'] ?? webhook,
    ntfy: ntfy === null ? null : { ...ntfy, token: found['alerts.ntfy_token'] ?? ntfy.token },
    telegram:
      telegram === null ? null : { ...telegram, token: found['alerts.telegram_token'] ?? telegram.token },
  }
  const named = Object.entries(config.claude.env).flatMap(([name, value]) =>
    isSecretVariable(name) ? [value] : [],
  )
  const values = [
    ...Object.values(found),
    ...named,
    notify.webhook,
    notify.ntfy?.token,
    notify.telegram?.token,
  ]
  return {
    config: {
      ...config,
      claude: { ...config.claude, env: { ...config.claude.env, ...Object.fromEntries(ofAgents) } },
      notify,
    },
    values: [...new Set(values)].flatMap((value) =>
      value === null || value === undefined || value === '' ? [] : [value],
    ),
  }
}

const ENV_KEY = 'claude.env.'

/**
 * A sentence where the configuration file holds a secret in plain text and others may read it; null where not. It is
 * told and not refused: unlike a file made for one secret, this one is shared on purpose, with commands of other users
 * and with dotfiles, and a fleet that does not start again because of its mode costs more.
 */
export function looseConfig(config: Config): string | null {
  if (config.file === null) return null
  const mode = statSync(config.file, { throwIfNoEntry: false })?.mode ?? 0
  if ((mode & 0o044) === 0) return null
  const key = Object.entries(config.values).find(
    ([name, value]) =>
      typeof value === 'string' &&
      value !== '' &&
      config.origins[name]?.from === 'file' &&
      (name.startsWith(ENV_KEY)
        ? isSecretVariable(name.slice(ENV_KEY.length))
        : /[._](secret|token|key|password)$/.test(name)),
  )?.[0]
  if (key === undefined) return null
  return `${config.file} holds the secret ${key}, and other users may read it. Run: chmod 600 ${config.file}; or keep the secret elsewhere: { file = … }.`
}
