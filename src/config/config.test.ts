import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { SECTIONS } from './schema.ts'
import { loadConfig } from './load.ts'
import { CcmError } from '../core/errors.ts'

function thrownBy(act: () => unknown): unknown {
  try {
    act()
    return null
  } catch (error) {
    return error
  }
}

/** An empty home and an empty current folder; `toml` becomes the folder's ccm.toml. */
function place(toml?: string) {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'ccm-config-')))
  onTestFinished(() => rmSync(root, { recursive: true }))
  const [home, cwd] = [join(root, 'home'), join(root, 'cwd')]
  for (const folder of [home, cwd]) mkdirSync(folder)
  const file = join(cwd, 'ccm.toml')
  if (toml !== undefined) writeFileSync(file, toml)
  const load = (env: Record<string, string> = {}) => loadConfig({ HOME: home, ...env }, cwd)
  /** What is wrong, a line each, without the file's folder. */
  const faults = (env: Record<string, string> = {}): string[] => {
    const error = thrownBy(() => load(env))
    if (!(error instanceof CcmError) || error.code !== 'BAD_CONFIG') return []
    const [first = '', ...others] = error.message.replaceAll(`${cwd}/`, '').split('\n')
    return others.length > 0
      ? others.map((line) => line.trim())
      : [first.replace(/^The configuration has a fault\. /, '')]
  }
  return { root, home, cwd, file, load, faults }
}

test('without a file and variables every value is its default', () => {
  const { home, load } = place()
  const { origins, values, ...config } = load()
  expect(Object.keys(values).sort()).toEqual(
    Object.keys(origins)
      .filter((key) => key.includes('.') && key !== 'claude.env')
      .sort(),
  )
  expect(config).toEqual({
    home: join(home, '.local/state/ccm'),
    file: null,
    http: { host: '127.0.0.1', port: 8765, behindTls: false, names: [], rate: 100 },
    auth: { supabaseUrl: null, hs256Secret: '', users: {} },
    claude: {
      command: null,
      args: [],
      model: null,
      permissionMode: 'acceptEdits',
      allowedTools: [],
      disallowedTools: [],
      env: {},
    },
    outside: { permissionMode: 'acceptEdits', allowedTools: [] },
    templates: [],
    github: { secret: '', token: '', apiUrl: 'https://api.github.com', rules: [] },
    alertmanager: { token: '', user: 'alertmanager', password: '', maxOpen: 10, rules: [] },
    telegram: {
      token: '',
      chats: [],
      operators: [],
      project: '',
      template: '',
      url: '',
      secret: '',
      apiUrl: 'https://api.telegram.org',
    },
    agents: { maxConcurrent: 10, minFreeMemoryMb: 1024, labels: [], roles: null },
    timeouts: {
      noActivityMs: 300_000,
      taskMs: 1_800_000,
      waitingMs: 86_400_000,
      attendedMs: 900_000,
      askMs: 86_400_000,
      startMs: 60_000,
      exitMs: 5000,
      shutdownMs: 10_000,
    },
    markers: { done: '[DONE]', error: '[ERROR]', unmarked: 'fail', nudges: 1 },
    queue: {
      leaseMs: 600_000,
      heartbeatMs: 30_000,
      sweepMs: 15_000,
      maxQueued: 100,
      keepMs: 30 * 86_400_000,
    },
    budget: {
      task: { maxTokens: null, maxCostUsd: null },
      day: { maxTokens: null, maxCostUsd: null },
    },
    store: {
      keepMs: 30 * 86_400_000,
      maxBytes: 2048 * 1024 * 1024,
      ballastBytes: 16 * 1024 * 1024,
      keepAuditMs: 365 * 86_400_000,
    },
    sweep: { busyMs: 1000, quietMs: 5000 },
    supabase: null,
    watchdog: { eventLoopMs: 10_000, loopMs: 60_000 },
    daemon: { onStop: 'keep', restart: true },
    scope: { enabled: true, memoryHigh: '2G', memoryMax: '4G', tasksMax: 4096 },
    redact: { patterns: [] },
    secretSources: {},
    log: { level: 'info', file: null, maxBytes: 10 * 1024 * 1024, keep: 5, syslog: false },
    limits: { park: true },
    breaker: { failures: 5, windowMs: 600_000, pauseMs: 60_000, maxPauseMs: 900_000 },
    alerts: {
      daemonDownMs: 300_000,
      failureRate: 10,
      windowMs: 3_600_000,
      startFailures: 3,
      queueAgeMs: 1_800_000,
      waitingMs: 1_800_000,
    },
    notify: { command: [], webhook: null, ntfy: null, telegram: null },
  })
  expect(new Set(Object.values(origins).map(({ from }) => from))).toEqual(new Set(['default']))
})

