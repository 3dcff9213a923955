import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually } from './fleet.ts'

const FAILING =
  '#!/bin/sh\nif [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi\necho broken; exit 3\n'

test(
  'a broken project burns a few tasks, not its queue: the breaker opens, outlives a restart, lets one through, and closes',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const { recovery } = fleet.deps
    const rules = { failures: 3, windowMs: 600_000, pauseMs: 3000, maxPauseMs: 3000 }
    const deps = { ...fleet.deps, recovery: { ...recovery, breaker: rules } }
    const claude = join(fleet.folder, 'claude')
    const good = readFileSync(claude, 'utf8')
    writeFileSync(claude, FAILING)
    const first = createSupervisor(deps)
    await first.begin()
    const ids: string[] = []
    // A directory without git holds one agent at a time.
    for (let index = 0; index < 8; index++) ids.push(await fleet.add(`Task ${index}`))
    await eventually(() => first.holds().some(({ kind }) => kind === 'breaker'), 20_000)
    const tried = async () =>
      (await Promise.all(ids.map((id) => fleet.queue.get(id)))).filter((task) => (task?.attempt ?? 0) > 0)
    expect((await tried()).length).toBe(3)
    expect(first.holds()).toMatchObject([
      { kind: 'breaker', project: 'work', sentence: expect.stringMatching(/^3 tasks failed/) },
    ])
    // What a project did wrong holds only that project.
    await first.close('keep')
    const second = createSupervisor(deps)
    await second.begin()
    expect(second.holds().some(({ kind }) => kind === 'breaker')).toBe(true)
    writeFileSync(claude, good)
    const other = await fleet.add('Elsewhere', 'other')
    await fleet.agentOf(other)
    fleet.letGo(other)
    // One task is the probe; no second one beside it.
    const probe = await eventually(() => second.agents().find(({ task }) => task.project === 'work'), 20_000)
    await fleet.agentOf(probe.task.id, probe.task.attempt)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(second.agents().filter(({ task }) => task.project === 'work')).toHaveLength(1)
    fleet.letGo(probe.task.id, probe.task.attempt)
    await eventually(() => !second.holds().some(({ kind }) => kind === 'breaker'), 20_000)
    const incidents = fleet.deps.incidents.list({ limit: 100, open: false })
    expect(incidents.find(({ kind }) => kind === 'breaker')).toMatchObject({
      alert: true,
      action: 'An agent came through again.',
      closedAt: expect.any(Number),
    })
    await second.close('keep')
  },
)

test('outcomes are delivered, and people are told of a breaker, also while it cannot be stored', async () => {
  await using fleet = await createFleet()
  writeFileSync(join(fleet.folder, 'claude'), FAILING)
  fleet.db
    .prepare("CREATE TRIGGER unwritable BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'unwritable'); END")
    .run({})
  const { recovery, incidents } = fleet.deps
  const breaker = { failures: 3, windowMs: 600_000, pauseMs: 60_000, maxPauseMs: 60_000 }
  const supervisor = createSupervisor({ ...fleet.deps, recovery: { ...recovery, breaker } })
  await supervisor.begin()
  const ids = [await fleet.add('One'), await fleet.add('Two'), await fleet.add('Three')]
  await eventually(() => incidents.openOnes().some(({ kind, alert }) => kind === 'breaker' && alert))
  for (const id of ids)
    await eventually(async () => {
      const task = await fleet.queue.get(id)
      return task?.status === 'queued' && task.attempt === 1
    })
  expect(supervisor.holds()).toMatchObject([{ kind: 'breaker', project: 'work' }])
  await supervisor.close('keep')
})
