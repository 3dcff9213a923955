import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { pino } from 'pino'
import { createRedactor } from '../src/core/redact.ts'
import { openDatabase } from '../src/store/database.ts'
import { createHookEvents } from '../src/store/hook-events.ts'
import { createIngest } from '../src/supervisor/ingest/ingest.ts'
import { toNewEvent } from '../src/supervisor/ingest/spool-event.ts'
import { lookAt, readSmallText } from '../src/supervisor/ingest/spool.ts'
import { compare, median, type Bench, type Row } from './row.ts'

const EVENTS = 5000
const SPOOLS = 10
const ROUNDS = 5
const GROUP = 50
const RATE_PER_S = 500
const SECONDS = 10

/**
 * Events of 2 KB on their way from spool files to durable rows (`synchronous = FULL`). What group commit gives is told
 * by a reader that does our work for each event, by our own functions, and commits one by one: looks at the file, reads
 * it, redacts, describes, stores the same columns, removes it; in a plain loop, without our turns and order. A lean one
 * that redacts and describes nothing is printed too: it is beaten by less, for it does less. Of better-sqlite3 alone, 50
 * rows of that text a commit: with the few columns that a row must have, and with all that we store (made before the
 * time is taken).
 */
export const bench: Bench = async () => {
  const oneByOne: number[] = []
  const lean: number[] = []
  const ours: number[] = []
  const raw: number[] = []
  const stored: number[] = []
  const sameRows: number[] = []
  const delays: number[] = []
  const idle: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    oneByOne.push(await inHome(storeOneByOne))
    lean.push(await inHome(storeLean))
    const { ms, loopDelayMs } = await inHome(drain)
    ours.push(ms)
    delays.push(loopDelayMs)
    idle.push(await idleDelay())
    raw.push(await inHome((home) => storeRaw(home, INSERT, rawRow)))
    sameRows.push(await inHome((home) => storeRaw(home, INSERT_ALL, wholeRow)))
    stored.push(await inHome(storeTexts))
  }
  const latency = await inHome(underLoad)
  const [p50 = NaN, p99 = NaN] = [0.5, 0.99].map((part) => quantile(latency, part))
  return [
    ratioRow('files to rows, 2 KB (events/s; the same work, a commit each)', 8, oneByOne, ours),
    {
      ...ratioRow('files to rows, 2 KB (events/s; a lean reader, a commit each)', 8, lean, ours),
      goal: 'less than above',
    },
    {
      name: 'event loop delay meanwhile, p99 (peer: of an idle loop)',
      peer: median(idle),
      ours: median(delays),
      ratio: null,
      unit: 'ms',
      goal: 'under 20 ms',
    },
    ratioRow('texts to rows (events/s; better-sqlite3 alone, 7 columns)', 0.5, raw, stored),
    ratioRow('texts to rows (events/s; better-sqlite3 alone, the same rows)', 0.5, sameRows, stored),
    ratioRow('files to rows (events/s; better-sqlite3 alone, the same rows, no files)', 0.5, sameRows, ours),
    {
      name: `spool to row at ${RATE_PER_S}/s, p50`,
      peer: null,
      ours: p50,
      ratio: null,
      unit: 'ms',
      goal: 'under 10 ms',
    },
    {
      name: `spool to row at ${RATE_PER_S}/s, p99`,
      peer: null,
      ours: p99,
      ratio: null,
      unit: 'ms',
      goal: 'under 50 ms',
    },
  ]
}

/** Times become events per second; the ratio stays peer's time by ours. */
function ratioRow(name: string, goal: number, peerMs: number[], oursMs: number[]): Row {
  const row = compare(name, 'events/s', goal, peerMs, oursMs)
  return { ...row, peer: (EVENTS * 1000) / (row.peer ?? NaN), ours: (EVENTS * 1000) / row.ours }
}

type Home = { folder: string; spools: string[] }

