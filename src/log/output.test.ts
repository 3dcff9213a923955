import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const TALKER = join(import.meta.dirname, '../../test/log/talker.ts')
const STUCK_MS = 15_000

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'ccm-log-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

function talk(options: {
  settings?: object
  home?: string
  lines: number
  stderr: number | 'pipe'
  env?: Record<string, string>
}): ChildProcess & { saidAlive: Promise<unknown> } {
  const { settings = {}, home = '/', lines, stderr, env = {} } = options
  const args = [TALKER, JSON.stringify(settings), home, String(lines)]
  const child = spawn(process.execPath, args, {
    stdio: ['pipe', 'pipe', stderr],
    env: { PATH: process.env['PATH'], ...env },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const late = new Promise((_, reject) => {
    setTimeout(reject, STUCK_MS, new Error('The program stands still.')).unref()
  })
  return Object.assign(child, { saidAlive: Promise.race([once(child.stdout ?? child, 'data'), late]) })
}

async function end(child: ChildProcess): Promise<void> {
  child.stdin?.write('end\n')
  // With all that it wrote; at its exit some of that may not have been read.
  await once(child, 'close')
}

const messages = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)

test('a socket that nobody reads, as a journal that hangs, holds nobody up', async () => {
  // Node's pipes to a child are sockets.
  const child = talk({ lines: 15_000, stderr: 'pipe' })
  await child.saidAlive
  const read: string[] = []
  child.stderr?.on('data', (chunk: Buffer) => void read.push(chunk.toString()))
  await expect.poll(() => read.join('').length).toBeGreaterThan(1_000_000)
  await end(child)
  const said = messages(read.join(''))
  expect(said[0]).toMatch(/^line 0 /)
  // The 3 MB did not fit; what was lost is told.
  expect(said.length).toBeLessThan(15_000)
  expect(said.at(-2)).toMatch(/^\d+ lines of the log could not be written$/)
  expect(said.at(-1)).toBe('after all')
})

test('a pipe that nobody reads holds nobody up', async () => {
  const fifo = join(folder(), 'fifo')
  execFileSync('mkfifo', [fifo])
  // Open for both, as the other end is then there.
  const both = openSync(fifo, 'r+')
  onTestFinished(() => closeSync(both))
  const child = talk({ lines: 15_000, stderr: both })
  await child.saidAlive
  const reader = spawn('cat', [fifo])
  onTestFinished(() => void reader.kill('SIGKILL'))
  const read: string[] = []
  reader.stdout.on('data', (chunk: Buffer) => void read.push(chunk.toString()))
  await expect.poll(() => read.join(''), { timeout: STUCK_MS }).toContain('could not be written')
  await end(child)
  await expect.poll(() => read.join(''), { timeout: STUCK_MS }).toContain('after all')
  expect(() => messages(read.join(''))).not.toThrow()
})

test('daemon.log is emptied in place when it is large: who has it open to append goes on', async () => {
  const home = folder()
  const file = join(home, 'daemon.log')
  const log = openSync(file, 'a', 0o600)
  onTestFinished(() => closeSync(log))
  const child = talk({ settings: { maxBytes: 200_000, keep: 2 }, home, lines: 5000, stderr: log })
  await child.saidAlive
  appendFileSync(log, '{"level":"error","msg":"the shell speaks"}\n')
  await end(child)
  expect(readdirSync(home).sort()).toEqual(['daemon.log', 'daemon.log.1', 'daemon.log.2'])
  const all = ['daemon.log.2', 'daemon.log.1', 'daemon.log'].flatMap((name) => {
    const text = readFileSync(join(home, name), 'utf8')
    expect(text.length).toBeLessThan(300_000)
    expect(statSync(join(home, name)).mode & 0o777).toBe(0o600)
    return messages(text)
  })
  // Nothing is lost from the oldest file on, and nothing twice.
  const numbers = all.flatMap((msg) => /^line (\d+)/.exec(msg)?.[1] ?? []).map(Number)
  expect(numbers).toEqual(numbers.map((_, index) => 5000 - numbers.length + index))
  expect(all.slice(-3)).toEqual(['the last line', 'the shell speaks', 'after all'])
})

test('a file of its own is numbered as it rolls, and old ones go', async () => {
  const home = folder()
  const settings = { file: join(home, 'logs', 'ccm.log'), maxBytes: 1024 * 1024, keep: 1 }
  const child = talk({ settings, lines: 18_000, stderr: 'pipe' })
  await child.saidAlive
  const files = () => readdirSync(join(home, 'logs'))
  const all = () => files().map((name) => readFileSync(join(home, 'logs', name), 'utf8'))
  // Beside its own time it writes, rolls and removes.
  await expect.poll(() => all().join('')).toContain('the last line')
  // One more while it rolls.
  await expect.poll(() => [2, 3].includes(files().length)).toBe(true)
  await end(child)
  const names = files()
  expect([2, 3]).toContain(names.length)
  const texts = names.map((name) => readFileSync(join(home, 'logs', name), 'utf8'))
  expect(texts.join('')).toContain('after all')
  for (const name of names) expect(statSync(join(home, 'logs', name)).mode & 0o777).toBe(0o600)
})

test.runIf(process.platform === 'linux')('a full disk costs lines, not the daemon', async () => {
  const full = openSync('/dev/full', 'a')
  onTestFinished(() => closeSync(full))
  const child = talk({ lines: 10, stderr: full })
  await child.saidAlive
  await end(child)
  expect(child.exitCode).toBe(0)
})

test.runIf(process.platform === 'linux')(
  'syslog gets each line with its severity, through logger',
  async () => {
    const home = folder()
    const said = join(home, 'said')
    writeFileSync(join(home, 'logger'), `#!/bin/sh\necho "$*" >'${said}'\nexec cat >>'${said}'\n`)
    chmodSync(join(home, 'logger'), 0o755)
    const env = { PATH: `${home}:${process.env['PATH']}` }
    const child = talk({ settings: { syslog: true }, home, lines: 1, stderr: 'pipe', env })
    await child.saidAlive
    await expect.poll(() => readFileSync(said, 'utf8')).toContain('the last line')
    await end(child)
    const lines = readFileSync(said, 'utf8').split('\n')
    expect(lines[0]).toBe('-t ccm --prio-prefix --size 16KiB')
    expect(lines[1]).toMatch(/^<30>\{"level":"info".*line 0 /)
    expect(lines[2]).toMatch(/^<28>\{"level":"warn"/)
  },
)

test('what systemd reads has its severity in front, and only that', async () => {
  const home = folder()
  const journal = openSync(join(home, 'journal'), 'a')
  onTestFinished(() => closeSync(journal))
  const { dev, ino } = fstatSync(journal)
  // The second is inherited, and about another stream.
  for (const stream of [`${dev}:${ino}`, '1:2'])
    await end(talk({ lines: 0, stderr: journal, env: { JOURNAL_STREAM: stream } }))
  const lines = readFileSync(join(home, 'journal'), 'utf8').trim().split('\n')
  expect(lines.map((line) => /^(?:<\d>)?\{"level":"\w+"/.exec(line)?.[0])).toEqual([
    '<4>{"level":"warn"',
    '<3>{"level":"error"',
    '{"level":"warn"',
    '{"level":"error"',
  ])
})

test('a pipe that waits for its reader is opened once more, so as not to wait', async () => {
  const fifo = join(folder(), 'fifo')
  execFileSync('mkfifo', [fifo])
  const both = openSync(fifo, 'r+')
  onTestFinished(() => closeSync(both))
  const program = join(import.meta.dirname, '../../test/log/bare-writer.ts')
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'ignore', both], timeout: 5000 })
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code).toBe(0)
})
