import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { createScriptedFleet, sizeOf } from '../scripted/fleet.ts'
import { signal } from '../support/signal.ts'
import { atWork, pidsOf, prompted } from './at-work.ts'
import { eventually } from './fixture.ts'

test('a tmux server killed under 20 agents is noticed within 5 s; each task goes on once, at no cost', async () => {
  await using fleet = await createScriptedFleet({ dirs: 20 })
  await fleet.up()
  await atWork(fleet, 20)
  const server = Number(await fleet.stage.tmux('display-message', '-p', '#{pid}'))
  const from = performance.now()
  signal(server, 'SIGKILL')
  await eventually('the record says so', () => {
    const [row] = fleet.ask<{ n: number }>(`SELECT count(*) AS n FROM state_changes WHERE to_state = 'lost'`)
    return (row?.n ?? 0) > 0
  })
  const noticedMs = performance.now() - from
  await eventually('all work again', () => prompted(fleet) === 20, 90_000)
  console.log({ noticedMs, workAgainMs: performance.now() - from })
  fleet.letGo()
  await fleet.over(120_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 20 })
  expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 2 OR failures + lost_leases > 0')).toEqual([])
  expect(noticedMs).toBeLessThan(5000)
})

test('agents that are killed cost their own attempt; a child that is killed costs nothing', async () => {
  await using fleet = await createScriptedFleet({ dirs: 4 })
  await fleet.up()
  await atWork(fleet, 4, { child: true })
  const [first, second] = fleet.living()
  signal(first?.pid, 'SIGKILL')
  const child = fleet.ledger().find((entry) => entry.kind === 'child' && entry.task === second?.task)
  signal(child?.kind === 'child' ? child.child : null, 'SIGKILL')
  await sleep(500)
  fleet.letGo()
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 4 })
  const failures = fleet.ask<{ id: string }>('SELECT id FROM tasks WHERE failures = 1 AND attempt = 2')
  expect(failures).toEqual([{ id: first?.task }])
})

test('an agent that goes on in its session is not taken for one that never began where all of its events are lost', async () => {
  await using fleet = await createScriptedFleet({
    dirs: 1,
    config: '[timeouts]\nstart = "15s"\n[queue]\nsweep = "1s"',
  })
  await fleet.up()
  const id = await fleet.add('unheard', { ends: ['crash', 'done'], workMs: 25_000, muteFrom: 2 })
  const isAtWork = () => fleet.ledger().some((entry) => entry.kind === 'sent' && entry.name === 'PreToolUse')
  await eventually('it works', isAtWork, 30_000)
  signal(fleet.living()[0]?.pid, 'SIGKILL')
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(await fleet.stage.task(id)).toMatchObject({ status: 'succeeded', attempt: 2 })
  expect(fleet.ledger().flatMap((entry) => (entry.kind === 'start' ? [entry.resumed] : []))).toEqual([
    false,
    true,
  ])
})

