import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, test, vi, type TestContext } from 'vitest'
import { isAlive } from '../../src/cli/stop.ts'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import { INSPECTABLE } from '../scripted/heap.ts'
import { signal } from '../support/signal.ts'

// Whole daemons side by side: on a busy machine they wait for each other.
vi.setConfig({ testTimeout: 90_000 })

const CCM = resolve(import.meta.dirname, '../../bin/ccm.js')

/** A ccm of its own, without any agent: home, settings and an environment made from nothing. */
function place({ onTestFinished }: Pick<TestContext, 'onTestFinished'>, toml = '') {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-life-'))
  const home = join(folder, 'home')
  const config = join(folder, 'ccm.toml')
  const write = (text: string) => writeFileSync(config, `[http]\nport = 0\n${text}`)
  write(toml)
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    CCM_HOME: home,
    CCM_CONFIG: config,
    NODE_COMPILE_CACHE: join(folder, 'cache'),
  }
  const ccm = (...args: string[]) =>
    execa(process.execPath, [CCM, ...args], { env, extendEnv: false, reject: false, stdin: 'ignore' })
  const json = async <T>(...args: string[]): Promise<T> => {
    const { stdout, stderr } = await ccm(...args, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as T
  }
  onTestFinished(async () => {
    write('')
    await ccm('stop')
    // One that was ended at once leaves its tmux server to the next.
    await execa('tmux', ['-S', join(home, 'tmux/tmux.sock'), 'kill-server'], { reject: false })
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  return { home, write, env, ccm, json, log: () => readFileSync(join(home, 'daemon.log'), 'utf8') }
}

async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  limitMs = 40_000,
): Promise<NonNullable<T>> {
  for (const until = Date.now() + limitMs; Date.now() < until; await sleep(50)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`${what}: not within ${limitMs} ms`)
}

const addressOf = (home: string) => {
  try {
    return JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as {
      pid: number
      keeper: number | null
    }
  } catch {
    return null
  }
}

/** A daemon that was built before there were keepers names none. */
const keeperOf = (home: string): number => {
  const keeper = addressOf(home)?.keeper
  if (typeof keeper !== 'number') throw new Error('the daemon names no keeper: is dist older than src?')
  return keeper
}

/** Every process that belongs to this home, by its command line or environment. */
const processesOf = (home: string) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return (
          isAlive(Number(name)) &&
          /keep-daemon|daemon --background/.test(
            readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' '),
          ) &&
          readFileSync(`/proc/${name}/environ`, 'utf8').includes(`CCM_HOME=${home}\0`)
        )
      } catch {
        return false
      }
    })

test.concurrent(
  'a daemon that was killed is started again by what `ccm start` left; `ccm stop` ends both',
  async (context) => {
    const { home, ccm, json, log } = place(context)
    const first = await json<StatusJson>('start')
    expect(first.kept_by).toBe('shell')
    const keeper = keeperOf(home)
    expect(readFileSync(`/proc/${keeper}/status`, 'utf8')).toMatch(/^VmRSS:\s+\d{3,4} kB$/m)
    signal(first.pid, 'SIGKILL')
    const pid = await eventually('another daemon serves', () => {
      const now = addressOf(home)?.pid
      return now !== first.pid && now
    })
    expect(log()).toContain('the daemon died (status 137); it is started again in 1 s')
    expect((await json<StatusJson>('status')).pid).toBe(pid)
    expect((await ccm('stop')).exitCode).toBe(0)
    expect(processesOf(home)).toEqual([])
  },
)

test.concurrent(
  'a configuration that was broken meanwhile keeps nobody from the daemon that runs, but starts none',
  async (context) => {
    const { write, ccm, json } = place(context)
    const { pid } = await json<StatusJson>('start')
    write('[htp]\nport = 0\n')
    expect((await json<StatusJson>('status')).pid).toBe(pid)
    expect(await json('tasks')).toEqual([])
    // It would not come up again.
    expect(await ccm('restart')).toMatchObject({ exitCode: 78, stderr: expect.stringContaining('http') })
    expect((await json<StatusJson>('status')).pid).toBe(pid)
    expect(await json('stop')).toEqual({ stopped: true, pid })
    expect(await ccm('tasks')).toMatchObject({ exitCode: 78, stderr: expect.stringContaining('http') })
  },
)