test('a variable beats the file, the file beats the default, and each value knows its origin', () => {
  const { file, load } = place('[http]\nport = 1000\nhost = "::1"\n[claude.env]\nFoo = "file"\nBAR = 1\n')
  const { http, claude, agents, origins } = load({ CCM__HTTP__PORT: '0', CCM__CLAUDE__ENV__Foo: 'env' })
  expect(http).toMatchObject({ host: '::1', port: 0 })
  expect(claude.env).toEqual({ Foo: 'env', BAR: '1' })
  expect(agents.maxConcurrent).toBe(10)
  expect(origins).toMatchObject({
    'http.port': { from: 'environment', variable: 'CCM__HTTP__PORT' },
    'http.host': { from: 'file', file },
    'claude.env.Foo': { from: 'environment', variable: 'CCM__CLAUDE__ENV__Foo' },
    'claude.env.BAR': { from: 'file', file },
    'agents.max_concurrent': { from: 'default' },
  })
})

test.each<[string, string, (config: ReturnType<typeof loadConfig>) => unknown, unknown]>([
  ['CCM__AGENTS__MAX_CONCURRENT', '2', (c) => c.agents.maxConcurrent, 2],
  ['CCM__CLAUDE__COMMAND', '/opt/my claude', (c) => c.claude.command, '/opt/my claude'],
  ['CCM__CLAUDE__COMMAND', '', (c) => c.claude.command, null],
  ['CCM__CLAUDE__MODEL', '123', (c) => c.claude.model, '123'],
  ['CCM__CLAUDE__ARGS', '["--a", "b c"]', (c) => c.claude.args, ['--a', 'b c']],
  ['CCM__CLAUDE__ARGS', "['--a', 'b c',]", (c) => c.claude.args, ['--a', 'b c']],
  ['CCM__CLAUDE__ENV__lower__X', '1', (c) => c.claude.env, { lower__X: '1' }],
  ['CCM__CLAUDE__ENV', '{"A":"b"}', (c) => c.claude.env, { A: 'b' }],
  ['CCM__TIMEOUTS__TASK', '90', (c) => c.timeouts.taskMs, 90_000],
  ['CCM__TIMEOUTS__TASK', '1h30m', (c) => c.timeouts.taskMs, 5_400_000],
  ['CCM__TIMEOUTS__TASK', '500ms', (c) => c.timeouts.taskMs, 500],
  ['CCM__TIMEOUTS__TASK', '0.5s', (c) => c.timeouts.taskMs, 500],
  ['CCM__MARKERS__UNMARKED', 'succeed', (c) => c.markers.unmarked, 'succeed'],
  ['CCM__LOG__LEVEL', 'debug', (c) => c.log.level, 'debug'],
])('%s=%j is taken as its key wants it', (variable, text, read, value) => {
  expect(read(place().load({ [variable]: text }))).toEqual(value)
})

test('one entry of claude.env beats the whole of it, whatever their order', () => {
  const whole = { CCM__CLAUDE__ENV: '{"A":"whole","B":"whole"}' }
  const { claude } = place('[claude.env]\nC = "file"').load({ CCM__CLAUDE__ENV__A: 'entry', ...whole })
  expect(claude.env).toEqual({ A: 'entry', B: 'whole' })
})

