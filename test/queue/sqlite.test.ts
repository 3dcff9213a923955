import { expect, test } from 'vitest'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import type { Database } from '../../src/store/database.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, from, newTask, type QueueStore } from './bench.ts'
import { queueContract } from './contract.ts'
import { queueInterleavings } from './interleavings.ts'

/** Each process has a connection of its own, as on a real machine. */
async function openStore(): Promise<QueueStore> {
  const home = temporaryHome()
  const connections: Database[] = []
  let now = Date.UTC(2026, 0, 1)
  let seed = 1
  return {
    worker: (worker, system = 's') => {
      const db = openForTest(home.file)
      connections.push(db)
      // These tests are about order, not about power loss, and make thousands of commits.
      db.prepare('PRAGMA synchronous = OFF').run({})
      return createSqliteQueue({
        db,
        system,
        worker,
        clock: () => now,
        // Park and Miller: spread, and the same in every run.
        random: () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647,
        leaseMs: LEASE_MS,
        graceMs: GRACE_MS,
        maxQueued: MAX_QUEUED,
      })
    },
    now: async () => now,
    slackMs: 0,
    advance: async (ms) => {
      now += ms
    },
    close: async () => {
      for (const db of connections) db.close()
      home[Symbol.dispose]()
    },
  }
}

queueContract('sqlite', openStore)
queueInterleavings('sqlite', openStore)

test('two systems in one database do not see each other', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const [left, right] = ['left', 'right'].map((system) =>
    createSqliteQueue({ db, system, worker: 'a', clock: () => 5, random: () => 0.5, maxQueued: 1 }),
  )
  if (left === undefined || right === undefined) throw new Error('no queues')
  await left.register()
  await right.register()
  const { task } = await left.insert(newTask({ dedupeKey: 'k' }))
  expect(await right.get(task.id)).toBeNull()
  expect(await right.list({ limit: 9 })).toEqual([])
  expect(await right.idsByPrefix('')).toEqual([])
  expect(await right.count('queued')).toBe(0)
  expect(await right.claim(1, from(['app']))).toEqual([])
  expect(await right.cancel(task.id, '')).toBe('unknown')
  expect(await right.insert(newTask({ dedupeKey: 'k' }))).toMatchObject({ inserted: true })
  await left.claim(1, from(['app']))
  expect(await right.mine()).toEqual([])
  expect(await right.heartbeat([{ taskId: task.id, attempt: 1 }])).toMatchObject([{ ok: false }])
  db.close()
})
