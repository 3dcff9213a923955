import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { PLAIN_TASK, type NewTask } from '../../core/task/task.ts'
import { createSqliteQueue } from '../../queue/sqlite.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createRetention } from './retention.ts'

const DAY_MS = 86_400_000
const NEW: NewTask = {
  project: 'app',
  prompt: 'Fix it.',
  ...PLAIN_TASK,
  source: 'api',
}

/** Looks of a retention, each started by `look`, which answers how long it waits for the next one. */
function start(prune: (olderThanMs: number) => Promise<number>, keepMs: number) {
  let waits: (() => void) | null = null
  let waited: ((ms: number) => void) | null = null
  const looked = () => new Promise<number>((resolve) => void (waited = resolve))
  const first = looked()
  const retention = createRetention({
    queue: { prune },
    keepMs,
    logger: pino({ level: 'silent' }),
    wait: (ms, signal) => {
      waited?.(ms)
      return new Promise((resolve) => {
        waits = () => resolve(null)
        signal.addEventListener('abort', () => resolve(null))
      })
    },
  })
  onTestFinished(() => retention.close())
  const look = (): Promise<number> => {
    const next = looked()
    waits?.()
    return next
  }
  return { retention, first, look }
}

test('tasks that are over go once they were kept long enough; those that live and those with a young key stay', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => db.close())
  let now = 1
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock: () => now, random: () => 0.5 })
  await queue.register()
  const over = async (more: Partial<NewTask> = {}): Promise<string> => {
    const { task } = await queue.insert({ ...NEW, ...more })
    await queue.cancel(task.id, '')
    return task.id
  }
  const old = await over()
  const keyed = await over({ dedupeKey: 'gh:1' })
  const { task: waiting } = await queue.insert(NEW)
  now += 2 * DAY_MS
  const young = await over()
  const ids = async () => (await queue.list({ limit: 9 })).map(({ id }) => id).toSorted()
  const { first, look } = start(queue.prune, DAY_MS)
  // More may be left when something was deleted; else an hour goes by.
  expect(await first).toBe(200)
  expect(await ids()).toEqual([keyed, waiting.id, young].toSorted())
  expect(await ids()).not.toContain(old)
  expect(await look()).toBe(3_600_000)
  now += 4.9 * DAY_MS
  await look()
  expect(await ids()).toEqual([keyed, waiting.id].toSorted())
  now += 0.2 * DAY_MS
  await look()
  expect(await ids()).toEqual([waiting.id])
})

test('a queue that fails is asked again in an hour', async () => {
  const asked: number[] = []
  const prune = async (olderThanMs: number): Promise<number> => {
    asked.push(olderThanMs)
    if (asked.length === 1) throw new Error('away')
    return 0
  }
  const { first, look } = start(prune, 5)
  expect(await first).toBe(3_600_000)
  expect(await look()).toBe(3_600_000)
  expect(asked).toEqual([5, 5])
})

test('once it is closed nothing is deleted any more', async () => {
  let asked = 0
  const { first, retention } = start(async () => (asked += 1), 5)
  await first
  await retention.close()
  expect(asked).toBe(1)
})

test('its own wait ends when it is closed', async () => {
  const retention = createRetention({
    queue: { prune: async () => 0 },
    keepMs: 5,
    logger: pino({ level: 'silent' }),
  })
  await expect(retention.close()).resolves.toBe(undefined)
})
