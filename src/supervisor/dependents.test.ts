import { expect, onTestFinished, test } from 'vitest'
import { PLAIN_TASK, type NewTask } from '../core/task/task.ts'
import { createSqliteQueue } from '../queue/sqlite.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import { cancelledWith } from './dependents.ts'

const NEW: NewTask = {
  project: 'app',
  prompt: 'Fix it.',
  ...PLAIN_TASK,
  source: 'api',
}

async function start() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  let now = 1
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock: () => now++, random: () => 0.5 })
  await queue.register()
  const add = async (...dependsOn: string[]) => (await queue.insert({ ...NEW, dependsOn })).task.id
  return { queue, add }
}

test('whoever follows a task that was cancelled with another hears of it, all the way down', async () => {
  const { queue, add } = await start()
  const first = await add()
  const second = await add(first)
  const third = await add(second)
  const other = await add()
  expect(await cancelledWith(queue, first)).toEqual([])
  await queue.cancel(other, '')
  await queue.cancel(first, 'Not needed.')
  expect(await cancelledWith(queue, first)).toEqual([second, third])
  expect(await cancelledWith(queue, 'nobody')).toEqual([])
})

test('a task that succeeded has cancelled nobody', async () => {
  const { queue, add } = await start()
  const first = await add()
  await add(first)
  const [claimed] = await queue.claim(1, { projects: ['app'], roles: null, labels: [] })
  const lease = { taskId: first, attempt: claimed?.attempt ?? 0 }
  await queue.finish({
    ...lease,
    outcome: 'succeeded',
    result: null,
    error: null,
    retryAfterMs: null,
    resume: null,
  })
  expect(await cancelledWith(queue, first)).toEqual([])
})
