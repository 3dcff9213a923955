import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import type { Attempt } from '../../src/core/agent/attempt.ts'
import { acquireHomeLock } from '../../src/store/lock.ts'
import { newAttempt } from '../../src/supervisor/attempts/start-window.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { createFleet, eventually, type Fleet, isAlive } from './fleet.ts'

/** A claimed task with its attempt on record, as far as `phase`. */
async function begun(fleet: Fleet, phase: Attempt['phase']): Promise<Attempt> {
  await fleet.add('Do it')
  const [task] = await fleet.queue.claim(1, { projects: ['work'], roles: null, labels: [] })
  if (task === undefined) throw new Error('nothing was claimed')
  const { attempts, projects, settings, tmux } = fleet.deps
  const attempt = newAttempt(task, projects.byName('work'), settings, Date.now())
  attempts.open(attempt)
  if (phase === 'claimed') return attempt
  attempts.setStarting(attempt)
  if (phase === 'starting') return attempt
  const { pid, startedAt } = tmux.identity()
  const window = {
    serverPid: pid,
    serverStartedAt: startedAt,
    windowId: '@99',
    paneId: '%99',
    windowName: 'agent-x',
  }
  attempts.setStarted(attempt, window)
  return attempt
}

const windowOf = (fleet: Fleet, command: string, marks: Record<string, string>) =>
  openWindow(fleet.tmux, { name: 'agent-stray', argv: ['/bin/sh', '-c', command], marks })

const stop = (supervisor: ReturnType<typeof createSupervisor>) => supervisor.close('keep')

test('1: one daemon a home; the next one gets the lock when the first is gone', async () => {
  await using fleet = await createFleet()
  const file = join(fleet.home, 'lock.db')
  const first = acquireHomeLock(file)
  expect(() => acquireHomeLock(file)).toThrow(expect.objectContaining({ code: 'LOCKED' }))
  first.release()
  acquireHomeLock(file).release()
})

test('2: a new epoch: what the daemon of before still writes is refused', async () => {
  await using fleet = await createFleet()
  const attempt = await begun(fleet, 'claimed')
  await fleet.newQueue().register()
  await expect(fleet.queue.heartbeat([attempt])).rejects.toMatchObject({ code: 'STALE_LEASE' })
})

test('3: only panes with our marks are ours: a window that a person opened stays', async () => {
  await using fleet = await createFleet()
  const { panePid } = await windowOf(fleet, 'exec sleep 1000', {})
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  expect(supervisor.foundAtStart()).toEqual([])
  expect(isAlive(panePid)).toBe(true)
  await stop(supervisor)
})

test('4: a task that was claimed and not begun is given back at no cost', async () => {
  await using fleet = await createFleet()
  await fleet.add('Do it')
  const [task] = await fleet.queue.claim(1, { projects: ['work'], roles: null, labels: [] })
  const supervisor = createSupervisor({ ...fleet.deps, recovery: { ...fleet.deps.recovery } })
  await supervisor.begin()
  expect(supervisor.foundAtStart()).toEqual([`Task ${task?.id}: claimed but not begun; it is queued again.`])
  const pid = await fleet.agentOf(task?.id ?? '', 2)
  expect(isAlive(pid)).toBe(true)
  expect(await fleet.queue.get(task?.id ?? '')).toMatchObject({ attempt: 2, failures: 0, lostLeases: 0 })
  await stop(supervisor)
})

test('5a: an agent that lives is taken back: the same process in the same window', async () => {
  await using fleet = await createFleet()
  const first = createSupervisor(fleet.deps)
  await first.begin()
  const id = await fleet.add('Do it')
  const pid = await fleet.agentOf(id)
  const window = await eventually(() => fleet.deps.attempts.newestOf(id)?.windowId)
  await stop(first)
  const second = createSupervisor(fleet.deps)
  await second.begin()
  // On a busy machine its last event may have come too late for the first daemon.
  expect(second.foundAtStart()).toContain(
    `Task ${id}: its agent is still at work in agent-work-1; taken back.`,
  )
  expect(isAlive(pid)).toBe(true)
  expect(fleet.deps.attempts.newestOf(id)).toMatchObject({ attempt: 1, windowId: window })
  fleet.letGo(id)
  await eventually(async () => (await fleet.queue.get(id))?.status === 'succeeded')
  await eventually(() => !isAlive(pid))
  expect(fleet.deps.incidents.list({ limit: 9, open: false })).toMatchObject([{ kind: 'adopted' }])
  await stop(second)
})