test.concurrent(
  '`ccm stop` between two starts ends the shell that would start the daemon again',
  async (context) => {
    const { home, ccm, json } = place(context)
    const { pid } = await json<StatusJson>('start')
    const keeper = keeperOf(home)
    signal(pid, 'SIGKILL')
    await eventually('it is dead', () => !isAlive(pid))
    expect((await ccm('stop')).exitCode).toBe(0)
    expect(isAlive(keeper)).toBe(false)
    await sleep(1500)
    expect(processesOf(home)).toEqual([])
  },
)

test.concurrent(
  'the shell killed by -9 leaves the daemon at work, and a later stop leaves nothing',
  async (context) => {
    const { home, ccm, json } = place(context)
    const { pid } = await json<StatusJson>('start')
    signal(addressOf(home)?.keeper, 'SIGKILL')
    expect((await json<StatusJson>('status')).pid).toBe(pid)
    expect((await ccm('stop')).exitCode).toBe(0)
    expect(processesOf(home)).toEqual([])
  },
)

test.concurrent(
  'TERM to the shell drains the daemon; a second signal to a daemon ends it at once, for good',
  async (context) => {
    const { home, json } = place(context)
    const { pid } = await json<StatusJson>('start')
    const keeper = keeperOf(home)
    signal(keeper, 'SIGTERM')
    await eventually('both are gone', () => !isAlive(pid) && !isAlive(keeper))
    expect(existsSync(join(home, 'daemon.json'))).toBe(false)
    const again = await json<StatusJson>('start')
    const next = keeperOf(home)
    signal(again.pid, 'SIGTERM')
    signal(again.pid, 'SIGINT')
    await eventually('both are gone', () => !isAlive(again.pid) && !isAlive(next))
  },
)

test.concurrent(
  'TERM to a daemon that still begins, at a Supabase that is slow, ends it in time',
  async (context) => {
    const mute = createServer().listen(0, '127.0.0.1')
    await once(mute, 'listening')
    context.onTestFinished(() => void mute.close())
    const { port } = mute.address() as AddressInfo
    const supabase = `[supabase]\nurl = "http://127.0.0.1:${port}"\nsecret_key = "sb_secret_none"\nsystem = "s"\n`
    const { home, ccm } = place(context, `[timeouts]\nshutdown = "1s"\n${supabase}`)
    const daemon = ccm('daemon', '--background')
    const { pid } = await eventually('it serves', () => addressOf(home))
    // Once it is announced the next thing is to join the queue.
    await sleep(1000)
    const from = performance.now()
    signal(pid, 'SIGTERM')
    expect((await daemon).exitCode).toBe(143)
    expect(performance.now() - from).toBeLessThan(5000)
  },
)

test.concurrent('without [daemon] restart nothing stays that starts it again', async (context) => {
  const { home, json } = place(context, '[daemon]\nrestart = false\n')
  expect((await json<StatusJson>('start')).kept_by).toBeNull()
  expect(processesOf(home)).toHaveLength(1)
})

test.concurrent(
  'HUP takes over what can be, names what needs a restart, and keeps the old settings when they are faulty',
  async (context) => {
    const { home, json, write, log } = place(context)
    const { pid, max_concurrent } = await json<StatusJson>('start')
    expect(max_concurrent).toBe(10)
    const keeper = keeperOf(home)
    write('[agents]\nmax_concurrent = 3\n[queue]\nsweep = "20s"\n[log]\nlevel = "debug"\n')
    // To the shell: it passes it on.
    signal(keeper, 'SIGHUP')
    await eventually('it is taken over', async () => (await json<StatusJson>('status')).max_concurrent === 3)
    expect(log()).toContain('configuration reloaded; changed: agents.maxConcurrent, log.level')
    expect(log()).toContain('these changes need a restart (ccm restart): queue.sweepMs')
    write('[agents]\nmax_concurrent = "many"\n')
    signal(pid, 'SIGHUP')
    await eventually('the fault is told', () => log().includes('was not reloaded'))
    expect(log()).toContain('agents.max_concurrent')
    write('[agents]\nmax_concurrent = 4\n')
    expect((await json<StatusJson>('status')).max_concurrent).toBe(3)
  },
)