async function inHome<T>(work: (home: Home) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-bench-ingest-'))
  const spools = Array.from({ length: SPOOLS }, (_, index) => join(folder, `spool-${index}`))
  for (const spool of spools) mkdirSync(spool)
  try {
    return await work({ folder, spools })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What the client sends after an edit, 2 KB. */
function payload(number: number, more: object = {}): string {
  const line = `  const value${number} = compute(input[${number}], options)\n`
  return JSON.stringify({
    session_id: '59c4ae46-e6fe-4316-a65c-27ce35410755',
    transcript_path: '/home/me/.claude/projects/-code-app/59c4ae46-e6fe-4316-a65c-27ce35410755.jsonl',
    cwd: '/code/app',
    permission_mode: 'acceptEdits',
    hook_event_name: 'PostToolUse',
    tool_name: 'Edit',
    tool_input: { file_path: '/code/app/src/a.ts', old_string: line, new_string: line.toUpperCase() },
    tool_response: {
      filePath: '/code/app/src/a.ts',
      oldString: line,
      newString: line.toUpperCase(),
      originalFile: line.repeat(20),
      structuredPatch: [{ oldStart: 1, lines: [`-${line}`, `+${line.toUpperCase()}`] }],
    },
    tool_use_id: `toolu_${number}`,
    duration_ms: 12,
    ...more,
  })
}

function fill({ spools }: Home): void {
  for (let number = 0; number < EVENTS; number++)
    writeFileSync(join(spools[number % SPOOLS] ?? '', `${number}.json`), payload(number))
}

function open(home: Home) {
  const migrationsDir = resolve(import.meta.dirname, '../migrations/sqlite')
  const db = openDatabase({ file: join(home.folder, 'ccm.db'), migrationsDir, clock: Date.now })
  return { db, hookEvents: createHookEvents(db) }
}

/** The rows are the same; each is committed by itself. */
function storeOneByOne(home: Home): number {
  fill(home)
  const { db, hookEvents } = open(home)
  const from = performance.now()
  for (const [index, folder] of home.spools.entries())
    for (const name of readdirSync(folder)) {
      const file = lookAt(folder, name)
      const read = file === null ? null : readSmallText(`${folder}/${name}`)
      if (file === null || read === null) throw new Error('An event of 2 KB is a small file.')
      hookEvents.insertBatch([toNewEvent({ taskId: `t${index}`, attempt: 1 }, file, read, CONTEXT)])
      unlinkSync(`${folder}/${name}`)
    }
  const ms = performance.now() - from
  db.close()
  return ms
}

/** Stores what a row must have, and neither redacts nor describes. */
function storeLean(home: Home): number {
  fill(home)
  open(home).db.close()
  const db = new Sqlite(join(home.folder, 'ccm.db'))
  db.pragma('synchronous = FULL')
  const insert = db.prepare(INSERT)
  const from = performance.now()
  for (const spool of home.spools)
    for (const name of readdirSync(spool)) {
      const text = readFileSync(join(spool, name), 'utf8')
      insert.run(rowOf(`${spool}/${name}`, text))
      unlinkSync(join(spool, name))
    }
  const ms = performance.now() - from
  db.close()
  return ms
}

const INSERT = `INSERT INTO hook_events (file_name, task_id, attempt, session, hook_event_name, at, payload)
  VALUES (?, 't', 1, ?, ?, ?, ?) ON CONFLICT (file_name) DO NOTHING`
const INSERT_ALL = `INSERT INTO hook_events (file_name, task_id, attempt, session, hook_event_name, at, payload, agent_id,
    kind, phase, tool, tool_use_id, path, started, duration_ms, exit_code, detail, size, truncated, sha256, suspect)
  VALUES (?${', ?'.repeat(20)}) ON CONFLICT (file_name) DO NOTHING`

function rowOf(file: string, text: string) {
  const { session_id, hook_event_name } = JSON.parse(text) as Record<string, string>
  return [file, session_id ?? null, hook_event_name ?? '', Date.now(), text]
}

function storeRaw(home: Home, sql: string, rowAt: (number: number) => (string | number | null)[]): number {
  open(home).db.close()
  const rows = Array.from({ length: EVENTS }, (_, number) => rowAt(number))
  const db = new Sqlite(join(home.folder, 'ccm.db'))
  db.pragma('synchronous = FULL')
  const insert = db.prepare(sql)
  const group = db.transaction((from: number) => {
    for (const row of rows.slice(from, from + GROUP)) insert.run(row)
  })
  const from = performance.now()
  for (let number = 0; number < EVENTS; number += GROUP) group.immediate(number)
  const ms = performance.now() - from
  db.close()
  return ms
}

const rawRow = (number: number) => [`${number}`, 's', 'PostToolUse', number, payload(number)]

/** The row that `storeTexts` makes of it. */
function wholeRow(number: number): (string | number | null)[] {
  const { fileName, taskId, attempt, claudeSessionId, hookEventName, at, record } = eventOf(
    number,
    payload(number),
  )
  if (record === undefined) throw new Error('An event from a file has a record.')
  const { agentId, kind, phase, tool, toolUseId, path, started, durationMs, exitCode, detail } =
    record.columns
  return [
    fileName,
    taskId,
    attempt,
    claudeSessionId,
    hookEventName,
    at,
    record.text,
    agentId,
    kind,
    phase,
    tool,

    toolUseId,
    path,
    started,
    durationMs,
    exitCode,
    JSON.stringify(detail),
    record.size,
    0,
    null,
    null,
  ]
}

const CONTEXT = { redactor: createRedactor(), now: Date.now(), suspect: () => null }

/** As the ingest makes it of a file, named as the script names them. */
function eventOf(number: number, text: string) {
  const file = { name: `${number}.${randomUUID()}.json`, at: 1 }
  return toNewEvent({ taskId: 't', attempt: 1 }, file, { text, size: text.length, sha256: null }, CONTEXT)
}

/** Parsed, redacted, described and stored; without files. */
function storeTexts(home: Home): number {
  const { db, hookEvents } = open(home)
  const texts = Array.from({ length: EVENTS }, (_, number) => payload(number))
  const from = performance.now()
  for (let number = 0; number < EVENTS; number += GROUP)
    hookEvents.insertBatch(
      texts.slice(number, number + GROUP).map((text, index) => eventOf(number + index, text)),
    )
  const ms = performance.now() - from
  db.close()
  return ms
}

function ingestOf(home: Home, heard: (payload: Record<string, unknown>) => void) {
  const { db, hookEvents } = open(home)
  const ingest = createIngest({
    hookEvents,
    redactor: createRedactor(),
    clock: Date.now,
    logger: pino({ level: 'warn' }),
    onEvents: (_, events) => {
      for (const event of events) heard(event.payload)
    },
  })
  return { db, ingest }
}

/** What the machine itself does to a loop that has nothing to do. */
async function idleDelay(): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await sleep(1000)
  delay.disable()
  return delay.percentile(99) / 1e6
}

async function drain(home: Home): Promise<{ ms: number; loopDelayMs: number }> {
  fill(home)
  await sleep(50)
  let count = 0
  const all = Promise.withResolvers<void>()
  const { db, ingest } = ingestOf(home, () => {
    if (++count === EVENTS) all.resolve()
  })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const from = performance.now()
  for (const [index, folder] of home.spools.entries()) ingest.add({ taskId: `t${index}`, attempt: 1, folder })
  await all.promise
  const ms = performance.now() - from
  delay.disable()
  await ingest.close()
  db.close()
  return { ms, loopDelayMs: delay.percentile(99) / 1e6 }
}

/** Another process writes, as the hooks do; how long each event took from its rename to its commit. */
async function underLoad(home: Home): Promise<number[]> {
  const took: number[] = []
  const { db, ingest } = ingestOf(home, ({ sent }) =>
    took.push(performance.timeOrigin + performance.now() - Number(sent)),
  )
  for (const [index, folder] of home.spools.entries()) ingest.add({ taskId: `t${index}`, attempt: 1, folder })
  const writer = spawn(process.execPath, [import.meta.filename, 'write', ...home.spools], {
    stdio: 'inherit',
  })
  await new Promise((done) => writer.once('exit', done))
  await sleep(200)
  await ingest.close()
  db.close()
  return took
}

async function write(spools: string[]): Promise<void> {
  const from = performance.now()
  for (let number = 0; number < RATE_PER_S * SECONDS; number++) {
    const folder = spools[number % spools.length] ?? ''
    const part = join(folder, `.part.${number}`)
    writeFileSync(part, payload(number, { sent: performance.timeOrigin + performance.now() }))
    renameSync(part, join(folder, `${number}.json`))
    const dueMs = ((number + 1) * 1000) / RATE_PER_S - (performance.now() - from)
    if (dueMs > 1) await sleep(dueMs)
  }
}

function quantile(values: number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN
}

const [, program, mode, ...folders] = process.argv
if (program === import.meta.filename && mode === 'write') await write(folders)
