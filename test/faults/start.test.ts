import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import type { IncidentJson } from '../../src/protocol/incident.ts'
import { createStage, type Stage } from '../e2e/stage.ts'
import { mountSmall } from '../support/disk.ts'
import { eventually, fakeClaude, pathOf, program } from './fixture.ts'

const silent = () => ({ kind: 'message', text: '[DONE]' }) as const
const sleeper = () => fakeClaude('exec sleep 1000')

/** Which home a daemon serves, by its environment; null when it is gone. */
const homeOf = (pid: number) => {
  try {
    return /\0CCM_HOME=([^\0]*)/.exec(`\0${readFileSync(`/proc/${pid}/environ`, 'utf8')}`)?.[1] ?? null
  } catch {
    return null
  }
}

const tmuxServers = async (stage: Stage) => {
  const { stdout } = await execa('pgrep', ['-f', '--', stage.home], { reject: false })
  return stdout.split('\n').filter(Boolean)
}

test('a second daemon on one home says who holds it and ends with 69', async () => {
  await using stage = await createStage(silent, { claude: sleeper() })
  expect((await stage.ccm(['start'])).code).toBe(0)
  const { pid } = await stage.status()
  const second = await stage.ccm(['daemon'])
  expect(second).toMatchObject({ code: 69, stdout: '' })
  expect(second.stderr).toContain(`process ${pid} holds`)
  expect(second.stderr).toContain('CCM_HOME')
  expect((await stage.status()).pid).toBe(pid)
})

test('a start that takes long is waited for', async () => {
  await using stage = await createStage(silent, { claude: sleeper() })
  const starting = stage.start(['start'])
  const daemon = await eventually('the daemon begins', async () => {
    const { stdout } = await execa('pgrep', ['-f', 'ccm.js daemon --background'], { reject: false })
    return stdout
      .split('\n')
      .map(Number)
      .find((pid) => pid > 0 && homeOf(pid) === stage.home)
  })
  process.kill(daemon, 'SIGSTOP')
  await sleep(12_000)
  process.kill(daemon, 'SIGCONT')
  expect(await starting.ended).toMatchObject({ code: 0, stdout: expect.stringContaining(`pid ${daemon}`) })
})

test('a port that is taken is named with its setting, and nothing stays behind', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await using _ = { [Symbol.asyncDispose]: async () => void other.close() }
  await eventually('the other program listens', () => other.listening)
  const env = { CCM__HTTP__PORT: String((other.address() as AddressInfo).port) }
  await using stage = await createStage(silent, { claude: sleeper() })
  const daemon = await stage.ccm(['daemon'], { env })
  expect(daemon.code).toBe(69)
  expect(daemon.stderr).toContain(`Port ${env.CCM__HTTP__PORT} on 127.0.0.1 is taken`)
  expect(daemon.stderr).toContain('[http] port')
  // The same words from a command that started it in the background.
  const run = await stage.ccm(['run', '--no-wait', '--trust', 'Do it'], { env })
  expect(run.code).toBe(69)
  expect(run.stderr).toContain('[http] port')
  expect(await tmuxServers(stage)).toEqual([])
})

test('a hang is an incident also when the daemon that first read of it could not start', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await using _ = { [Symbol.asyncDispose]: async () => void other.close() }
  await eventually('the other program listens', () => other.listening)
  await using stage = await createStage(silent, { claude: sleeper() })
  mkdirSync(stage.home, { mode: 0o700 })
  const hang = { at: Date.now(), pid: 4711, loop: 'event loop', limitMs: 10_000, stack: ['spinForEver'] }
  writeFileSync(join(stage.home, 'hang.json'), JSON.stringify(hang))
  const env = { CCM__HTTP__PORT: String((other.address() as AddressInfo).port) }
  expect((await stage.ccm(['daemon'], { env })).code).toBe(69)
  const hangs = async () =>
    (await stage.json<IncidentJson[]>(['incidents'])).filter(({ kind }) => kind === 'daemon_hung')
  await stage.ccm(['start'])
  expect((await stage.status()).found_at_start.join()).toContain('(pid 4711) hung and was ended')
  expect(await hangs()).toMatchObject([{ evidence: 'spinForEver' }])
  // And once only.
  await stage.ccm(['restart'])
  expect((await stage.status()).found_at_start).toEqual([])
  expect(await hangs()).toHaveLength(1)
})

