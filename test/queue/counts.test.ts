import { expect, onTestFinished, test } from 'vitest'
import { countsOfShared } from '../../src/queue/counts.ts'
import { createSqliteQueue } from '../../src/queue/sqlite.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { newTask } from './bench.ts'

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
