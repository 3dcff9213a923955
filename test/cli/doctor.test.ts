import { appendFileSync, copyFileSync, chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { ConfigView } from '../../src/cli/context.ts'
import { defaultProjectSettings } from '../../src/core/task/project.ts'
import { createProjects } from '../../src/store/projects.ts'
import { openForTest } from '../../src/store/temporary-database.ts'
import { createCommandLine, serveDaemon, temporaryFolder } from './command-line.ts'

type Checks = {
  ok: boolean
  checks: { name: string; state: string; detail: string; remedy: string | null }[]
}

async function doctor(home: string, config: Partial<ConfigView> = {}, env: Record<string, string> = {}) {
  const { code, stdout } = await createCommandLine(home, { config, env }).ccm('doctor', '--json')
  const { ok, checks } = JSON.parse(stdout) as Checks
  expect(code).toBe(ok ? 0 : 1)
  return Object.fromEntries(checks.map((check) => [check.name, check]))
}

function cleanHome(): string {
  const home = join(temporaryFolder(), 'home')
  mkdirSync(home, { mode: 0o700 })
  return home
}

const TIME = '2026-11-20T07:00:00.000Z'

test('a good machine passes, with and without a daemon', async () => {
  const checks = await doctor(cleanHome())
  for (const name of ['node', 'git', 'tmux', 'config', 'claude', 'home', 'disk', 'port', 'hook']) {
    expect(checks[name]).toMatchObject({ state: 'ok', remedy: null })
  }
  const { home } = await serveDaemon()
  chmodSync(join(home, 'token'), 0o600)
  expect(await doctor(home)).toMatchObject({ daemon: { state: 'ok' }, token: { state: 'ok' } })
  const { stdout, code } = await createCommandLine(home).ccm('doctor')
  expect({ code, end: stdout.trimEnd().split('\n').at(-1) }).toEqual({ code: 0, end: 'All is well.' })
})

test('a home and a token that others can read fail, each with the command that helps', async () => {
  const home = cleanHome()
  chmodSync(home, 0o755)
  writeFileSync(join(home, 'token'), 'x', { mode: 0o644 })
  expect(await doctor(home)).toMatchObject({
    home: { state: 'failed', remedy: `chmod 700 ${home}` },
    token: { state: 'failed', remedy: expect.stringContaining('chmod 600') },
  })
  const file = join(temporaryFolder(), 'file')
  writeFileSync(file, '')
  expect(await doctor(file)).toMatchObject({
    home: { state: 'failed', detail: expect.stringContaining('not a folder') },
  })
})

test('a damaged database, a project that is gone and one that is not trusted are found', async () => {
  const home = cleanHome()
  const file = join(home, 'ccm.db')
  const db = openForTest(file)
  const projects = createProjects(db)
  for (const [name, dir, trusted] of [
    ['gone', '/nowhere', true],
    ['here', home, false],
  ] as const) {
    projects.add({ name, dir, trusted, createdAt: 0, ...defaultProjectSettings() })
  }
  db.close()
  expect(await doctor(home)).toMatchObject({
    database: { state: 'ok' },
    'project gone': { state: 'failed', remedy: expect.stringContaining('ccm projects remove gone') },
    'project here': { state: 'note', remedy: 'ccm projects trust here' },
  })
  writeFileSync(file, 'this is no database, and long enough to be read as one'.repeat(100))
  expect(await doctor(home)).toMatchObject({ database: { state: 'failed' } })
})

test('a daemon that died is told from one that hangs', async () => {
  const home = cleanHome()
  writeFileSync(
    join(home, 'daemon.json'),
    JSON.stringify({ pid: 2 ** 22 + 1, host: '127.0.0.1', port: 1, version: '1' }),
  )
  expect(await doctor(home)).toMatchObject({ daemon: { state: 'note', detail: 'the last one died' } })
  writeFileSync(
    join(home, 'daemon.json'),
    JSON.stringify({ pid: process.pid, host: '127.0.0.1', port: 1, version: '1' }),
  )
  expect(await doctor(home)).toMatchObject({
    daemon: { state: 'failed', remedy: expect.stringContaining('ccm logs') },
  })
})

test('a port that somebody else has fails', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as { port: number }
  const checks = await doctor(cleanHome(), { http: { host: '127.0.0.1', port } })
  expect(checks['port']).toMatchObject({ state: 'failed', remedy: expect.stringContaining('[http] port') })
})