test('5b: an attempt that never started is released; one whose agent is gone costs a failure', async () => {
  await using fleet = await createFleet()
  const never = await begun(fleet, 'starting')
  const gone = await begun(fleet, 'started')
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  expect(supervisor.foundAtStart().toSorted()).toEqual(
    [
      `Task ${never.taskId}: its agent was never started; it is queued again.`,
      `Task ${gone.taskId}: its agent is gone; what it left decides.`,
    ].toSorted(),
  )
  await eventually(() => fleet.deps.attempts.get(gone)?.phase === 'reported')
  expect(fleet.deps.attempts.get(gone)?.endKind).toBe('lost')
  expect(await fleet.queue.get(gone.taskId)).toMatchObject({ failures: 1, lostLeases: 0 })
  expect(await fleet.queue.get(never.taskId)).toMatchObject({ failures: 0, lostLeases: 0 })
  await stop(supervisor)
})

test('5g: in a copied home nothing of the agents of the original is touched; their tasks begin here anew', async () => {
  await using fleet = await createFleet()
  await fleet.add('Do it')
  const [task] = await fleet.queue.claim(1, { projects: ['work'], roles: null, labels: [] })
  if (task === undefined) throw new Error('nothing was claimed')
  const { attempts, projects, settings } = fleet.deps
  const original = { ...settings, home: join(fleet.folder, 'original') }
  attempts.open(newAttempt(task, projects.byName('work'), original, Date.now()))
  const env = { ...process.env, CCM_TASK_ID: task.id, CCM_ATTEMPT: '1' }
  const agent = spawn('sleep', ['1000'], { env })
  onTestFinished(() => void agent.kill())
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  expect(supervisor.foundAtStart()).toEqual([expect.stringContaining('copied from')])
  await fleet.agentOf(task.id, 2)
  expect(isAlive(agent.pid ?? 0)).toBe(true)
  await stop(supervisor)
})

test.each([
  { cut: 'right after its claim', isOpen: false },
  { cut: 'before its window', isOpen: true },
])(
  '5f: a task that was to go on in its session does so also where the daemon ended $cut',
  async ({ isOpen }) => {
    await using fleet = await createFleet()
    const { taskId, attempt, claudeSessionId } = await begun(fleet, 'started')
    const { attempts, projects, settings } = fleet.deps
    const resume = { claudeSessionId, forMs: 600_000 }
    const end = { outcome: 'released' as const, result: null, error: null, retryAfterMs: 0 }
    const report = { taskId, attempt, ...end, resume }
    attempts.settle(report, Date.now())
    await fleet.queue.finish(report)
    const [task] = await fleet.queue.claim(1, { projects: ['work'], roles: null, labels: [] })
    if (task === undefined) throw new Error('nothing was claimed')
    expect(task).toMatchObject({ attempt: 2, claudeSessionId })
    if (isOpen) attempts.open(newAttempt(task, projects.byName('work'), settings, Date.now()))
    const supervisor = createSupervisor(fleet.deps)
    await supervisor.begin()
    await fleet.agentOf(taskId, 3)
    expect(await fleet.queue.get(taskId)).toMatchObject({ attempt: 3, claudeSessionId })
    await stop(supervisor)
  },
)