test('a home that cannot be made or written is said with the way out', async ({ skip }) => {
  await using stage = await createStage(silent, { claude: sleeper() })
  writeFileSync(stage.home, 'a file')
  const asFile = await stage.ccm(['daemon'])
  expect(asFile.code).toBe(78)
  expect(asFile.stderr).toContain('CCM_HOME')
  rmSync(stage.home)

  await using mounted = await mountSmall(stage.home, '4m')
  if (mounted === null) return skip('nothing may be mounted here')
  await execa('mount', ['-o', 'remount,ro', stage.home])
  const readOnly = await stage.ccm(['daemon'])
  expect(readOnly.code).toBe(69)
  expect(readOnly.stderr).toMatch(/cannot be (used|written)/)
  expect(readOnly.stderr).toContain('CCM_HOME')
  const run = await stage.ccm(['run', '--no-wait', 'Do it'])
  expect(run.code).toBe(69)
  expect(run.stderr).toContain('CCM_HOME')
  expect(await tmuxServers(stage)).toEqual([])
})

test('a full disk refuses new tasks in words and keeps every task it accepted', async ({ skip }) => {
  await using stage = await createStage(silent, { claude: program('claude', 'exit 1') })
  await using mounted = await mountSmall(stage.home, '6m')
  if (mounted === null) return skip('nothing may be mounted here')
  const accepted = [(await stage.add('The first')).id]
  const filler = join(stage.home, 'filler')
  // To the last block: dd writes until the disk takes no more.
  await execa('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { reject: false })
  let refused = ''
  for (let number = 0; number < 90 && refused === ''; number++) {
    const run = await stage.ccm(['run', '--no-wait', '--json', '--trust', `${number} ${'x'.repeat(20_000)}`])
    if (run.code === 0) accepted.push(JSON.parse(run.stdout).id)
    else refused = `${run.code} ${run.stderr}`
  }
  expect(refused).toMatch(/^69 .*disk.* is full/s)
  expect(refused).toContain('Free some space')
  await stage.crash()
  const onFull = await stage.ccm(['daemon'], { timeoutMs: 15_000 })
  expect(onFull.code).toBe(69)
  expect(onFull.stderr).toMatch(/disk.* is full/)
  rmSync(filler)
  expect((await stage.ccm(['start'])).code).toBe(0)
  for (const id of accepted) expect((await stage.task(id)).status).toBe('queued')
  // The daemon goes on by itself: what was refused is taken now.
  expect((await stage.add('The last')).status).toBe('queued')
  await stage.ccm(['stop'])
})

test('a database that is damaged or gone at the start is said, and the damaged one is kept', async () => {
  await using stage = await createStage(silent, { claude: program('claude', 'exit 1') })
  await stage.add('Lost with the file')
  await stage.ccm(['stop'])
  const file = join(stage.home, 'ccm.db')
  const size = statSync(file).size
  writeFileSync(file, Buffer.alloc(size, 'garbage'))
  const daemon = stage.start(['daemon'])
  await eventually('the daemon answers', async () => (await stage.ccm(['status'])).code === 0)
  expect((await stage.status()).found_at_start.join('\n')).toMatch(/was unusable .* moved to/)
  expect(await stage.json(['tasks'])).toMatchObject([])
  daemon.kill('SIGTERM')
  expect((await daemon.ended).stderr).toMatch(/was unusable .* moved to/)
  const kept = readdirSync(stage.home).filter((name) => name.includes('.corrupt-'))
  expect(kept.some((name) => readFileSync(join(stage.home, name)).includes('garbage'))).toBe(true)

  for (const name of readdirSync(stage.home).filter((entry) => entry.startsWith('ccm.db')))
    rmSync(join(stage.home, name))
  expect((await stage.ccm(['start'])).code).toBe(0)
  const { id } = await stage.add('New')
  await stage.ccm(['stop'])
  truncateSync(file, 0)
  expect((await stage.ccm(['start'])).code).toBe(0)
  expect((await stage.status()).found_at_start.join('\n')).toContain('the file was empty')
  expect((await stage.ccm(['show', id])).code).toBe(1)
})

test('an agent whose record was lost with the database is ended at the start', async () => {
  await using stage = await createStage(silent, { claude: sleeper() })
  const { id } = await stage.add('Sleep')
  await stage.until(id, ({ window }) => window !== null)
  await eventually('the agent sleeps', () => stage.processesOf(id).length > 0)
  await stage.crash()
  for (const name of readdirSync(stage.home).filter((entry) => entry.startsWith('ccm.db')))
    rmSync(join(stage.home, name))
  expect((await stage.ccm(['start'])).code).toBe(0)
  expect((await stage.status()).found_at_start.join('\n')).toMatch(
    /belonged to no open attempt and was ended/,
  )
  expect(stage.processesOf(id)).toEqual([])
})

test.each([
  {
    what: 'points nowhere',
    claude: '/nonexistent/claude',
    says: /\[claude\] command is \/nonexistent\/claude/,
  },
  { what: 'is a folder', claude: '/usr', says: /\[claude\] command is \/usr/ },
  { what: 'is too old', claude: null, says: /Claude Code 2\.0\.0 at .* is too old: ccm needs 2\.1\.328/ },
  { what: 'is another program', claude: '/bin/true', says: /\/bin\/true/ },
])('a claude command that $what keeps the task queued and says why', async ({ claude, says }) => {
  await using stage = await createStage(silent, { claude: claude ?? program('claude', 'echo 2.0.0') })
  const { id } = await stage.add('Do it')
  const task = await stage.until(id, ({ state_reason }) => state_reason?.startsWith('claude:') === true)
  expect(task).toMatchObject({ status: 'queued', attempt: 0 })
  expect(task.state_reason).toMatch(says)
  expect(task.state_reason).toMatch(/claude update|npm install|\[claude\] command/)
  const { holds, claude: found } = await stage.status()
  expect(holds.join('\n')).toMatch(says)
  expect(found).toMatchObject({ problem: expect.stringMatching(says) })
})

test('a claude that is mended while the task waits gets the task', async () => {
  const claude = program('claude', 'echo 2.0.0')
  await using stage = await createStage(silent, { claude, config: '[queue]\nsweep = "1s"' })
  const { id } = await stage.add('Do it')
  await stage.until(id, ({ state_reason }) => state_reason?.startsWith('claude:') === true)
  writeFileSync(claude, '#!/bin/sh\nif [ "$1" = --version ]; then echo 2.1.328; exit; fi\nexec sleep 1000\n')
  chmodSync(claude, 0o755)
  const task = await stage.until(id, ({ status }) => status !== 'queued')
  expect(task).toMatchObject({ status: 'running', attempt: 1 })
})

test('without tmux, or with an old one, the daemon says what to install and the task survives', async () => {
  await using stage = await createStage(silent, { claude: program('claude', 'exit 1') })
  const { id } = await stage.add('Do it')
  await stage.ccm(['stop'])
  const without = { PATH: pathOf(stage.env['PATH'] ?? '', ['sh', 'git', 'node', 'ps']) }
  const missing = await stage.ccm(['daemon'], { env: without })
  expect(missing.code).toBe(69)
  expect(missing.stderr).toContain('There is no program tmux in PATH.')
  expect(missing.stderr).toContain('Install tmux 3.2 or newer')

  const old = { PATH: `${join(program('tmux', 'echo "tmux 2.9a"'), '..')}:${stage.env['PATH']}` }
  const tooOld = await stage.ccm(['daemon'], { env: old })
  expect(tooOld.code).toBe(69)
  expect(tooOld.stderr).toContain('tmux 2.9a is too old: ccm needs 3.2 or newer.')
  const run = await stage.ccm(['run', '--no-wait', 'Again'], { env: old })
  expect(run.code).toBe(69)
  expect(run.stderr).toContain('tmux 2.9a is too old')

  expect((await stage.ccm(['start'])).code).toBe(0)
  expect((await stage.task(id)).status).toBe('queued')
})

test('a directory that is gone when its turn comes ends the task with that sentence', async () => {
  const claude = program('claude', 'echo 2.0.0')
  await using stage = await createStage(silent, { claude, config: '[queue]\nsweep = "1s"' })
  const dir = join(stage.folder, 'gone')
  mkdirSync(dir)
  const { stdout } = await stage.ccm(['run', '--no-wait', '--json', '--trust', '--dir', dir, 'Do it'])
  const { id } = JSON.parse(stdout)
  await stage.until(id, ({ state_reason }) => state_reason?.startsWith('claude:') === true)
  rmSync(dir, { recursive: true })
  writeFileSync(claude, '#!/bin/sh\nif [ "$1" = --version ]; then echo 2.1.328; exit; fi\nexec sleep 1000\n')
  const task = await stage.end(id)
  expect(task).toMatchObject({ status: 'failed', attempt: 1 })
  expect(task.error).toContain(`There is no directory "${dir}"`)
  expect(existsSync(join(stage.home, 'attempts', `${id}.1`, 'start.sh'))).toBe(false)
})