test('garbage in hooks, screens, transcripts and session files harms nobody but its own task', async () => {
  await using fleet = await createScriptedFleet({
    dirs: 6,
    config: [
      '[timeouts]',
      'task = "8s"',
      'waiting = "8s"',
      'no_activity = "6s"',
      'start = "20s"',
      'exit = "1s"',
      '[queue]',
      'sweep = "1s"',
      'max_queued = 1000',
      '[breaker]',
      'failures = 20',
    ].join('\n'),
  })
  await fleet.up()
  const pid = fleet.pidOfDaemon()
  const good: string[] = []
  const poisoned: string[] = []
  for (let seed = 1; seed <= 18; seed++) {
    const poison = { garbage: seed * 7919, chatter: seed % 2 === 0, workMs: 1000, tools: 5 }
    poisoned.push(await fleet.add(`poison${seed}`, poison))
    if (seed % 6 === 0) good.push(await fleet.add(`good${seed}`, { workMs: 100 }))
  }
  await fleet.over(150_000)
  expect(await fleet.faults(poisoned)).toEqual([])
  expect(fleet.pidOfDaemon()).toBe(pid)
  for (const id of good) expect(await fleet.stage.task(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
  // Whoever reads them gets them whole.
  expect((await fleet.stage.status()).agents).toBe(0)
  for (const id of poisoned.slice(0, 3)) expect((await fleet.stage.events(id)).length).toBeGreaterThan(3)
})

test('a daemon out of descriptors lives on, and its tasks end well when there are some again', async () => {
  await using fleet = await createScriptedFleet({ dirs: 12 })
  await fleet.up()
  const pid = fleet.pidOfDaemon()
  const limit = async (soft: number) => execa('prlimit', ['--pid', String(pid), `--nofile=${soft}:`])
  const before = sizeOf(pid).descriptors
  for (let index = 0; index < 12; index++) await fleet.add(`few${index}`, { workMs: 500, tools: 3 })
  // Others are in the middle of their start.
  await eventually(
    'the first window',
    () => fleet.ask(`SELECT 1 FROM attempts WHERE phase = 'started'`).length > 0,
  )
  await limit(10)
  await sleep(6000)
  expect(isAlive(pid)).toBe(true)
  await limit(1024)
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.pidOfDaemon()).toBe(pid)
  expect(fleet.counts()).toEqual({ succeeded: 12 })
  expect(fleet.ask('SELECT id, error FROM tasks WHERE failures + lost_leases > 0')).toEqual([])
  await expect.poll(() => sizeOf(pid).descriptors, { timeout: 20_000 }).toBeLessThanOrEqual(before + 3)
})

test('what cannot be looked at for lack of descriptors is not taken for gone: no process is left', async () => {
  await using fleet = await createScriptedFleet({ dirs: 6 })
  await fleet.up()
  const pid = fleet.pidOfDaemon()
  const limit = async (soft: number) => execa('prlimit', ['--pid', String(pid), `--nofile=${soft}:`])
  // Each leaves a child that hears no signal, and ends while the daemon has not one descriptor more.
  const crashing: string[] = []
  for (let index = 0; index < 6; index++) {
    const crashes = index >= 3
    const id = await fleet.add(`few${index}`, {
      workMs: 3000,
      child: true,
      ends: crashes ? ['crash', 'done'] : ['done'],
    })
    if (crashes) crashing.push(id)
  }
  await eventually('all at work', () => fleet.living().length === 6, 40_000)
  await limit(sizeOf(pid).descriptors - 5)
  await sleep(12_000)
  expect(isAlive(pid)).toBe(true)
  await limit(1024)
  await fleet.over(90_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.pidOfDaemon()).toBe(pid)
  expect(fleet.counts()).toEqual({ succeeded: 6 })
  // Only those that crashed have paid, and once.
  const paid = fleet.ask<{ id: string; n: number }>(
    'SELECT id, failures + lost_leases AS n FROM tasks WHERE failures + lost_leases > 0 ORDER BY id',
  )
  expect(paid).toEqual(crashing.toSorted().map((id) => ({ id, n: 1 })))
})

test('an agent that prints a gigabyte costs neither memory nor disk', async () => {
  const megabytes = Number(process.env['CCM_FAULT_FLOOD_MB'] ?? 1024)
  await using fleet = await createScriptedFleet({ dirs: 1 })
  await fleet.up()
  await fleet.add('small', { workMs: 100 })
  await fleet.over(30_000)
  const pid = fleet.pidOfDaemon()
  const before = sizeOf(pid)
  const from = performance.now()
  await fleet.add('flood', { floodBytes: megabytes * 1024 * 1024, workMs: 100 })
  let most = 0
  await fleet.over(170_000, async () => {
    most = Math.max(most, sizeOf(pid).memoryMb)
    await sleep(250)
  })
  const bytes = readdirSync(fleet.stage.home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'ballast')
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
  console.log({
    seconds: (performance.now() - from) / 1000,
    before: before.memoryMb,
    most,
    diskMb: bytes / 1024 / 1024,
  })
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 2 })
  expect(most).toBeLessThan(before.memoryMb + 120)
  expect(bytes).toBeLessThan(40 * 1024 * 1024)
})

test('three restarts and a drain with ten agents at work: each comes up within 3 s and has every agent again', async () => {
  await using fleet = await createScriptedFleet({ dirs: 10 })
  await fleet.up()
  await atWork(fleet, 10)
  const before = pidsOf(fleet)
  expect(before).toHaveLength(10)
  const readyMs: number[] = []
  for (const way of ['', 'stop --keep-agents', '', 'restart']) {
    const ended =
      way === '' ? await fleet.crash().then(() => 0) : (await fleet.stage.ccm(way.split(' '))).code
    expect(ended).toBe(0)
    readyMs.push(await fleet.up())
    const { found_at_start: found } = await fleet.stage.status()
    expect(found.filter((sentence) => sentence.includes('still at work'))).toHaveLength(10)
    expect(pidsOf(fleet)).toEqual(before)
  }
  console.log({ readyMs })
  expect(Math.max(...readyMs)).toBeLessThan(3000)
  fleet.letGo()
  await fleet.over(60_000)
  expect(await fleet.faults()).toEqual([])
  expect(fleet.counts()).toEqual({ succeeded: 10 })
  expect(fleet.ask('SELECT id FROM tasks WHERE attempt <> 1')).toEqual([])
  expect(readFileSync(join(fleet.stage.home, 'daemon.log'), 'utf8')).not.toContain('"level":"fatal"')
})