test('5c: a window without an attempt, and one of an older attempt, end with all their processes', async () => {
  await using fleet = await createFleet()
  const ledger = join(fleet.folder, 'ledger')
  const stubborn = `export CCM_TASK_ID=$1 CCM_ATTEMPT=1; trap '' HUP TERM; setsid sh -c 'trap "" HUP TERM; echo $$ >>${ledger}; sleep 1000' & echo $$ >>${ledger}; wait`
  const older = await begun(fleet, 'started')
  await fleet.queue.finish({
    ...older,
    outcome: 'released',
    result: null,
    error: null,
    retryAfterMs: 600_000,
    resume: null,
  })
  for (const id of ['unknown-task', older.taskId]) {
    await openWindow(fleet.tmux, {
      name: 'agent-stray',
      argv: ['/bin/sh', '-c', stubborn, 'sh', id],
      marks: { task: id, attempt: '1', project: 'work' },
    })
  }
  const pids = await eventually(() => {
    const lines = readOr(ledger).split('\n').filter(Boolean).map(Number)
    return lines.length === 4 ? lines : null
  })
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  expect(pids.filter(isAlive)).toEqual([])
  expect(supervisor.foundAtStart()).toHaveLength(2)
  expect(fleet.deps.attempts.get(older)?.phase).not.toBe('started')
  await stop(supervisor)
})

test('5e: what a window without an attempt still said while others were read is stored when it has ended', async () => {
  await using fleet = await createFleet()
  const spool = join(fleet.home, 'attempts', 'unknown-task.1', 'spool')
  mkdirSync(spool, { recursive: true })
  const said = join(fleet.folder, 'said')
  const says = join(fleet.folder, 'says')
  writeFileSync(
    says,
    `n=1000; while :; do n=$((n + 1)); file=${spool}/$n
    printf '{"session_id":"s","hook_event_name":"Notification"}' >$file.part
    mv $file.part $file.json; echo $n >>${said}; sleep 0.01; done`,
  )
  const marks = { task: 'unknown-task', attempt: '1', project: 'work' }
  await windowOf(fleet, `CCM_TASK_ID=unknown-task CCM_ATTEMPT=1 exec sh ${says}`, marks)
  await eventually(() => existsSync(join(spool, '1003.json')))
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  expect(supervisor.foundAtStart().join()).toContain('belonged to no open attempt')
  expect(readdirSync(spool).filter((name) => name.endsWith('.json'))).toEqual([])
  const stored = [...fleet.deps.hookEvents.ofAttempt({ taskId: 'unknown-task', attempt: 1 })]
  // Between the last file and its number it may have been killed.
  const numbers = readFileSync(said, 'utf8').split('\n').slice(0, -1)
  expect(stored.length - numbers.length).toBeOneOf([0, 1])
  await stop(supervisor)
})

const LAST_PID = '/proc/sys/kernel/ns_last_pid'
const noPids = process.getuid?.() === 0 && existsSync(LAST_PID) ? null : 'only root on Linux chooses pids'

test.skipIf(noPids !== null)(
  `5d: a program that got the pid of a dead pane's program lives on${noPids === null ? '' : ` [${noPids}]`}`,
  async () => {
    await using fleet = await createFleet()
    const marks = { task: 'unknown-task', attempt: '1', project: 'work' }
    // Somebody else on the machine may get it first: then another window.
    let panePid = -1
    let other = spawn('true')
    for (let windows = 0; windows < 20 && other.pid !== panePid; windows++) {
      ;({ panePid } = await windowOf(fleet, 'exit 0', marks))
      await eventually(() => !isAlive(panePid))
      for (let tries = 0; other.pid !== panePid && tries < 10; tries++) {
        other.kill('SIGKILL')
        writeFileSync(LAST_PID, String(panePid - 1))
        other = spawn('sleep', ['1000'])
      }
    }
    try {
      expect(other.pid).toBe(panePid)
      const supervisor = createSupervisor(fleet.deps)
      await supervisor.begin()
      expect(supervisor.foundAtStart().join()).toContain('belonged to no open attempt')
      expect(isAlive(panePid)).toBe(true)
      await stop(supervisor)
    } finally {
      other.kill('SIGKILL')
    }
  },
)

