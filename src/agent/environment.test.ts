import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { seedConfigFolder } from './config-folder.ts'
import { agentEnvironment, hasOwnLogin, inheritedEnvironment, takeLogin } from './environment.ts'
import { attemptSettings } from './settings.ts'

test('of the daemon’s environment only what is on the list reaches agents: no key, no token', () => {
  const from = {
    PATH: '/bin',
    HOME: '/home/me',
    LC_ALL: 'C.UTF-8',
    HTTPS_PROXY: 'http://proxy',
    SSH_AUTH_SOCK: '/run/agent',
    ANTHROPIC_API_KEY: 'secret',
    CLAUDE_CODE_OAUTH_TOKEN: 'secret',
    AWS_SECRET_ACCESS_KEY: 'secret',
    GITHUB_TOKEN: 'secret',
    CCM_HOME: '/home/me/.ccm',
    CCM__CLAUDE__ENV__X: 'secret',
    NODE_OPTIONS: '--inspect',
    LD_PRELOAD: '/x.so',
    TMUX: '/tmp/tmux',
    IS_SANDBOX: '1',
    EMPTY: undefined,
  }
  expect(inheritedEnvironment(from)).toEqual({
    PATH: '/bin',
    HOME: '/home/me',
    LC_ALL: 'C.UTF-8',
    HTTPS_PROXY: 'http://proxy',
    SSH_AUTH_SOCK: '/run/agent',
  })
})

test('[claude.env] wins over what is inherited, a caller’s extra over both, and the marks over everything', () => {
  const made = agentEnvironment({
    inherited: { PATH: '/bin', A: 'inherited', CCM_TASK_ID: 'x' },
    claudeEnv: {
      A: 'config',
      B: 'config',
      CCM_ATTEMPT: '99',
      CLAUDE_CONFIG_DIR: '/theirs',
      CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION: '1',
    },
    extra: { B: 'extra', CCM_TASK_ID: 'y' },
    configDir: '/ours',
    taskId: 't1',
    attempt: 2,
  })
  expect(made).toMatchObject({
    PATH: '/bin',
    A: 'config',
    B: 'extra',
    CLAUDE_CONFIG_DIR: '/ours',
    CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION: '0',
    CCM_TASK_ID: 't1',
    CCM_ATTEMPT: '2',
  })
})

test('with the user’s own login nothing names a config folder', () => {
  const made = agentEnvironment({ inherited: {}, claudeEnv: {}, configDir: null, taskId: 't', attempt: 1 })
  expect(made).toMatchObject({ CCM_TASK_ID: 't', CCM_ATTEMPT: '1' })
  expect(made).not.toHaveProperty('CLAUDE_CONFIG_DIR')
})

test('a key or token makes a login of its own, an empty one does not', () => {
  for (const name of ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_CODE_OAUTH_TOKEN']) {
    expect(hasOwnLogin({ [name]: 'x' })).toBe(true)
    expect(hasOwnLogin({ [name]: '' })).toBe(false)
  }
  expect(hasOwnLogin({ ANTHROPIC_BASE_URL: 'http://x' })).toBe(false)
})

test('the login goes by a pipe and leaves the environment; a bearer token of a gateway cannot', () => {
  const rest = { ANTHROPIC_BASE_URL: 'http://x', DEPLOY_TOKEN: 'mine' }
  const key = { ANTHROPIC_API_KEY: 'key' }
  const token = { CLAUDE_CODE_OAUTH_TOKEN: 'token' }
  expect(takeLogin({ ...rest, ...token, ...key })).toEqual({
    login: { variable: 'CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR', secret: 'key' },
    rest,
  })
  expect(takeLogin({ ...rest, ...token, ANTHROPIC_API_KEY: '' })).toEqual({
    login: { variable: 'CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR', secret: 'token' },
    rest,
  })
  const bearer = { ...rest, ...key, ANTHROPIC_AUTH_TOKEN: 'bearer' }
  expect(takeLogin(bearer)).toEqual({ login: null, rest: bearer })
  expect(takeLogin(rest)).toEqual({ login: null, rest })
})

