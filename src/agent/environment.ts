/**
 * What an agent inherits of the daemon's environment; everything else stays out. PATH as the daemon was
 * started with, so that the user's tools are found.
 */
const INHERITED = [
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'LANG',
  'LANGUAGE',
  'TZ',
  'TMPDIR',
  'SSH_AUTH_SOCK',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'XDG_CACHE_HOME',
  'XDG_DATA_HOME',
  'CLAUDE_CONFIG_DIR',
  // Proxies, and certificates of the network the machine is in.
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
  'NODE_EXTRA_CA_CERTS',
  'NODE_USE_SYSTEM_CA',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
]

/** Any of these in `[claude.env]` is a login of its own, apart from the user's. */
const LOGINS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']

/** What of `[claude.env]` an agent needs to reach its model, and what only makes it quieter or smaller. */
const FOR_THE_MODEL = [
  ...LOGINS,
  'ANTHROPIC_BASE_URL',
  'ANTHROPIC_MODEL',
  'ANTHROPIC_SMALL_FAST_MODEL',
  'CLAUDE_CONFIG_DIR',
  'DISABLE_TELEMETRY',
  'DISABLE_AUTOUPDATER',
  'DISABLE_ERROR_REPORTING',
  'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC',
  'CLAUDE_CODE_MAX_RETRIES',
  'CLAUDE_CODE_MAX_OUTPUT_TOKENS',
  'API_TIMEOUT_MS',
  'IS_SANDBOX',
  'PATH',
]
/** With the models of another cloud its login is theirs. */
const CLOUDS: Record<string, RegExp> = {
  CLAUDE_CODE_USE_BEDROCK: /^AWS_/,
  CLAUDE_CODE_USE_VERTEX:
    /^(CLOUD_ML_REGION|VERTEX_REGION_\w+|ANTHROPIC_VERTEX_PROJECT_ID|GOOGLE_APPLICATION_CREDENTIALS)$/,
}
/** Sockets by which a program acts as the user. */
const DOORS = ['SSH_AUTH_SOCK', 'XDG_RUNTIME_DIR']

/** `[claude.env]` for a restricted task: the model's login and endpoint, nothing else of the user's. */
export function restrictedEnvironment(claudeEnv: Record<string, string>): Record<string, string> {
  const clouds = Object.keys(CLOUDS).filter((name) => (claudeEnv[name] ?? '') !== '')
  const kept = Object.entries(claudeEnv).filter(
    ([name]) =>
      FOR_THE_MODEL.includes(name) ||
      clouds.some((cloud) => name === cloud || CLOUDS[cloud]?.test(name) === true),
  )
  return {
    ...Object.fromEntries(kept),
    CLAUDE_CODE_DISABLE_CLAUDE_MDS: '1',
    // Else `@/some/file` in the text is read before anybody is asked.
    CLAUDE_CODE_DISABLE_FILE_MENTIONS: '1',
  }
}

/** What a restricted task inherits: no socket of the user's. */
export function restrictedInherited(inherited: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(inherited).filter(([name]) => !DOORS.includes(name)))
}

/**
 * Logins that Claude Code takes from a descriptor as well as from the environment, the one it prefers first. It
 * reads the descriptor once, and what it starts has neither the variable nor the pipe. The
 * names are its own and undocumented; measured on 2.1.328, where no dialog asks about such a key.
 */
const BY_DESCRIPTOR: readonly (readonly [name: string, variable: string])[] = [
  ['ANTHROPIC_API_KEY', 'CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR'],
  ['CLAUDE_CODE_OAUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR'],
]

/** A login that goes to Claude Code by a pipe; `variable` names the descriptor's number. */
export type PipedLogin = { variable: string; secret: string }

/**
 * Takes the login out of `[claude.env]`, so that what the agent runs does not have it in its environment. Null
 * where there is none, and for ANTHROPIC_AUTH_TOKEN, which Claude Code reads from its environment only.
 */
export function takeLogin(claudeEnv: Record<string, string>): {
  login: PipedLogin | null
  rest: Record<string, string>
} {
  if ((claudeEnv['ANTHROPIC_AUTH_TOKEN'] ?? '') !== '') return { login: null, rest: claudeEnv }
  for (const [name, variable] of BY_DESCRIPTOR) {
    const secret = claudeEnv[name] ?? ''
    if (secret === '') continue
    const rest = Object.entries(claudeEnv).filter(([other]) => BY_DESCRIPTOR.every(([one]) => one !== other))
    return { login: { variable, secret }, rest: Object.fromEntries(rest) }
  }
  return { login: null, rest: claudeEnv }
}

/** True when `[claude.env]` brings a key or token: then the agent gets a config folder of ours. */
export function hasOwnLogin(claudeEnv: Record<string, string>): boolean {
  return LOGINS.some((name) => (claudeEnv[name] ?? '') !== '')
}

/** The environment of tmux and of every agent in it: the allow-list above, nothing of the daemon's own. */
export function inheritedEnvironment(from: NodeJS.ProcessEnv): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined) continue
    if (INHERITED.includes(name) || name.startsWith('LC_')) kept[name] = value
  }
  return kept
}

/** The whole environment of one agent; later entries win. */
export function agentEnvironment(options: {
  inherited: Record<string, string>
  claudeEnv: Record<string, string>
  configDir: string | null
  taskId: string
  attempt: number
  extra?: Record<string, string>
}): Record<string, string> {
  const { configDir } = options
  return {
    ...options.inherited,
    // Else each new folder clones a repository of plugins from the network at its first start (2.1.328).
    ...(configDir === null ? {} : { CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: '1' }),
    ...options.claudeEnv,
    // A prompt that it suggests stands in the input box like one that a person typed, and nothing is typed over that.
    CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION: '0',
    ...options.extra,
    ...(configDir === null ? {} : { CLAUDE_CONFIG_DIR: configDir }),
    CCM_TASK_ID: options.taskId,
    CCM_ATTEMPT: String(options.attempt),
  }
}