test('a login is seen without a word of it', async () => {
  const folder = temporaryFolder()
  const env = { HOME: folder }
  expect(await doctor(cleanHome(), {}, env)).toMatchObject({ login: { state: 'note' } })
  mkdirSync(join(folder, '.claude'))
  writeFileSync(join(folder, '.claude', '.credentials.json'), '{"secret":"sk-ant-0123456789"}')
  const line = createCommandLine(cleanHome(), { env, config: {} })
  const { stdout } = await line.ccm('doctor')
  expect(stdout).toMatch(/ok +login/)
  expect(stdout).not.toContain('sk-ant')
  const own = await createCommandLine(cleanHome(), {
    config: { claude: { command: null, env: { ANTHROPIC_API_KEY: 'sk-ant-0123456789' } } },
  }).ccm('doctor')
  expect(own.stdout).toContain('ANTHROPIC_API_KEY in [claude.env]')
  expect(own.stdout).not.toContain('sk-ant')
})

function configOf(toml: string, env: Record<string, string> = {}) {
  const file = join(temporaryFolder(), 'ccm.toml')
  writeFileSync(file, toml)
  return { file, config: loadConfig({ CCM_CONFIG: file, ...env }, '/') }
}

test('config shows each value with its origin, durations as written, secrets never', async () => {
  const { file, config } = configOf(
    '[timeouts]\ntask = "90m"\n[claude]\nargs = ["--api-key", "sk-ant-abcdef0123456789"]\n[claude.env]\nMY_TOKEN = "hush"\nPLAIN = "word"\nURL = "https://user:pass@host/"\nODD = "A8f3kQ29xLmZ7pRtVbN4cY6wE1sD0hGj"\n',
    { CCM__HTTP__PORT: '9000' },
  )
  const ccm = (...argv: string[]) => createCommandLine(config.home, { config }).ccm(...argv)
  const { stdout } = await ccm('config')
  expect(stdout).toMatch(new RegExp(`timeouts\\.task +90m +${file}\n`))
  expect(stdout).toMatch(/http\.port +9000 +CCM__HTTP__PORT\n/)
  expect(stdout).toMatch(/timeouts\.no_activity +5m +default\n/)
  expect(stdout).toMatch(/claude\.env\.PLAIN +word /)
  expect(stdout).toMatch(/claude\.env\.MY_TOKEN +\(hidden\) /)
  const json = await ccm('config', '--json')
  for (const secret of ['sk-ant', 'hush', 'pass@', 'A8f3kQ29'])
    expect(stdout + json.stdout).not.toContain(secret)
  expect((await ccm('config', 'path')).stdout).toBe(`${file}\n`)
  expect((await ccm('config', 'check')).code).toBe(0)
})

test('logs prints what the daemon wrote as text, also after a crash, and never an escape sequence', async () => {
  const home = cleanHome()
  const line = (at: string, msg: string, more: object = {}) =>
    `${JSON.stringify({ level: 'warn', time: at, msg, ...more })}\n`
  writeFileSync(
    join(home, 'daemon.log'),
    `plain words\n${line('2026-11-20T07:00:00.000Z', 'old')}${line('2026-11-20T09:00:00.000Z', 'new \u001b[2J', { taskId: 'a', err: { message: 'why' } })}{"half`,
  )
  const ccm = (...argv: string[]) => createCommandLine(home, { config: { home } }).ccm('logs', ...argv)
  expect((await ccm()).stdout).toBe(
    'plain words\n2026-11-20T07:00:00.000Z warn  old\n2026-11-20T09:00:00.000Z warn  new : why taskId=a\n',
  )
  expect((await ccm('--since', '2026-11-20T08:00:00Z')).stdout).toBe(
    'plain words\n2026-11-20T09:00:00.000Z warn  new : why taskId=a\n',
  )
  expect((await ccm('--limit', '1', '--json')).stdout).toContain('"taskId": "a"')
  expect(await ccm('--since', 'lately')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('such as 30m'),
  })
  expect(await createCommandLine(cleanHome()).ccm('logs')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('There is no log'),
  })
})