test('every fault is reported at once, each with its file or variable and its key', () => {
  const { faults } = place(`
[http]
host = "0.0.0.0"
port = 99999
prot = 1
[agnts]
x = 1
[claude]
args = "x"
allowed_tools = [1]
permission_mode = "yolo"
[claude.env]
"A B" = "secret value"
C = ["secret value"]
[timeouts]
task = "5 fortnights"
exit = 0
waiting = "25d"
[markers]
done = "x"
error = "x"
unmarked = "maybe"
[queue]
lease = "10s"
`)
  const found = faults({
    CCM__HTTP__PROT: '1',
    CCM__AGENTS__MAX_CONCURRENT: 'two',
    CCM__SWEEP__BUSY: '0',
    CCM__CLAUDE__ENV: 'secret value',
    CCM_HOME: 'a\nb',
  })
  expect(found.toSorted()).toEqual(
    [
      'CCM_HOME: it must be a path without control characters.',
      'CCM__AGENTS__MAX_CONCURRENT: agents.max_concurrent must be a number.',
      'CCM__CLAUDE__ENV: claude.env must be a table of keys and values.',
      'CCM__HTTP__PROT: the variable is not known; did you mean CCM__HTTP__PORT?',
      'CCM__SWEEP__BUSY: sweep.busy must be more than 0 and at most 24 days.',
      'ccm.toml: agnts is not known; did you mean agents?',
      'ccm.toml: claude.allowed_tools.0 must be text.',
      'ccm.toml: claude.args must be a list.',
      'ccm.toml: claude.permission_mode must be one of acceptEdits, auto, bypassPermissions, manual, dontAsk, plan.',
      'ccm.toml: http.host must be 127.0.0.1, ::1 or localhost. Other machines reach ccm through a proxy with TLS only: set http.behind_tls = true and http.names to the names it answers to.',
      'ccm.toml: http.port must be at most 65535.',
      'ccm.toml: http.prot is not known; did you mean http.port?',
      'ccm.toml: markers.error must differ from markers.done.',
      'ccm.toml: markers.unmarked must be one of fail, succeed.',
      'ccm.toml: queue.heartbeat must be at most half of queue.lease, or one late heartbeat loses the lease.',
      'ccm.toml: timeouts.exit must be more than 0 and at most 24 days.',
      'ccm.toml: timeouts.task must be a duration such as "30s", "5m" or "24h", or a number of seconds.',
      'ccm.toml: timeouts.waiting must be more than 0 and at most 24 days.',
    ].toSorted(),
  )
})

test.each<[string, string, string]>([
  ['[http]\nport = 1.5', 'a whole number', 'ccm.toml: http.port must be a whole number.'],
  ['[http]\nport = true', 'a number', 'ccm.toml: http.port must be a number.'],
  ['http = 5', 'a table', 'ccm.toml: http must be a table of keys and values.'],
  [
    '[claude.env]\n"A B" = "secret"',
    'a name',
    'ccm.toml: claude.env."A B" must be named with letters, digits and _ only, as an environment variable.',
  ],
  [
    '[claude.env]\nA = ["secret"]',
    'a text',
    'ccm.toml: claude.env.A must be text without a NUL character, or one of { env = "NAME" }, { file = "/absolute/path" }, { credential = "name" } and { command = ["program", "argument"] }.',
  ],
  [
    '[markers]\ndone = " x"',
    'a marker',
    'ccm.toml: markers.done must be 1 to 100 characters without blanks around it.',
  ],
  [
    '[claude]\ncommand = "a\\u0000b"',
    'a command',
    'ccm.toml: claude.command must not hold a NUL character. ',
  ],
  [
    '[timeouts]\ntask = inf',
    'a duration',
    'ccm.toml: timeouts.task must be a duration such as "30s", "5m" or "24h", or a number of seconds.',
  ],
  [
    '[timeouts]\ntask = "-5m"',
    'a duration',
    'ccm.toml: timeouts.task must be a duration such as "30s", "5m" or "24h", or a number of seconds.',
  ],
  ['[scope]\ntasks_max = 31', 'room for an agent', 'ccm.toml: scope.tasks_max must be at least 32.'],
  [
    '[zzzzzzzz]',
    'no section',
    `ccm.toml: zzzzzzzz is not known; known are ${Object.keys(SECTIONS).join(', ')}.`,
  ],
])('%j, which is not %s, is refused with a sentence', (toml, _what, sentence) => {
  expect(place(toml).faults()[0]).toBe(sentence.trim())
})

