import { expect, test } from 'vitest'
import { createSupervisor, type Supervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually, type Fleet } from './fleet.ts'

/** A daemon that ends its agents and can store no outcome: as far as one got that was killed in between. */
const createCutOff = ({ deps }: Fleet): Supervisor =>
  createSupervisor({
    ...deps,
    attempts: {
      ...deps.attempts,
      settle: () => {
        throw new Error('It was killed.')
      },
    },
  })

test.each<{ end: string; by: (daemon: Supervisor, id: string) => Promise<unknown>; comesTo: object }>([
  {
    end: 'a drain',
    by: (daemon) => daemon.close('end'),
    comesTo: { status: 'queued', failures: 0, lostLeases: 0 },
  },
  {
    end: 'a cancel',
    by: (daemon, id) => daemon.cancel(id, 'Enough.'),
    comesTo: { status: 'cancelled', failures: 0, error: 'Enough.' },
  },
])(
  '$end that was cut off is carried out by the next daemon, and is no crash',
  { timeout: 60_000 },
  async (at) => {
    await using fleet = await createFleet()
    const first = createCutOff(fleet)
    await first.begin()
    const id = await fleet.add('Do it')
    await fleet.agentOf(id)
    await at.by(first, id)
    await eventually(() => first.agents().length === 0)
    await first.close('keep')
    const next = createSupervisor(fleet.deps)
    next.pause({ kind: 'test', sentence: 'Nothing is begun again.', until: null })
    await next.begin()
    await eventually(async () => (await fleet.queue.get(id))?.status !== 'running')
    expect(await fleet.queue.get(id)).toMatchObject({ attempt: 1, ...at.comesTo })
    await next.close('keep')
  },
)

test(
  'a usage limit that only the screen told of parks the task also after a restart',
  { timeout: 60_000 },
  async () => {
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
      from: 'working',
      to: 'limited',
      stateAt: at,
      waitKind: null,
      cue: 'limit',
      reason: 'The usage limit is reached.',
      source: 'screen',
      evidence: '',
    })
    const after = createSupervisor(fleet.deps)
    await after.begin()
    await eventually(async () => (await fleet.queue.get(taskId))?.status !== 'running')
    expect(await fleet.queue.get(taskId)).toMatchObject({ status: 'queued', attempt: 1, failures: 0 })
    expect(fleet.deps.attempts.newestOf(taskId)?.endKind).toBe('usage_limit')
    await after.close('end')
  },
)
