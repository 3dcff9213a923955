import { expect, test } from 'vitest'
import { CcmError } from '../core/errors.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Attempts } from '../store/attempts.ts'
import type { RunningAgent } from './attempts/running-agent.ts'
import { fleetFacts } from './fleet-facts.ts'

test('agents wait for people also while the queue is away: only what it alone knows is unknown', async () => {
  const view = () => ({ state: 'waiting', stateAt: 7, reason: 'It asks.' })
  const attempt = { taskId: 'a', attempt: 1 }
  const agent = { attempt, watcher: { view }, left: null } as unknown as RunningAgent
  const ask = (list: Queue['list']) =>
    fleetFacts(
      {
        queue: { list } as Queue,
        attempts: { endsSince: () => [] } as unknown as Attempts,
        agents: new Map([['a', agent]]),
        left: [],
        clock: () => 9,
      },
      5,
    )
  const facts = await ask(() => Promise.reject(new CcmError('SUPABASE_UNREACHABLE', 'Away.')))
  expect(facts).toMatchObject({
    agents: [{ taskId: 'a', waiting: { since: 7 } }],
    oldestQueued: undefined,
  })
  expect(await ask(async () => [])).toMatchObject({ oldestQueued: null })
  await expect(ask(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
})
