import { expect, onTestFinished, test } from 'vitest'
import { countsOfShared, createQueueCounts } from '../../src/queue/counts.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { from, newTask } from './bench.ts'

test('since when a task of a shared queue waits is told among any number of tasks', async () => {
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
  expect(await countsOfShared(queue).oldestQueuedAt(9000)).toBe(task.createdAt)
})

test('the tasks of some projects are counted to the end, those that run by their workers', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => db.close())
  db.prepare('PRAGMA synchronous = OFF').run({})
  const asked: string[] = []
  const prepare: typeof db.prepare = (sql) => {
    asked.push(sql)
    return db.prepare(sql)
  }
  const own = { db, system: 's', clock: () => 1, random: () => 0.5, maxQueued: 3000 }
  const queue = createSqliteQueue({ ...own, worker: 'w' })
  await queue.register()
  for (let count = 0; count < 2003; count++)
    await queue.insert(newTask({ project: count === 7 ? 'other' : `p${count % 2}` }))
  await queue.claim(2, from(['p0']))
  await queue.claim(1, from(['other']))
  const counts = { queued: 2000, running: 2, byWorker: new Map([['w', 2]]) }
  expect(await countsOfShared(queue).ofProjects(['p0', 'p1'])).toEqual(counts)
  expect(await createQueueCounts({ ...db, prepare }, 's').ofProjects(['p0', 'p1'])).toEqual(counts)
  const planOf = (sql: string) =>
    db
      .prepare<{ system: string; projects: string }, { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`)
      .all({ system: 's', projects: '[]' })[0]?.detail
  expect(asked.filter((sql) => sql.includes(':projects')).map(planOf)).toEqual([
    expect.stringMatching(/^SEARCH tasks USING COVERING INDEX tasks_queued .*project=/),
    expect.stringMatching(/^SEARCH tasks USING INDEX tasks_running .*project=/),
  ])
})