test('a fault never shows a value of claude.env', () => {
  const bad = [
    '[claude.env]\nA = ["hunter2"]',
    '[claude.env]\nA = "hunter2',
    '[claude.env]\nA = "hunter2"\nA = "hunter2"',
  ]
  for (const toml of bad) expect(place(toml).faults().join('\n')).toMatch(/^ccm\.toml: (?!.*hunter2)/)
  expect(place().faults({ CCM__CLAUDE__ENV: '["hunter2"]' }).join('')).toMatch(
    /^CCM__CLAUDE__ENV: (?!.*hunter2)/,
  )
})

test('a file that is no TOML is said with line and column, beside the faults of the variables', () => {
  const found = place('[http]\nport = = 1\n').faults({ CCM__HTTP__PORT: 'x' })
  expect(found[0]).toMatch(/^ccm\.toml: line 2, column \d+: /)
  expect(found[1]).toBe('CCM__HTTP__PORT: http.port must be a number.')
})

test.each([
  ['CCM__HTTP', 'CCM__HTTP: the variable is not known'],
  ['CCM__', 'CCM__: the variable is not known'],
  ['CCM__CONSTRUCTOR__NAME', 'CCM__CONSTRUCTOR__NAME: the variable is not known'],
  ['CCM____PROTO____X', 'CCM____PROTO____X: the variable is not known'],
  ['CCM__HTTP__PORT__X', 'CCM__HTTP__PORT__X: the variable is not known; did you mean CCM__HTTP__PORT?'],
  ['CCM__CLAUDE__ENV__', 'CCM__CLAUDE__ENV__: the variable is not known; did you mean CCM__CLAUDE__ENV?'],
  [
    'CCM__AGENTS__MAX_CONCURENT',
    'CCM__AGENTS__MAX_CONCURENT: the variable is not known; did you mean CCM__AGENTS__MAX_CONCURRENT?',
  ],
])('the variable %s is refused', (variable, fault) => {
  expect(place().faults({ [variable]: '1' })[0]).toContain(fault)
})

test('other variables of ccm are no keys', () => {
  expect(place().faults({ CCM_TASK_ID: 'x', CCM_ATTEMPT: '1' })).toEqual([])
})

test('the file is CCM_CONFIG, else the current folder, else the user', () => {
  const { root, home, cwd, file, load } = place()
  const write = (path: string, port: number) => {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, `[http]\nport = ${port}\n`)
    return path
  }
  const user = write(join(home, '.config/ccm/ccm.toml'), 1)
  expect(load()).toMatchObject({ file: user, http: { port: 1 } })
  const xdg = write(join(root, 'xdg/ccm/ccm.toml'), 2)
  expect(load({ XDG_CONFIG_HOME: join(root, 'xdg') })).toMatchObject({ file: xdg, http: { port: 2 } })
  expect(load({ XDG_CONFIG_HOME: 'xdg' })).toMatchObject({ file: user })
  write(file, 3)
  expect(load()).toMatchObject({ file, http: { port: 3 } })
  const named = write(join(cwd, 'sub/other.toml'), 4)
  expect(load({ CCM_CONFIG: 'sub/other.toml' })).toMatchObject({ file: named, http: { port: 4 } })
  expect(load({ CCM_CONFIG: '' })).toMatchObject({ file })
})

test('a file that was named but is not there, or cannot be read, is a fault', () => {
  const { cwd, faults } = place()
  expect(faults({ CCM_CONFIG: 'none.toml' })).toEqual(['CCM_CONFIG: there is no file none.toml.'])
  mkdirSync(join(cwd, 'folder'))
  expect(faults({ CCM_CONFIG: 'folder' })).toEqual(['folder: it cannot be read (EISDIR).'])
})

