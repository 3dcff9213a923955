import { expect, onTestFinished, test } from 'vitest'
import { CcmError } from '../core/errors.ts'
import type { Queue } from '../core/task/queue.ts'
import type { Attempts } from '../store/attempts.ts'
import { newTask } from '../../test/queue/bench.ts'
import { createSqliteQueue } from '../queue/sqlite.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import type { RunningAgent } from './attempts/running-agent.ts'
import { fleetFacts } from './fleet-facts.ts'

const ATTEMPTS = { endsSince: () => [] } as unknown as Attempts

test('who waits longest is found among any number of tasks', async () => {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  let now = 1
  const queue = createSqliteQueue({
    db,
    system: 's',
    worker: 'w',
    clock: () => now++,
    random: () => 0.5,
    maxQueued: 2000,
  })
  await queue.insert(newTask({ scheduledAt: 10_000 }))
  const { task } = await queue.insert(newTask())
  for (let count = 0; count < 1000; count++) await queue.insert(newTask())
  const facts = await fleetFacts(
    { queue, attempts: ATTEMPTS, agents: new Map(), left: [], clock: () => 9000 },
    5,
  )
  expect(facts.oldestQueued).toEqual({ taskId: task.id, since: task.createdAt })
})

test('agents wait for people also while the queue is away: only what it alone knows is unknown', async () => {
  const view = () => ({ state: 'waiting', stateAt: 7, reason: 'It asks.' })
  const attempt = { taskId: 'a', attempt: 1 }
  const agent = { attempt, watcher: { view }, left: null } as unknown as RunningAgent
  const ask = (list: Queue['list']) =>
    fleetFacts(
      {
        queue: { list } as Queue,
        attempts: ATTEMPTS,
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
