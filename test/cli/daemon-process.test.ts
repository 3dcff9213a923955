import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { NODE_FLAGS, startDaemon } from '../../src/cli/daemon-process.ts'
import { isAlive, waitUntilGone } from '../../src/cli/stop.ts'
import { createDaemonAccess } from '../../src/cli/daemon-access.ts'
import { createCommandLine, serveDaemon, temporaryFolder } from './command-line.ts'

// A program in the daemon's place: answers status with its pid, or ends as the environment says.
const PROGRAM = `
import { createServer } from 'node:http'
import { openSync, writeFileSync, mkdirSync } from 'node:fs'
const { CCM_HOME: home, WORDS, CODE, CCM_CONFIG } = process.env
if (WORDS) process.stderr.write(WORDS)
if (CODE) process.exit(Number(CODE))
try { openSync(home + '/lock', 'wx') } catch { process.exit(75) }
const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ pid: process.pid }))
})
// Later than the losers of the race are gone.
setTimeout(() => server.listen(0, '127.0.0.1', () => {
  writeFileSync(home + '/token', 'secret')
  writeFileSync(home + '/started', JSON.stringify({ cwd: process.cwd(), config: CCM_CONFIG ?? null, argv: process.argv.slice(2), flags: process.execArgv }))
  writeFileSync(home + '/daemon.json', JSON.stringify({ pid: process.pid, host: '127.0.0.1', port: server.address().port, version: '1' }))
}), 400)
setTimeout(() => process.exit(), 30000)
`

function prepare(env: Record<string, string> = {}) {
  const folder = temporaryFolder()
  const program = join(folder, 'daemon.mjs')
  writeFileSync(program, PROGRAM)
  const spawned: number[] = []
  onTestFinished(async () => {
    for (const pid of spawned) {
      if (isAlive(pid)) process.kill(pid)
      await waitUntilGone(pid)
    }
  })
  const home = join(folder, 'home')
  const start = {
    home,
    configFile: '/etc/ccm.toml',
    launcher: [process.execPath, program],
    env: { PATH: process.env['PATH'], ...env },
    onSpawn: (pid: number) => void spawned.push(pid),
  }
  return { home, start, spawned }
}

test('a daemon is started in the background, in its home, with the same configuration file', async () => {
  const { home, start, spawned } = prepare()
  const found = await startDaemon(start)
  expect(found).toMatchObject({ pid: spawned[0], token: 'secret' })
  expect(JSON.parse(readFileSync(join(home, 'started'), 'utf8'))).toEqual({
    cwd: home,
    config: '/etc/ccm.toml',
    argv: ['daemon', '--background'],
    flags: NODE_FLAGS,
  })
  for (const file of ['systemd/ccm.service', 'launchd/ccm.daemon.plist']) {
    const text = readFileSync(resolve(import.meta.dirname, '../..', file), 'utf8')
    for (const flag of NODE_FLAGS) expect(text).toMatch(new RegExp(`@NODE@\\W.*?${flag}\\b.*?@CCM@`, 's'))
  }
})

test('of many that start at once one lives, and all get that one', async () => {
  const { start, spawned } = prepare()
  const found = await Promise.all([1, 2, 3, 4].map(() => startDaemon(start)))
  expect(new Set(found.map(({ pid }) => pid)).size).toBe(1)
  expect(spawned).toHaveLength(4)
})

test('a daemon that refuses its configuration is BAD_CONFIG in its own words', async () => {
  const { start } = prepare({ CODE: '78', WORDS: 'ccm: /etc/ccm.toml: http.prt is not known.\n' })
  await expect(startDaemon(start)).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: '/etc/ccm.toml: http.prt is not known.',
  })
})

test('any other end at the start is DAEMON_UNREACHABLE with the last words of this start only', async () => {
  const { start } = prepare({ CODE: '1', WORDS: 'ccm: The port 8765 is taken.\n' })
  await expect(startDaemon({ ...start, env: { CODE: '1', WORDS: 'ccm: old\n' } })).rejects.toThrow('old')
  const failed = startDaemon(start)
  await expect(failed).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' })
  await expect(failed).rejects.toThrow('The daemon could not start: The port 8765 is taken.')
})

test('without words for people, the errors of its log tell what happened', async () => {
  const line = '{"level":"error","msg":"The database cannot be opened","err":{"message":"disk I/O error"}}\n'
  const { start } = prepare({ CODE: '1', WORDS: `{"level":"info","msg":"hello"}\n${line}` })
  await expect(startDaemon(start)).rejects.toThrow('The database cannot be opened: disk I/O error')
})

test('an agent starts no daemon, which would end with it; one that a service manager starts may come', async () => {
  const { home, start } = prepare({ CCM_TASK_ID: 't1', CCM_ATTEMPT: '1' })
  const inAgent = createDaemonAccess(
    async () => home,
    async () => start,
    { autostart: true },
  )
  await expect(inAgent.daemon({ start: true, asked: true })).rejects.toMatchObject({
    code: 'DAEMON_UNREACHABLE',
    message: expect.stringContaining(`agent of task t1 cannot start the daemon of ${home}`),
    remedy: expect.stringContaining('ccm start'),
  })
  const served = { ...start, service: async () => start.launcher }
  const { pid } = await createDaemonAccess(
    async () => home,
    async () => served,
    { autostart: true },
  ).daemon({ start: true })
  expect(isAlive(pid)).toBe(true)
})

test('inside an agent `ccm restart` ends nothing, and `ccm daemon` begins nothing', async () => {
  const daemon = await serveDaemon()
  const env = { CCM_TASK_ID: 't1', CCM_ATTEMPT: '1' }
  for (const command of ['restart', 'daemon']) {
    const { code, stderr } = await createCommandLine(daemon.home, { env }).ccm(command)
    expect(stderr).toContain('agent of task t1 cannot start the daemon')
    expect(code).toBe(69)
  }
  expect(daemon.calls).toEqual([])
})

test('a daemon that lives and does not answer is no missing one, and `ccm stop` does not call it stopped', async () => {
  const home = temporaryFolder()
  const program = join(home, 'ccm.js')
  writeFileSync(program, 'setInterval(() => {}, 1000)')
  const child = spawn(process.execPath, [program, 'daemon', '--background'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'spawn')
  const { pid } = child
  writeFileSync(join(home, 'token'), 'secret')
  const address = { pid, host: '127.0.0.1', port: 1, version: '1', socket: join(home, 'no.sock') }
  writeFileSync(join(home, 'daemon.json'), JSON.stringify(address))
  for (const command of ['status', 'stop']) {
    const { code, stdout, stderr } = await createCommandLine(home).ccm(command)
    expect(stderr).toContain(`The daemon (pid ${pid}) runs, but it does not answer.`)
    expect(stderr).toContain(`kill ${pid}`)
    expect([code, stdout]).toEqual([69, ''])
  }
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(await createCommandLine(home).ccm('stop')).toMatchObject({ code: 0, stdout: 'No daemon runs.\n' })
})

test('a home that cannot be read is not one without a daemon', async () => {
  const home = temporaryFolder()
  // As good as the folder of another user, and that also for root.
  mkdirSync(join(home, 'daemon.json'))
  for (const command of ['status', 'stop', 'tasks']) {
    const { code, stdout, stderr } = await createCommandLine(home).ccm(command)
    expect(stderr).toContain('The folder of ccm cannot be read: EISDIR')
    expect([code, stdout]).toEqual([69, ''])
  }
})

test('a home that cannot be made is said plainly', async () => {
  const { start, home } = prepare()
  writeFileSync(home, 'a file')
  await expect(startDaemon(start)).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' })
})
