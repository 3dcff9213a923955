import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, uptime } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, vi, type TestContext } from 'vitest'
import { createGuard, guardFiles } from './guard.ts'
import { killTree, sendSignal, treeOf } from './process-tree.ts'
import { startScript } from './start-script.ts'

const SCRIPT = resolve(import.meta.dirname, '../../hooks/guard-agent.sh')

// Deadlines of whole seconds, far enough away for a busy machine.
vi.setConfig({ testTimeout: 60_000 })

type Guarded = {
  /** The deadline, so many seconds from now. */
  move: (forS: number) => void
  attempt: { taskId: string; attempt: number; folder: string }
  window: ChildProcess
  tree: () => Promise<number[]>
  guardPid: () => number | null
  exit: string
}

/** A window's program with its guard, as a start script makes them; the agent is `lines` of sh. */
const start = (context: TestContext, forS: number | null, ...lines: string[]) =>
  startBelow([], context, forS, ...lines)

/** The same, and the script is started by `sh` with these arguments, as `systemd-run --scope` does it. */
async function startBelow(
  below: string[],
  { expect, onTestFinished }: TestContext,
  forS: number | null,
  ...lines: string[]
): Promise<Guarded> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-guard-'))
  const attempt = { taskId: `guard-${randomBytes(4).toString('hex')}`, attempt: 2, folder }
  const exit = join(folder, 'exit-status')
  const guard = createGuard(SCRIPT, () => exit)
  const move = (seconds: number) => {
    const { deadline } = guardFiles(folder)
    writeFileSync(`${deadline}.part`, `${Math.floor((uptime() + seconds) * 1000)}\n`)
    renameSync(`${deadline}.part`, deadline)
  }
  if (forS !== null) move(forS)
  const script = join(folder, 'start.sh')
  const environment = { PATH: process.env['PATH'] ?? '', CCM_TASK_ID: attempt.taskId, CCM_ATTEMPT: '2' }
  const argv = ['/bin/sh', '-c', lines.join('\n')]
  const line = guard(attempt, false)
  writeFileSync(script, startScript({ environment, dir: folder, argv, exitFile: exit, guard: line }))
  const window = spawn('/bin/sh', [...below, script], { stdio: 'ignore', env: {}, detached: true })
  const rootPid = window.pid ?? null
  const tree = () => treeOf({ ...attempt, rootPid })
  const guardPid = () => findGuard(attempt.taskId)
  onTestFinished(async () => {
    const pid = guardPid()
    if (pid !== null) sendSignal(pid, 'SIGKILL')
    await killTree({ ...attempt, rootPid })
    rmSync(folder, { recursive: true, force: true })
  })
  await expect.poll(() => guardPid() ?? existsSync(guardFiles(folder).fenced)).toBeTruthy()
  return { move, attempt, window, tree, guardPid, exit }
}

function findGuard(taskId: string): number | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      if (words[1] === SCRIPT && words.includes(taskId)) return Number(name)
    } catch {
      // It ended while we looked.
    }
  }
  return null
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // It ended while we looked.
    return ''
  }
}

function isThere(pid: number): boolean {
  return /\) [^Z]/.test(statOf(String(pid)))
}

/** 136 kB were measured where sh is dash, 160 with busybox, 376 with bash; its `sleep` has 96 more. */
const PRIVATE_MOST_KB = 512

/** What only this process has, and would give back. */
function privateKb(pid: number | null): number {
  return Number(/^Private_Dirty:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}

/** Processes with the mark of this task in their environment. */
function findMarked(taskId: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`CCM_TASK_ID=${taskId}\0`)
      } catch {
        return false
      }
    })
}

const onLinux = test.skipIf(process.platform !== 'linux').concurrent

const STUBBORN = [
  `sh -c 'trap "" TERM HUP INT; while :; do sleep 1000; done' &`,
  '(setsid sleep 1001 &)',
  `env -i sh -c 'trap "" TERM; sleep 1002; :' &`,
  'sleep 1003',
]

onLinux('a deadline that nobody moves ends the whole tree', async (context) => {
  const { expect } = context
  const from = uptime()
  const { tree, guardPid, attempt } = await start(context, 8, ...STUBBORN)
  let all: number[] = []
  await expect.poll(async () => (all = await tree()).length).toBeGreaterThanOrEqual(6)
  // Each by its id: one without the mark is found by its parents alone, and they are gone then.
  await expect.poll(() => all.filter(isThere), { timeout: 20_000 }).toEqual([])
  // It counts whole seconds.
  expect(uptime() - from).toBeGreaterThan(6.9)
  expect(existsSync(guardFiles(attempt.folder).fenced)).toBe(true)
  await expect.poll(guardPid).toBeNull()
})

onLinux('a deadline that is moved lets it live; HUP, INT and TERM do not end the guard', async (context) => {
  const { expect } = context
  const { tree, guardPid, move, window } = await start(context, 8, 'trap "" HUP; while :; do sleep 1; done')
  const pid = guardPid() ?? 0
  for (const until = uptime() + 12; uptime() < until; await sleep(500)) {
    move(8)
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) sendSignal(pid, signal)
  }
  expect((await tree()).length).toBeGreaterThanOrEqual(2)
  expect(guardPid()).toBe(pid)
  // The window's own program killed, as a tmux server does it: what is left of the agent is guarded on.
  window.kill('SIGKILL')
  await sleep(1500)
  expect(guardPid()).toBe(pid)
  // Also after it has read all processes of the machine.
  expect(privateKb(pid)).toBeLessThan(PRIVATE_MOST_KB)
  await expect.poll(async () => (await tree()).length, { timeout: 20_000 }).toBe(0)
})

