import { expect, test } from 'vitest'
import type { AgentState } from '../../src/core/agent/agent-state.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually } from './fleet.ts'

test.each<[from: AgentState, status: string]>([
  ['initializing', 'queued'],
  ['working', 'failed'],
])(
  'an agent whose time was up while it was %s, decided before a restart, leaves its task %s',
  { timeout: 60_000 },
  async (from, status) => {
    await using fleet = await createFleet()
    const before = createSupervisor(fleet.deps)
    await before.begin()
    const taskId = await fleet.add('Do it')
    await fleet.agentOf(taskId)
    await before.close('keep')
    const at = Date.now()
    fleet.deps.attempts.recordState({
      taskId,
      attempt: 1,
      at,
      from,
      to: 'timeout',
      stateAt: at,
      waitKind: null,
      cue: 'deadline',
      reason: 'Its time was up.',
      source: 'supervisor',
      evidence: '',
    })
    const after = createSupervisor(fleet.deps)
    await after.begin()
    const outcome = async () => (await fleet.queue.get(taskId))?.status
    await eventually(async () => (await outcome()) !== 'running', 20_000)
    expect(await fleet.queue.get(taskId)).toMatchObject({ status, attempt: 1, failures: 1 })
    await after.close('end')
  },
)
