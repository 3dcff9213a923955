import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClaimFilter, Queue, Report } from '../src/core/task/queue.ts'
import { PLAIN_TASK, type NewTask, type Task } from '../src/core/task/task.ts'
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

/**
 * The embedded queue as the daemon opens it: WAL, synchronous FULL, a file on disk (below CCM_BENCH_DIR when set).
 * The peer is what the same disk does for a commit of one small row, measured in between. On a busy machine the CPU
 * rows tell more than the clock, best with CCM_BENCH_DIR in memory; caches that others use make them larger too.
 */
export const bench: Bench = async () => {
  await using fresh = openQueue()
  const bare: number[] = []
  const [single, batched]: [Pace[], Pace[]] = [[], []]
  for (let round = 0; round < 5; round += 1) {
    bare.push(...bareCommits(fresh.folder, 1_000))
    single.push(await work(fresh, 1_000, 1))
    batched.push(await work(fresh, 2_000, 100))
  }
  await using old = openQueue()
  for (let past = 0; past < 100; past += 1) await work(old, 1_000, 1_000)
  const times = await claimTimes(old, 1_000, 3_000)
  const commits = bareCommits(old.folder, 3_000)
  const commitsPerS = 1_000 / median(bare)
  return [
    pace('claim + finish, one by one (peer: its two commits, bare)', commitsPerS / 2, single, '>= 2,000'),
    pace('claim + finish, 100 at a time (peer: two bare commits)', commitsPerS * 50, batched, '>= 30,000'),
    cpu('CPU of claim + finish, one by one', single, '<= 240: two commits of 130 µs leave so much'),
    cpu('CPU of claim + finish, 100 at a time', batched, '<= 30'),
    latency('p50', 0.5, commits, times, 'report'),
    latency('p99', 0.99, commits, times, '<= 2'),
  ]
}

/** Of some tasks: how many per second of the clock, and microseconds of CPU for each. */
type Pace = { perS: number; cpuUs: number }

function pace(name: string, peer: number, ours: Pace[], goal: string): Row {
  const perS = median(ours.map((one) => one.perS))
  return { name, peer, ours: perS, ratio: peer / perS, unit: 'tasks/s', goal }
}

function cpu(name: string, ours: Pace[], goal: string): Row {
  return {
    name,
    peer: null,
    ours: median(ours.map(({ cpuUs }) => cpuUs)),
    ratio: null,
    unit: 'µs/task',
    goal,
  }
}

function latency(name: string, share: number, bare: number[], claims: number[], goal: string): Row {
  const [peer, ours] = [percentile(bare, share), percentile(claims, share)]
  return {
    name: `claim, 100,000 past and 1,000 queued: ${name} (peer: one bare commit)`,
    peer,
    ours,
    ratio: peer / ours,
    unit: 'ms',
    goal,
  }
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

/** What the disk allows: milliseconds of each commit of one small row, with the same durability. */
function bareCommits(folder: string, count: number): number[] {
  const db = openDatabase({ file: join(folder, 'bare.db'), migrationsDir: MIGRATIONS, clock: Date.now })
  const write = db.prepare<{ value: string }>(
    "INSERT INTO meta (key, value) VALUES ('bench', :value) ON CONFLICT (key) DO UPDATE SET value = :value",
  )
  const times: number[] = []
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now()
    write.run({ value: String(index) })
    times.push(performance.now() - startedAt)
  }
  db.close()
  return times
}

/** Claims and finishes `count` tasks, so many at a time. */
async function work({ queue, fill }: Opened, count: number, portion: number): Promise<Pace> {
  await fill(count)
  const startedAt = performance.now()
  const before = process.cpuUsage()
  for (let done = 0; done < count; done += portion) {
    const tasks = await queue.claim(portion, FILTER)
    if (portion > 1) await queue.finishMany(tasks.map(reportOf))
    else for (const task of tasks) await queue.finish(reportOf(task))
  }
  const { user, system } = process.cpuUsage(before)
  return { perS: count / ((performance.now() - startedAt) / 1_000), cpuUs: (user + system) / count }
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
    ...PLAIN_TASK,
    priority: index % 3,
    source: 'api',
  }
}
