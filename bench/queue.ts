import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClaimFilter, Queue, Report } from '../src/core/queue.ts'
import type { NewTask, Task } from '../src/core/task.ts'
import { createSqliteQueue } from '../src/queue/sqlite.ts'
import { openDatabase } from '../src/store/database.ts'
import { median, type Bench, type Row } from './row.ts'

const PROJECTS = Array.from({ length: 10 }, (_, index) => `project-${index}`)
const FILTER: ClaimFilter = { projects: PROJECTS, roles: null, labels: [] }
const MIGRATIONS = join(import.meta.dirname, '../migrations/sqlite')

type Opened = AsyncDisposable & {
  queue: Queue
  folder: string
  /** Adds tasks without waiting for the disk; everything else is as durable as in the daemon. */
  fill: (count: number) => Promise<void>
}

/** The embedded queue as the daemon opens it: WAL, synchronous FULL, a file on disk. */
export const bench: Bench = async () => {
  await using fresh = openQueue()
  const single: number[] = []
  const bare: number[] = []
  const batched: number[] = []
  for (let round = 0; round < 5; round += 1) {
    bare.push(await bareCommits(fresh.folder, 500))
    single.push(await oneByOne(fresh, 1_000))
    batched.push(await manyAtOnce(fresh, 1_000, 100))
  }
  await using old = openQueue()
  for (let past = 0; past < 100; past += 1) await manyAtOnce(old, 1_000, 1_000)
  const times = await claimTimes(old, 1_000, 3_000)
  const [floor, ours] = [median(bare), median(single)]
  const row = (name: string, ours: number, unit: string, goal: string): Row => {
    return { name, peer: null, ours, ratio: null, unit, goal }
  }
  return [
    {
      name: 'claim + finish, one by one (peer: two bare commits of one row)',
      peer: floor,
      ours,
      ratio: floor / ours,
      unit: 'tasks/s',
      goal: '>= 2,000, where the disk allows it',
    },
    row('claim + finish, 100 at a time', median(batched), 'tasks/s', '>= 30,000'),
    row('claim, 100,000 past and 1,000 queued: p50', percentile(times, 0.5), 'ms', 'report'),
    row('claim, 100,000 past and 1,000 queued: p99', percentile(times, 0.99), 'ms', '<= 2'),
  ]
}

function openQueue(): Opened {
  const folder = mkdtempSync(join(process.env['CCM_BENCH_DIR'] ?? tmpdir(), 'ccm-bench-queue-'))
  const db = openDatabase({ file: join(folder, 'ccm.db'), migrationsDir: MIGRATIONS, clock: Date.now })
  const queue = createSqliteQueue({
    db,
    system: 's',
    worker: 'w',
    clock: Date.now,
    random: Math.random,
    maxQueued: 1_000_000,
  })
  const durable = (mode: 'FULL' | 'OFF') => db.prepare(`PRAGMA synchronous = ${mode}`).run({})
  return {
    queue,
    folder,
    async fill(count) {
      await queue.register()
      durable('OFF')
      for (let index = 0; index < count; index += 1) await queue.insert(newTask(index))
      durable('FULL')
    },
    async [Symbol.asyncDispose]() {
      db.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What the disk allows: two commits a task, each of one small row, with the same durability. */
async function bareCommits(folder: string, count: number): Promise<number> {
  const file = join(folder, 'bare.db')
  const db = openDatabase({ file, migrationsDir: MIGRATIONS, clock: Date.now })
  const write = db.prepare<{ value: string }>(
    "INSERT INTO meta (key, value) VALUES ('bench', :value) ON CONFLICT (key) DO UPDATE SET value = :value",
  )
  const startedAt = performance.now()
  for (let index = 0; index < count * 2; index += 1) write.run({ value: String(index) })
  const seconds = (performance.now() - startedAt) / 1000
  db.close()
  return count / seconds
}

/** Tasks per second. */
async function oneByOne({ queue, fill }: Opened, count: number): Promise<number> {
  await fill(count)
  const startedAt = performance.now()
  for (let done = 0; done < count; done += 1) {
    for (const task of await queue.claim(1, FILTER)) await queue.finish(reportOf(task))
  }
  return count / ((performance.now() - startedAt) / 1000)
}

/** Tasks per second. */
async function manyAtOnce({ queue, fill }: Opened, count: number, portion: number): Promise<number> {
  await fill(count)
  const startedAt = performance.now()
  for (let done = 0; done < count; done += portion) {
    await queue.finishMany((await queue.claim(portion, FILTER)).map(reportOf))
  }
  return count / ((performance.now() - startedAt) / 1000)
}

/** Milliseconds of each claim, with always so many queued. */
async function claimTimes({ queue, fill }: Opened, queued: number, claims: number): Promise<number[]> {
  await fill(queued)
  const times: number[] = []
  for (let index = 0; index < claims; index += 1) {
    const startedAt = performance.now()
    const claimed = await queue.claim(1, FILTER)
    times.push(performance.now() - startedAt)
    for (const task of claimed) await queue.finish(reportOf(task))
    await queue.insert(newTask(index))
  }
  return times
}

function percentile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

function reportOf({ id: taskId, attempt }: Task): Report {
  return {
    taskId,
    attempt,
    outcome: 'succeeded',
    result: null,
    error: null,
    retryAfterMs: null,
    resume: null,
  }
}

function newTask(index: number): NewTask {
  return {
    project: PROJECTS[index % PROJECTS.length] ?? '',
    prompt: 'Fix the failing test in parser.ts, and say what was wrong.',
    role: null,
    model: null,
    priority: index % 3,
    timeoutS: null,
    permissionMode: null,
    allowedTools: [],
    disallowedTools: [],
    dedupeKey: null,
    dependsOn: [],
    scheduledAt: null,
    labels: [],
    maxTokens: null,
    maxCostUsd: null,
    inPlace: null,
    source: 'api',
    onlyWorker: null,
  }
}