test('6: the spool is read before anything is decided: what an agent said last counts although it is gone', async () => {
  await using fleet = await createFleet()
  const first = createSupervisor(fleet.deps)
  await first.begin()
  const id = await fleet.add('Do it')
  const pid = await fleet.agentOf(id)
  await stop(first)
  const spool = join(fleet.home, 'attempts', `${id}.1`, 'spool')
  writeFileSync(
    join(spool, '009.json'),
    JSON.stringify({
      session_id: fleet.deps.attempts.newestOf(id)?.claudeSessionId,
      hook_event_name: 'Stop',
      last_assistant_message: 'Late.\n[DONE]',
    }),
  )
  await execa('tmux', ['-S', fleet.tmux.socketPath, 'kill-window', '-t', 'agent-work-1'])
  await eventually(() => !isAlive(pid))
  const second = createSupervisor(fleet.deps)
  await second.begin()
  await eventually(async () => (await fleet.queue.get(id))?.status === 'succeeded')
  expect(await fleet.queue.get(id)).toMatchObject({ attempt: 1, result: { text: 'Late.' } })
  await stop(second)
})

test('7: nothing is claimed before the start is over, and the hold says so', async () => {
  await using fleet = await createFleet()
  const id = await fleet.add('Do it')
  const supervisor = createSupervisor(fleet.deps)
  await new Promise((resolve) => setTimeout(resolve, 1200))
  expect(supervisor.holds()).toMatchObject([{ kind: 'starting' }])
  expect(await fleet.queue.get(id)).toMatchObject({ status: 'queued', attempt: 0 })
  await stop(supervisor)
})

test('8: then it claims at once what has waited', async () => {
  await using fleet = await createFleet()
  const id = await fleet.add('Do it')
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  await fleet.agentOf(id)
  expect(await fleet.queue.get(id)).toMatchObject({ status: 'running', attempt: 1 })
  await stop(supervisor)
})

test(
  'ten agents are taken back within 3 s, each the same process',
  { timeout: 60_000, retry: 2 },
  async () => {
    await using fleet = await createFleet()
    const first = createSupervisor(fleet.deps)
    await first.begin()
    const ids = await Promise.all(
      Array.from({ length: 10 }, (_, index) => fleet.add('Do it', `app-${index}`)),
    )
    const before = await Promise.all(ids.map((id) => fleet.agentOf(id)))
    await stop(first)
    const from = performance.now()
    const second = createSupervisor(fleet.deps)
    await second.begin()
    await eventually(() => second.agents().every(({ watcher }) => watcher !== null))
    const tookMs = performance.now() - from
    console.log(`ten agents were taken back in ${Math.round(tookMs)} ms`)
    expect(second.agents()).toHaveLength(10)
    expect(before.filter(isAlive)).toHaveLength(10)
    expect(tookMs).toBeLessThan(3000)
    for (const id of ids) fleet.letGo(id)
    await eventually(async () => (await fleet.queue.count('succeeded')) === 10, 20_000)
    await stop(second)
  },
)

test(
  'a restarted tmux gives the same ids to other panes: nothing of the new server is taken for an old agent',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const first = createSupervisor(fleet.deps)
    await first.begin()
    const id = await fleet.add('Do it')
    const pid = await fleet.agentOf(id)
    const { paneId, windowId } = await eventually(() => {
      const attempt = fleet.deps.attempts.newestOf(id)
      return attempt?.phase === 'started' ? attempt : null
    })
    await stop(first)
    process.kill(fleet.tmux.identity().pid, 'SIGKILL')
    await eventually(() => !isAlive(pid), 5000).catch(() => process.kill(pid, 'SIGKILL'))
    await fleet.tmux.start()
    // A stranger in the new server under the very ids of the old agent.
    const stranger = await windowOf(fleet, 'exec sleep 1000', {})
    expect([stranger.paneId, stranger.windowId]).toEqual([paneId, windowId])
    const second = createSupervisor(fleet.deps)
    await second.begin()
    await fleet.agentOf(id, 2)
    expect(await fleet.queue.get(id)).toMatchObject({ attempt: 2, failures: 0, lostLeases: 0 })
    expect(isAlive(stranger.panePid)).toBe(true)
    fleet.letGo(id, 2)
    await eventually(async () => (await fleet.queue.get(id))?.status === 'succeeded')
    expect(isAlive(stranger.panePid)).toBe(true)
    await stop(second)
  },
)

function readOr(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
