import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { sendSignal } from '../../src/agent/process-tree.ts'
import { endHalfStarted, newAttempt } from '../../src/supervisor/attempts/start-window.ts'
import { createBlackBox } from '../../src/supervisor/incidents/black-box.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { listPanes } from '../../src/tmux/pane.ts'
import { openWindow } from '../../src/tmux/window.ts'
import { mountDisk } from '../support/disk.ts'
import { createFleet, eventually, type Fleet, isAlive } from './fleet.ts'

/** Of its own in each run: processes are found by it. */
const STRAY = `stray-${randomBytes(4).toString('hex')}`

/** A claimed task of which nothing but its attempt is on record. */
async function begun(fleet: Fleet, project: string) {
  await fleet.add('Do it', project)
  const [task] = await fleet.queue.claim(1, { projects: [project], roles: null, labels: [] })
  if (task === undefined) throw new Error('nothing was claimed')
  const { attempts, projects, settings } = fleet.deps
  const attempt = newAttempt(task, projects.byName(project), settings, Date.now())
  attempts.open(attempt)
  attempts.setStarting(attempt)
  return attempt
}

test(
  'what an earlier daemon left and does not die holds its attempt, and people are told until it is gone',
  { timeout: 90_000 },
  async ({ skip }) => {
    await using fleet = await createFleet()
    await using disk = await mountDisk(join(fleet.folder, 'other'))
    if (disk === null) return skip('nothing may be mounted here')
    const { attempts, incidents, logger, notes } = fleet.deps
    const write = `echo x >'${join(fleet.folder, 'other/file')}'`
    const never = await begun(fleet, 'never')
    const deadly = await begun(fleet, 'deadly')
    const old = await begun(fleet, 'old')
    notes.write('deaths', { counted: '', tasks: { [deadly.taskId]: 3 } })
    await fleet.queue.finish({
      ...old,
      outcome: 'succeeded',
      result: null,
      error: null,
      retryAfterMs: null,
      resume: null,
    })
    const stray = { taskId: STRAY, attempt: 1 }
    const all = [never, deadly, old, stray]
    disk.freeze()
    const held = all.map(({ taskId, attempt }) =>
      spawn('/bin/sh', ['-c', write], {
        env: { CCM_TASK_ID: taskId, CCM_ATTEMPT: String(attempt) },
        stdio: 'ignore',
      }),
    )
    await openWindow(fleet.tmux, {
      name: 'agent-stray',
      argv: ['/bin/sh', '-c', 'exec sleep 1000'],
      marks: { task: stray.taskId, attempt: '1', project: 'never' },
    })
    const blackBox = createBlackBox({ file: join(fleet.folder, 'at-work'), notes, logger })
    const supervisor = createSupervisor({ ...fleet.deps, blackBox })
    await supervisor.begin()
    const told = () =>
      incidents
        .list({ limit: 20, open: true })
        .flatMap(({ kind, key }) => (kind === 'agent_left' ? [key] : []))
    // The fleet works meanwhile.
    const other = await fleet.add('Do it', 'other')
    await fleet.agentOf(other)
    await eventually(() => told().length === 4, 30_000)
    expect(told().toSorted()).toEqual(
      all.map(({ taskId, attempt }) => `agent_left:${taskId}.${attempt}`).toSorted(),
    )
    for (const attempt of [never, deadly, old]) {
      expect(attempts.get(attempt)?.phase).toBe('starting')
      expect(supervisor.foundAtStart().join('\n')).toMatch(
        `Task ${attempt.taskId}: its attempt 1 is not over, for processes of it are left.`,
      )
    }
    // Their leases are renewed, and nobody else gets their slots and directories.
    expect(supervisor.agents().map(({ task }) => task.id)).toEqual([never.taskId, deadly.taskId, other])
    for (const { taskId } of [never, deadly])
      expect(await fleet.queue.get(taskId)).toMatchObject({ status: 'running', attempt: 1 })
    expect(
      incidents.list({ limit: 20, open: false }).find(({ kind }) => kind === 'stray_ended')?.action,
    ).toBe(`These do not die: ${held[3]?.pid}.`)
    disk.thaw()
    await eventually(() => held.every(({ signalCode }) => signalCode === 'SIGKILL'), 30_000)
    await eventually(() => told().length === 0, 90_000)
    await fleet.agentOf(never.taskId, 2)
    expect(await fleet.queue.get(never.taskId)).toMatchObject({ failures: 0, lostLeases: 0 })
    expect(await fleet.queue.get(deadly.taskId)).toMatchObject({ status: 'failed', attempt: 1 })
    expect(attempts.get(deadly)?.endKind).toBe('deadly')
    expect(attempts.get(old)?.phase).toBe('reported')
    expect(await fleet.queue.get(old.taskId)).toMatchObject({ status: 'succeeded' })
    await supervisor.close('end')
  },
)