onLinux('it ends with the agent, and takes less than half a megabyte of its own', async (context) => {
  const { expect } = context
  const { guardPid, exit, attempt } = await start(context, 60, 'until [ -e go ]; do sleep 0.2; done')
  expect(privateKb(guardPid())).toBeLessThan(PRIVATE_MOST_KB)
  writeFileSync(join(attempt.folder, 'go'), '')
  await expect.poll(() => existsSync(exit)).toBe(true)
  await expect.poll(guardPid, { timeout: 20_000 }).toBeNull()
  expect(existsSync(guardFiles(attempt.folder).fenced)).toBe(false)
})

onLinux(
  'after a gap in its own time it stops the agent and waits for a renewal before it kills',
  async (context) => {
    const { expect } = context
    const { guardPid, move, attempt } = await start(
      context,
      7,
      'echo $$ >pid.part && mv pid.part pid; while :; do sleep 0.2; done',
    )
    const pid = guardPid() ?? 0
    await expect.poll(() => existsSync(join(attempt.folder, 'pid'))).toBe(true)
    const agent = Number(readFileSync(join(attempt.folder, 'pid'), 'utf8'))
    const stateOf = () => /\) (\w)/.exec(readFileSync(`/proc/${agent}/stat`, 'latin1'))?.[1]
    sendSignal(pid, 'SIGSTOP')
    await sleep(9000)
    sendSignal(pid, 'SIGCONT')
    await expect.poll(stateOf).toBe('T')
    move(60)
    await expect.poll(stateOf).not.toBe('T')
    expect(existsSync(guardFiles(attempt.folder).fenced)).toBe(false)
  },
)

// There the script leads no session; the pid of one that does is nobody else's while the guard, which is in it, lives.
const IN_SCOPE = ['-c', '/bin/sh "$0"; exec sleep 1004']
const LAST_PID = '/proc/sys/kernel/ns_last_pid'
const choosesPids = process.getuid?.() === 0 && existsSync(LAST_PID)

test.skipIf(!choosesPids)(
  `a program that got the pid of the window's own lives on${choosesPids ? '' : ' [only root on Linux chooses pids]'}`,
  { timeout: 60_000 },
  async (context) => {
    const { expect } = context
    const { tree, guardPid, attempt } = await startBelow(IN_SCOPE, context, 15, ...STUBBORN)
    await expect.poll(async () => (await tree()).length).toBeGreaterThanOrEqual(6)
    const script = Number(readFileSync(`/proc/${guardPid()}/cmdline`, 'utf8').split('\0')[5])
    sendSignal(script, 'SIGKILL')
    await expect.poll(() => existsSync(`/proc/${script}`)).toBe(false)
    let other = spawn('true')
    // Others on the machine start programs, too.
    for (let tries = 0; other.pid !== script && tries < 300; tries++) {
      other.kill('SIGKILL')
      writeFileSync(LAST_PID, String(script - 1))
      other = spawn('sleep', ['1000'])
    }
    context.onTestFinished(() => void other.kill('SIGKILL'))
    expect(other.pid).toBe(script)
    await expect.poll(() => existsSync(guardFiles(attempt.folder).fenced), { timeout: 30_000 }).toBe(true)
    await expect.poll(guardPid, { timeout: 10_000 }).toBeNull()
    expect(findMarked(attempt.taskId)).toEqual([])
    expect(other.exitCode ?? other.signalCode).toBeNull()
  },
)

onLinux('a deadline of which a look finds half of each is looked at again', async (context) => {
  const { expect } = context
  const { guardPid, attempt } = await start(context, 60, 'while :; do sleep 1; done')
  const { deadline, fenced } = guardFiles(attempt.folder)
  const pipe = join(attempt.folder, 'pipe')
  // The first look at it finds this, each later one the whole.
  const good = Math.floor((uptime() + 60) * 1000)
  const lines = 'mkfifo "$0" && mv "$0" "$1" && echo 1 >"$1" && while :; do echo "$2" >"$1"; sleep 0.1; done'
  const writer = spawn('/bin/sh', ['-c', lines, pipe, deadline, String(good)], { stdio: 'ignore' })
  context.onTestFinished(() => void writer.kill('SIGKILL'))
  await sleep(8000)
  expect(existsSync(fenced)).toBe(false)
  expect(guardPid()).not.toBeNull()
})

onLinux('a deadline that cannot be read leaves the one before', async (context) => {
  const { expect } = context
  const from = uptime()
  const { tree, guardPid, attempt } = await start(context, 10, 'while :; do sleep 1; done')
  // It sleeps only after a look.
  const sleeps = () => {
    const parent = new RegExp(`^\\d+ \\(sleep\\) \\w ${guardPid()} `)
    return readdirSync('/proc').some((name) => /^\d+$/.test(name) && parent.test(statOf(name)))
  }
  await expect.poll(sleeps).toBe(true)
  writeFileSync(guardFiles(attempt.folder).deadline, 'odd\n')
  await expect.poll(async () => (await tree()).length, { timeout: 30_000 }).toBe(0)
  expect(uptime() - from).toBeGreaterThan(8.9)
})

onLinux('without a deadline an agent does not live', async (context) => {
  const { expect } = context
  const { tree, attempt } = await start(context, null, 'while :; do sleep 1; done')
  await expect.poll(async () => (await tree()).length).toBe(0)
  expect(existsSync(guardFiles(attempt.folder).fenced)).toBe(true)
})