test.concurrent(
  'a stopped event loop is found by the watchdog and told by the next daemon',
  async (context) => {
    const { home, env, json, log } = place(context, '[watchdog]\nevent_loop = "2s"\n')
    Object.assign(env, INSPECTABLE)
    const { pid } = await json<StatusJson>('start')
    // From outside, as a debugger would: the main thread runs for ever.
    signal(pid, 'SIGUSR1')
    const url = await eventually('the inspector listens', () => /ws:\S+/.exec(log())?.[0])
    const socket = new WebSocket(url)
    await new Promise((resolve) => socket.addEventListener('open', resolve))
    socket.send(
      JSON.stringify({
        id: 1,
        method: 'Runtime.evaluate',
        params: { expression: '(function stuckHere() { for (;;); })()' },
      }),
    )
    await eventually('another daemon serves', () => addressOf(home)?.pid !== pid && addressOf(home))
    const found = await eventually('it serves', async () => (await json<StatusJson>('status')).found_at_start)
    expect(found.join()).toMatch(/hung and was ended .* its event loop gave no sign of life for 2 s/)
    socket.close()
  },
)

test.concurrent(
  'restart brings another process; an address file of a dead daemon blocks nobody',
  async (context) => {
    const { home, json } = place(context)
    const first = await json<StatusJson>('start')
    const second = await json<StatusJson>('restart')
    expect(second.pid).not.toBe(first.pid)
    expect(isAlive(first.pid)).toBe(false)
    signal(addressOf(home)?.keeper, 'SIGKILL')
    signal(second.pid, 'SIGKILL')
    await eventually('it is dead', () => !isAlive(second.pid))
    // Its pid may be another program's by now: ours.
    writeFileSync(
      join(home, 'daemon.json'),
      JSON.stringify({ pid: process.pid, host: '127.0.0.1', port: 9, keeper: process.pid }),
    )
    const third = await json<StatusJson>('start')
    expect(third.pid).not.toBe(process.pid)
  },
)

test.each(['sh', 'bash', 'dash'])('the script parses in %s', async (shell) => {
  const script = resolve(import.meta.dirname, '../../bin/keep-daemon.sh')
  expect((await execa(shell, ['-n', script])).stderr).toBe('')
})

test("the daemon's own token is in no record, though an agent read it", async (context) => {
  const { home, write, ccm } = place(context)
  const claude = join(home, '../claude')
  const agent = `#!/bin/sh
if [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi
while [ $# -gt 0 ]; do
  case "$1" in --settings) settings=$2;; --session-id) session=$2;; esac
  shift
done
cd "$(dirname "$settings")/spool"
echo "{\\"session_id\\":\\"$session\\",\\"hook_event_name\\":\\"SessionStart\\",\\"model\\":\\"read $(cat ${home}/token)\\"}" >1.part
mv 1.part 001.json
sleep 60
`
  writeFileSync(claude, agent, { mode: 0o755 })
  write(`[claude]\ncommand = "${claude}"\n`)
  await ccm('start')
  mkdirSync(join(home, '../app'))
  const { stdout: id } = await ccm('run', 'x', '--dir', join(home, '../app'), '--trust', '--no-wait')
  const told = await eventually('the event', async () => {
    const { stdout } = await ccm('events', id.trim(), '--json')
    return stdout.includes('SessionStart') && stdout
  })
  expect(told).toContain('read ***')
})