test(
  'a window that belongs to nobody keeps what does not die of it known to the next daemon, until that is gone',
  { timeout: 120_000 },
  async ({ skip }) => {
    await using fleet = await createFleet()
    await using disk = await mountDisk(join(fleet.folder, 'other'))
    if (disk === null) return skip('nothing may be mounted here')
    const { incidents } = fleet.deps
    const open = () => incidents.list({ limit: 20, open: true }).filter(({ kind }) => kind === 'agent_left')
    const windows = async () =>
      (await listPanes(fleet.tmux)).flatMap(({ marks, windowName }) =>
        marks.task === STRAY ? [windowName] : [],
      )
    disk.freeze()
    const held = spawn('/bin/sh', ['-c', `echo x >'${join(fleet.folder, 'other/file')}'`], {
      env: { CCM_TASK_ID: STRAY, CCM_ATTEMPT: '1' },
      stdio: 'ignore',
    })
    const { windowId } = await openWindow(fleet.tmux, {
      name: 'agent-work-1',
      argv: ['/bin/sh', '-c', 'exec sleep 1000'],
      marks: { task: STRAY, attempt: '1', project: 'work' },
    })
    const first = createSupervisor(fleet.deps)
    await first.begin()
    await eventually(() => open().length === 1, 30_000)
    // The name is the next agent's, by which `ccm attach` finds it.
    expect(await windows()).toEqual([`left-${windowId.slice(1)}`])
    await first.close('keep')
    const second = createSupervisor(fleet.deps)
    await second.begin()
    expect(second.foundAtStart().join('\n')).toMatch(`These do not die: ${held.pid}.`)
    // Alerts are looked at every 10 s.
    await sleep(12_000)
    expect(open()).toMatchObject([{ key: `agent_left:${STRAY}.1`, closedAt: null }])
    disk.thaw()
    await eventually(() => held.signalCode === 'SIGKILL', 30_000)
    await eventually(async () => open().length === 0 && (await windows()).length === 0, 60_000)
    await second.close('keep')
  },
)

test(
  'a stop ends the daemon on purpose also where an agent does not die: nobody starts it again',
  { timeout: 60_000 },
  async ({ skip }) => {
    await using fleet = await createFleet()
    await using disk = await mountDisk(join(fleet.folder, 'other'))
    if (disk === null) return skip('nothing may be mounted here')
    const { taskId, attempt } = await begun(fleet, 'work')
    disk.freeze()
    const held = spawn('/bin/sh', ['-c', `echo x >'${join(fleet.folder, 'other/file')}'`], {
      env: { CCM_TASK_ID: taskId, CCM_ATTEMPT: String(attempt) },
      stdio: 'ignore',
    })
    const supervisor = createSupervisor(fleet.deps)
    await supervisor.begin()
    await supervisor.close('end')
    expect(held.exitCode ?? held.signalCode).toBe(null)
    // What a restart would count as an absence.
    expect(fleet.deps.notes.read('alive')).toMatchObject({ onPurpose: true })
    expect(await fleet.queue.get(taskId)).toMatchObject({ status: 'running', attempt: 1 })
    disk.thaw()
    await eventually(() => supervisor.agents().length === 0, 30_000)
  },
)

test('a window of a launch that failed is closed with its program, which no hang-up ends', async () => {
  await using fleet = await createFleet()
  const { panePid } = await openWindow(fleet.tmux, {
    name: 'agent-work-1',
    argv: ['/bin/sh', '-c', 'trap "" HUP; printf "\\033]2;ready\\007"; while :; do sleep 1; done'],
    marks: { task: 'late', attempt: '1', project: 'work' },
  })
  onTestFinished(() => void sendSignal(panePid, 'SIGKILL'))
  await eventually(async () => (await listPanes(fleet.tmux)).some(({ title }) => title === 'ready'))
  expect(await endHalfStarted(fleet.tmux, { taskId: 'late', attempt: 1 })).toEqual([])
  expect(isAlive(panePid)).toBe(false)
  expect((await listPanes(fleet.tmux)).filter(({ marks }) => marks.task === 'late')).toEqual([])
})
