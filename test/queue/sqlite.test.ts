import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import type { Database } from '../../src/store/database.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, type QueueStore } from './bench.ts'
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
