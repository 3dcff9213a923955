import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { createQueueCounts } from '../../src/queue/counts.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { TASK_SORTS } from '../../src/core/task/task-list.ts'
import { TASK_STATUSES } from '../../src/core/task/task.ts'
import type { Database } from '../../src/store/database.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { GRACE_MS, LEASE_MS, MAX_QUEUED, from, newTask, reportOf, type QueueStore } from './bench.ts'
import { queueContract } from './contract.ts'
import { queueInterleavings } from './interleavings.ts'

// Migrated once: a migration waits for the disk, and hundreds of stores are opened here.
const template = temporaryHome()
openForTest(template.file).close()
afterAll(() => template[Symbol.dispose]())

/** Each process has a connection of its own, as on a real machine. */
async function openStore(): Promise<QueueStore> {
  const home = temporaryHome()
  mkdirSync(dirname(home.file))
  copyFileSync(template.file, home.file)
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

test('nobody can write a move that does not exist, whatever program it comes from', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const queue = createSqliteQueue({ db, system: 's', worker: 'a', clock: () => 5, random: () => 0.5 })
  await queue.register()
  const { task } = await queue.insert(newTask())
  const write = (sql: string) => () => db.prepare<{ id: string }>(sql).run({ id: task.id })
  expect(write("UPDATE tasks SET status = 'succeeded', finished_at = 5 WHERE id = :id")).toThrow(/move/)
  expect(write('UPDATE tasks SET attempt = 1 WHERE id = :id')).toThrow(/move/)
  expect(
    write(
      "UPDATE tasks SET status = 'running', worker = 'x', lease_expires_at = 9, attempt = attempt + 2 WHERE id = :id",
    ),
  ).toThrow(/move/)
  expect(write('DELETE FROM tasks WHERE id = :id')).toThrow(/not over/)
  const [claimed] = await queue.claim(1, from(['app']))
  if (claimed === undefined) throw new Error('nothing was claimed')
  expect(write('UPDATE tasks SET attempt = 0 WHERE id = :id')).toThrow(/move/)
  expect(write('DELETE FROM tasks WHERE id = :id')).toThrow(/not over/)
  await queue.finish(reportOf(claimed, 'succeeded'))
  expect(
    write("UPDATE tasks SET status = 'queued', finished_at = NULL, worker = NULL WHERE id = :id"),
  ).toThrow(/move/)
  expect(
    write(
      `INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt,
         failures, lost_leases, scheduled_at, cancel_requested, created_at)
       VALUES (:id || 'x', 's', 'p', 'x', 0, '[]', '[]', 'queued', 9, 0, 0, 0, 0, 0)`,
    ),
  ).toThrow(/begins as queued/)
  expect((await queue.get(task.id))?.status).toBe('succeeded')
  db.close()
})

test('what a list shows is chosen from an index alone, however long the past is', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => db.close())
  const asked = new Set<string>()
  const prepare: typeof db.prepare = (sql) => {
    asked.add(sql)
    return db.prepare(sql)
  }
  const queue = createSqliteQueue({
    db: { ...db, prepare },
    system: 's',
    worker: 'a',
    clock: () => 5,
    random: () => 0.5,
  })
  asked.clear()
  const after = { key: 1, id: 'x' }
  for (const sort of TASK_SORTS) {
    for (const projects of [undefined, ['a'], ['a', 'b']]) {
      for (const status of [undefined, ...TASK_STATUSES]) {
        const query = { sort, limit: 5, ...(projects && { projects }), ...(status && { status }) }
        await queue.list(query)
        await queue.list({ ...query, after })
      }
    }
  }
  expect(asked.size).toBeGreaterThan(150)
  const params = { system: 's', project: 'a', projects: '["a"]', key: 1, id: 'x', limit: 5 }
  for (const sql of asked) {
    const plan = db
      .prepare<typeof params, { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
      .all(params)
      .map(({ detail }) => detail)
    const [first = ''] = plan
    expect(first).toMatch(/USING (COVERING )?INDEX/)
    // Of what is queued or runs there is little; without a filter no row is passed over.
    if (/tasks_(queued|running) |autoindex/.test(first)) continue
    expect([sql, plan]).toEqual([sql, expect.arrayContaining([expect.stringContaining('COVERING INDEX')])])
    expect(plan.join()).not.toContain('TEMP B-TREE')
  }
})

