import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { CcmError } from '../../src/core/errors.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import type { Queue } from '../../src/core/task/queue.ts'
import { createFleet, eventually, type Fleet } from './fleet.ts'

/** Claims what its model's limit keeps from beginning: what is to be passed over was asked before it was there. */
function createBlind(fleet: Fleet, queue: Partial<Queue> = {}): ReturnType<typeof createSupervisor> {
  const { settings } = fleet.deps
  return createSupervisor({
    ...fleet.deps,
    queue: { ...fleet.deps.queue, list: async () => [], ...queue },
    settings: {
      ...settings,
      sweepMs: 3_600_000,
      claude: { ...settings.claude, model: 'claude-sonnet-4-5' },
    },
  })
}

test(
  'tasks claimed at the very moment their model reaches its limit go on after it at times of their own, and no sweep is needed',
  { timeout: 60_000 },
  async () => {
    await using fleet = await createFleet()
    const { queue, notes, clock } = fleet.deps
    const until = clock() + 10_000
    notes.write('limits', { sonnet: until })
    const ids = await Promise.all([1, 2, 3, 4].map((number) => fleet.add(`Task ${number}`, `work${number}`)))
    const supervisor = createBlind(fleet)
    await supervisor.begin()
    try {
      const parked = await eventually(async () => {
        const tasks = await queue.list({ status: 'queued', limit: 10 })
        return tasks.filter(({ attempt }) => attempt === 1).length === ids.length ? tasks : null
      })
      const times = parked.map(({ scheduledAt }) => scheduledAt - until)
      expect(Math.min(...times)).toBeGreaterThanOrEqual(0)
      // Of four over a second and more, one run in 50,000 is as close by chance.
      expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(20)
      await sleep(until - clock())
      for (const id of ids) await fleet.agentOf(id, 2)
    } finally {
      await supervisor.close('end')
    }
  },
)

test('a task that cannot begin is given back when the queue answers again', { timeout: 60_000 }, async () => {
  await using fleet = await createFleet()
  const { queue, notes, clock } = fleet.deps
  notes.write('limits', { sonnet: clock() + 60_000 })
  const id = await fleet.add('Task')
  let refusals = 0
  const supervisor = createBlind(fleet, {
    finish: async (report) => {
      refusals += 1
      if (refusals === 1) throw new CcmError('SUPABASE_UNREACHABLE', 'It is away.')
      return queue.finish(report)
    },
  })
  await supervisor.begin()
  try {
    const back = await eventually(async () => {
      const task = await queue.get(id)
      return task?.status === 'queued' && task.attempt === 1 ? task : null
    }, 20_000)
    expect([back.failures, back.lostLeases, refusals]).toEqual([0, 0, 2])
  } finally {
    await supervisor.close('end')
  }
})