test('logs of one task, over all files that rolled over, oldest first', async () => {
  const home = cleanHome()
  const line = (msg: string, taskId: string) =>
    `${JSON.stringify({ level: 'info', time: TIME, msg, taskId })}\n`
  writeFileSync(join(home, 'daemon.log.10'), line('one', 'abc1') + line('other', 'xyz'))
  writeFileSync(join(home, 'daemon.log.2'), line('two', 'abc1'))
  writeFileSync(join(home, 'daemon.log'), `plain words\n${line('three', 'abc2')}`)
  const said = async (config: object, ...argv: string[]) =>
    (await createCommandLine(home, { config: { home, ...config } }).ccm('logs', ...argv)).stdout
      .split('\n')
      .flatMap((text) => /info {2}(\w+)/.exec(text)?.[1] ?? [])
  expect(await said({}, '--task', 'abc')).toEqual(['one', 'two', 'three'])
  expect(await said({}, '--task', 'abc1')).toEqual(['one', 'two'])
  writeFileSync(join(home, 'ccm.9.log'), line('nine', 'a'))
  writeFileSync(join(home, 'ccm.10.log'), line('ten', 'a'))
  expect(await said({ log: { file: join(home, 'ccm.log') } })).toEqual(['nine', 'ten'])
})

test('logs -f misses nothing of a file that is emptied in place, or goes on under the next number', async () => {
  const home = cleanHome()
  const file = join(home, 'daemon.log')
  writeFileSync(file, 'one\n')
  const line = createCommandLine(home, { config: { home } })
  const ended = line.ccm('logs', '-f')
  await line.sees('one')
  // In the quarter of a second between two looks.
  appendFileSync(file, 'two\n')
  copyFileSync(file, `${file}.1`)
  writeFileSync(file, 'x\n')
  await line.sees('x')
  line.interrupt()
  expect(await ended).toMatchObject({ stdout: 'one\ntwo\nx\n' })

  writeFileSync(join(home, 'ccm.1.log'), 'one\n')
  const numbered = createCommandLine(home, { config: { home, log: { file: join(home, 'ccm.log') } } })
  const over = numbered.ccm('logs', '-f')
  await numbered.sees('one')
  appendFileSync(join(home, 'ccm.1.log'), 'two\n')
  writeFileSync(join(home, 'ccm.2.log'), 'three\n')
  await numbered.sees('three')
  numbered.interrupt()
  expect(await over).toMatchObject({ stdout: 'one\ntwo\nthree\n' })
})

test('logs -f --task goes on with the lines of one task', async () => {
  const home = cleanHome()
  const file = join(home, 'daemon.log')
  const row = (msg: string, taskId: string) =>
    `${JSON.stringify({ level: 'info', time: TIME, msg, taskId })}\n`
  writeFileSync(file, row('one', 'abc1') + row('foreign', 'xyz'))
  const line = createCommandLine(home, { config: { home } })
  const ended = line.ccm('logs', '-f', '--task', 'abc')
  await line.sees('one')
  appendFileSync(file, row('alien', 'xyz') + row('two', 'abc1'))
  await line.sees('two')
  line.interrupt()
  expect((await ended).stdout).not.toMatch(/foreign|alien/)
})

test('logs -f goes on with what is written, also after the file was replaced, until Ctrl-C', async () => {
  const home = cleanHome()
  const file = join(home, 'daemon.log')
  writeFileSync(file, 'one\n')
  const line = createCommandLine(home, { config: { home } })
  const ended = line.ccm('logs', '-f')
  await line.sees('one')
  appendFileSync(file, 'tw')
  appendFileSync(file, 'o\n')
  await line.sees('two')
  renameSync(file, `${file}.1`)
  writeFileSync(file, 'three\n')
  await line.sees('three')
  line.interrupt()
  expect(await ended).toMatchObject({ code: 130, stdout: 'one\ntwo\nthree\n' })
})