test.each(['queued', 'running', 'failed', 'cancelled', 'dead'] as const)(
  'what is %s is counted by an index',
  async (status) => {
    using home = temporaryHome()
    const db = openForTest(home.file)
    onTestFinished(() => db.close())
    const asked: string[] = []
    const prepare: typeof db.prepare = (sql) => {
      asked.push(sql)
      return db.prepare(sql)
    }
    const queue = createSqliteQueue({
      db: { ...db, prepare },
      system: 's',
      worker: 'a',
      clock: () => 5,
      random: () => 0.5,
    })
    asked.splice(0)
    await queue.count(status)
    expect(asked).toHaveLength(1)
    const plan = db
      .prepare<Record<string, string>, { detail: string }>(`EXPLAIN QUERY PLAN ${asked[0]}`)
      .all({ system: 's' })
    expect(plan[0]?.detail).toMatch(/^SEARCH tasks USING COVERING INDEX tasks_(queued|running|ended_badly) /)
  },
)

test('counting by project reads no task, and finds each', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => db.close())
  const queue = createSqliteQueue({ db, system: 's', worker: 'a', clock: () => 5, random: () => 0.5 })
  await queue.register()
  const asked: string[] = []
  const prepare: typeof db.prepare = (sql) => {
    asked.push(sql)
    return db.prepare(sql)
  }
  const counts = createQueueCounts({ ...db, prepare }, 's')
  for (const project of ['x', 'x', 'x', 'y']) await queue.insert(newTask({ project }))
  const { task: dropped } = await queue.insert(newTask({ project: 'x' }))
  await queue.cancel(dropped.id, '')
  const [first] = await queue.claim(2, from(['x']))
  if (first !== undefined) await queue.finish(reportOf(first, 'succeeded'))
  expect(
    (await counts.byProject()).toSorted((a, b) => (a.status + a.project < b.status + b.project ? -1 : 1)),
  ).toEqual([
    { project: 'x', status: 'cancelled', count: 1 },
    { project: 'x', status: 'queued', count: 1 },
    { project: 'y', status: 'queued', count: 1 },
    { project: 'x', status: 'running', count: 1 },
    { project: 'x', status: 'succeeded', count: 1 },
  ])
  const plan = db
    .prepare<{ system: string }, { detail: string }>(`EXPLAIN QUERY PLAN ${asked[0]}`)
    .all({ system: 's' })
    .map(({ detail }) => detail)
  expect(plan.filter((line) => line.includes(' tasks '))).toEqual(
    ['queued', 'running', 'ended_badly', 'by_project'].map((name) =>
      expect.stringMatching(`COVERING INDEX tasks_${name}( |$)`),
    ),
  )
})

test('a claim of hundreds, and prunes of thousands, come in portions that hold nobody up', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  db.prepare('PRAGMA synchronous = OFF').run({})
  let now = 5
  const random = () => 0.5
  const queue = createSqliteQueue({
    db,
    system: 's',
    worker: 'a',
    clock: () => now,
    random,
    maxQueued: 2_000,
  })
  await queue.register()
  for (let count = 0; count < 1_200; count += 1) {
    await queue.insert(newTask({ project: `p${count % 7}`, priority: count % 5 === 0 ? 9 : 0 }))
  }
  const claimed = await queue.claim(1_500, from(['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6']))
  expect(claimed).toHaveLength(1_200)
  const replies = await queue.finishMany(claimed.map((task) => reportOf(task, 'succeeded')))
  expect(new Set(replies)).toEqual(new Set(['succeeded']))
  now += 10_000
  expect([await queue.prune(1_000), await queue.prune(1_000), await queue.prune(1_000)]).toEqual([
    1_000, 200, 0,
  ])
  db.close()
})