test('all state moves with CCM_HOME, which may be relative, else with XDG_STATE_HOME', () => {
  const { cwd, load } = place()
  expect(load({ CCM_HOME: 'state/a' })).toMatchObject({
    home: join(cwd, 'state/a'),
    origins: { home: { from: 'environment', variable: 'CCM_HOME' } },
  })
  expect(load({ CCM_HOME: '', XDG_STATE_HOME: '/var/state' }).home).toBe('/var/state/ccm')
  expect(loadConfig({ XDG_CONFIG_HOME: cwd }, cwd).home).toBe(join(homedir(), '.local/state/ccm'))
})

test('a command in the home folder may be written with a tilde', () => {
  const { home, load } = place('[claude]\ncommand = "~/bin/claude"\n')
  expect(load().claude.command).toBe(join(home, 'bin/claude'))
})

test('the shared queue needs both its URL and its key, and the key may come from elsewhere', () => {
  const url = 'https://ref.supabase.co'
  expect(() => place(`[supabase]\nurl = "${url}"`).load({})).toThrow('supabase.url needs supabase.secret_key')
  expect(() => place('[supabase]\nsecret_key = "sb_secret_x"').load({})).toThrow('needs supabase.url')
  expect(() => place('[supabase]\nurl = "http://example.org"\nsecret_key = "x"').load({})).toThrow('https')
  const { load } = place(`[supabase]\nurl = "${url}/"\nsecret_key = { env = "KEY" }`)
  expect(load({}).supabase).toEqual({
    url,
    secretKey: { env: 'KEY' },
    system: 'default',
    worker: null,
  })
})

test('a worker has labels and roles; without roles it takes tasks of any', () => {
  expect(place('').load({}).agents).toMatchObject({ labels: [], roles: null })
  const { load } = place('[agents]\nlabels = ["gpu"]\nroles = ["review"]')
  expect(load({}).agents).toMatchObject({ labels: ['gpu'], roles: ['review'] })
  expect(() => place('[agents]\nroles = ["Review!"]').load({})).toThrow('letters a-z, digits and -')
})

test.each([
  ['names of a proxy', '[http]\nhost = "0.0.0.0"\nbehind_tls = true', 'http.host'],
  ['an issuer', '[auth]\nhs256_secret = "x"', 'auth.hs256_secret'],
  ['one line', '[claude]\nmodel = "a\\u001bb"', 'claude.model'],
  ['TLS for GitHub', '[github]\napi_url = "http://github.example"', 'github.api_url'],
  ['TLS for Telegram', '[telegram]\nurl = "http://ccm.example/webhook/telegram"', 'telegram.url'],
  ['the id of a user', '[auth.users]\n"a b" = ["read"]', 'auth.users'],
  [
    'an administrator of all projects',
    '[auth.users]\nann = { scopes = ["admin"], projects = ["app"] }',
    'auth.users.ann',
  ],
  ['a mode for strangers', '[outside]\npermission_mode = "bypassPermissions"', 'outside.permission_mode'],
  ['a user that has no colon', '[alertmanager]\nuser = "a:b"', 'alertmanager.user'],
  ['a watchdog that knows a slow disk', '[watchdog]\nevent_loop = "1s"', 'watchdog.event_loop'],
  ['an absolute path', '[log]\nfile = "ccm.log"', 'log.file'],
  ['the id of a chat', '[telegram]\nchats = ["x"]', 'telegram.chats.0'],
  ['the name of a variable', '[github]\nsecret = { env = "a b" }', 'github.secret.env'],
  ['the whole path of a secret', '[claude.env]\nA = { file = "b" }', 'claude.env.A.file'],
  ['a token that fits into a URL', '[alerts]\ntelegram_token = "1:a/../b"', 'alerts.telegram_token'],
])('without %s a configuration is refused: %j', (_, toml, key) => {
  const found = place(toml).faults()
  expect([found.length, found.join()]).toEqual([1, expect.stringContaining(`ccm.toml: ${key}`)])
})