test('a config folder is made for its owner only, names the key by its end, and is never changed again', () => {
  const root = mkdtempSync(join(tmpdir(), 'ccm-config-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  const folder = join(root, 'a/b')
  const apiKey = `sk-ant-${'0'.repeat(40)}-12345678901234567890`
  seedConfigFolder(folder, { apiKey, trusted: ['/code/app', '/code/it\'s "odd"'] })
  const file = join(folder, '.claude.json')
  const written = readFileSync(file, 'utf8')
  expect(JSON.parse(written)).toMatchObject({
    hasCompletedOnboarding: true,
    projects: {
      '/code/app': { hasTrustDialogAccepted: true, hasClaudeMdExternalIncludesWarningShown: true },
      '/code/it\'s "odd"': { hasTrustDialogAccepted: true, hasClaudeMdExternalIncludesWarningShown: true },
    },
    customApiKeyResponses: { approved: ['12345678901234567890'], rejected: [] },
  })
  expect(written).not.toContain(apiKey)
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  writeFileSync(file, '{"mine":true}')
  seedConfigFolder(folder, { apiKey: undefined, trusted: [] })
  expect(readFileSync(file, 'utf8')).toBe('{"mine":true}')
})

type Settings = Record<string, unknown> & { hooks: Record<string, { hooks: Record<string, unknown>[] }[]> }

test('an attempt’s settings hold our keys only, and every hook has a limit', () => {
  const settings = attemptSettings({ hookScript: "/a b/it's.sh", spoolFolder: '/s p', ask: null }) as Settings
  expect(settings).toMatchObject({
    tui: 'default',
    skipDangerousModePermissionPrompt: true,
    autoContinueAtUsageLimit: false,
  })
  // Each of these would override what the user has set for every session of theirs.
  for (const key of ['permissions', 'env', 'model', 'apiKeyHelper', 'statusLine']) {
    expect(settings).not.toHaveProperty(key)
  }
  for (const name of [
    'SessionStart',
    'UserPromptSubmit',
    'PreToolUse',
    'PermissionRequest',
    'Stop',
    'StopFailure',
  ]) {
    expect(settings.hooks[name]?.[0]?.hooks).toEqual([
      {
        type: 'command',
        command: '/bin/sh',
        args: ["/a b/it's.sh", ...(name === 'PreToolUse' ? ['--early'] : []), '/s p'],
        timeout: 2,
      },
    ])
  }
  const early = Object.keys(settings.hooks).filter((name) =>
    JSON.stringify(settings.hooks[name]).includes('"--early"'),
  )
  expect(early.toSorted()).toEqual(['PostToolBatch', 'PostToolUse', 'PostToolUseFailure', 'PreToolUse'])
  expect(Object.keys(settings.hooks)).toHaveLength(30)
  // These fire for every line that streams, or would have to do the work themselves.
  for (const name of ['MessageDisplay', 'WorktreeCreate', 'WorktreeRemove'])
    expect(settings.hooks[name]).toBeUndefined()
})

test('a permission request is recorded and also held open, with the attempt’s secret', () => {
  const ask = { url: 'http://127.0.0.1:1/x', secret: 'abc', holdMs: 3_600_000 }
  const settings = attemptSettings({ hookScript: '/h', spoolFolder: '/s', ask }) as Settings
  const [record, held] = settings.hooks['PermissionRequest']?.[0]?.hooks ?? []
  expect(record).toMatchObject({ type: 'command' })
  expect(held).toMatchObject({
    type: 'http',
    url: ask.url,
    headers: { Authorization: 'Bearer abc' },
    timeout: 3660,
  })
  expect(settings.hooks['Stop']?.[0]?.hooks).toHaveLength(1)
  expect(settings.hooks['PreToolUse']).toHaveLength(1)
  const looking = attemptSettings({
    hookScript: '/h',
    spoolFolder: '/s',
    ask,
    lookAt: '^(?:Bash)$',
  }) as Settings
  const look = { type: 'http', url: ask.url, headers: { Authorization: 'Bearer abc' }, timeout: 60 }
  expect(looking.hooks['PreToolUse']?.[1]).toEqual({ matcher: '^(?:Bash)$', hooks: [look] })
})
