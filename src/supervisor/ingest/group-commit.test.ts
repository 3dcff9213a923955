import { mkdirSync, readFileSync, readdirSync, renameSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { createRedactor } from '../../core/redact.ts'
import { createHookEvents } from '../../store/hook-events.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createIngest } from './ingest.ts'

/** How many transactions a log holds: a frame that ends one says how many pages the database has after it. */
function commitsIn(wal: string): number {
  const log = readFileSync(wal)
  if (log.length === 0) return 0
  const [frame, salt] = [24 + log.readUInt32BE(8), log.toString('hex', 16, 24)]
  let commits = 0
  for (let at = 32; at + frame <= log.length; at += frame)
    if (log.readUInt32BE(at + 4) > 0 && log.toString('hex', at + 8, at + 16) === salt) commits++
  return commits
}

/** An ingest and `count` spools; `commits` is what SQLite wrote, `rows` what each call stored. */
function prepare(count: number) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  const other = new Sqlite(home.file)
  other.pragma('wal_checkpoint(TRUNCATE)')
  other.close()
  const hookEvents = createHookEvents(db)
  const rows: number[] = []
  const ingest = createIngest({
    hookEvents: {
      ...hookEvents,
      insertBatch(events) {
        const stored = hookEvents.insertBatch(events)
        rows.push(stored.length)
        return stored
      },
    },
    redactor: createRedactor(),
    clock: Date.now,
    logger: pino({ level: 'silent' }),
    onEvents: () => undefined,
  })
  const spools = Array.from({ length: count }, (_, index) => ({
    taskId: `t${index}`,
    attempt: 1,
    folder: join(home.folder, `spool${index}`),
  }))
  for (const { folder } of spools) mkdirSync(folder)
  onTestFinished(async () => {
    await ingest.close()
    db.close()
    home[Symbol.dispose]()
  })
  const put = (name: number, text = '') => {
    const { folder } = spools[name % count] ?? { folder: '' }
    writeFileSync(join(folder, `.part.${name}.x`), JSON.stringify({ hook_event_name: 'Stop', text }))
    renameSync(join(folder, `.part.${name}.x`), join(folder, `${name}.x.json`))
  }
  return {
    put,
    rows,
    spools,
    /** Reads all that came long ago, so that none of it waits to be ordered. */
    readAll: async () => {
      await sleep(50)
      for (const spool of spools) ingest.add(spool)
      await Promise.all(spools.map((spool) => ingest.read(spool)))
    },
    commits: () => commitsIn(`${home.file}-wal`),
    left: () => spools.flatMap(({ folder }) => readdirSync(folder)).length,
  }
}

test.for([1, 3, 120])('of 120 events in %i spools 50 are stored in a commit', async (count) => {
  const { put, readAll, rows, commits } = prepare(count)
  for (let number = 0; number < 120; number++) put(number)
  await readAll()
  expect(rows).toEqual([50, 50, 20])
  expect(commits()).toBe(3)
})

test('one that comes alone is stored alone, and waits for no other', async () => {
  const { put, readAll, rows, commits, left } = prepare(1)
  await readAll()
  for (let number = 1; number < 4; number++) {
    put(number)
    await expect.poll(commits).toBe(number)
    await expect.poll(left).toBe(0)
  }
  expect(rows).toEqual([1, 1, 1])
})

test('what comes to several spools while it gathers is one commit', async () => {
  const { put, readAll, rows, commits, left, spools } = prepare(4)
  await readAll()
  let number = 0
  // Each comes when the kernel tells of the one before, and before any timer: it reads notices until there is none.
  const putNext = (name: string | null) => {
    if (name === `${number}.x.json` && number < 39) put(++number)
  }
  for (const { folder } of spools) {
    const watcher = watch(folder, (_, name) => putNext(name))
    onTestFinished(() => watcher.close())
  }
  // It is idle again.
  await sleep(20)
  put(number)
  await expect.poll(() => number + left()).toBe(39)
  expect(rows).toEqual([40])
  expect(commits()).toBe(1)
})

test('a commit of large events ends at 1 MiB', async () => {
  const { put, readAll, rows, commits } = prepare(1)
  for (let number = 0; number < 5; number++) put(number, 'x'.repeat(600 * 1024))
  await readAll()
  expect(rows).toEqual([2, 2, 1])
  expect(commits()).toBe(3)
})
