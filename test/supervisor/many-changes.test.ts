import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { RunningAgent } from '../../src/supervisor/attempts/running-agent.ts'
import { createScreenSweep } from '../../src/supervisor/attempts/sweep.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually } from './fleet.ts'

test('however fast changes come, agents are looked at: none puts its own deadline off', async () => {
  await using fleet = await createFleet()
  const { tmux, clock, logger } = fleet.deps
  const supervisor = createSupervisor(fleet.deps)
  await supervisor.begin()
  const id = await fleet.add('Do it')
  await fleet.agentOf(id)
  const [agent] = await eventually(() => {
    const all = supervisor.agents().filter(({ watcher }) => watcher !== null)
    return all.length === 1 ? all : null
  })
  let looks = 0
  const sweep = createScreenSweep({
    tmux,
    agents: new Map([[id, agent as RunningAgent]]),
    look: { busyMs: 300, quietMs: 300 },
    attendedMs: () => 0,
    clock,
    logger,
    onOrphans: () => undefined,
    hasTakenOver: () => true,
    onTick: () => void looks++,
  })
  for (const until = performance.now() + 2000; performance.now() < until; await sleep(20)) sweep.hurry()
  expect(looks).toBeGreaterThan(2)
  await sweep.close()
  await supervisor.close('end')
})
