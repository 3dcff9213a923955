import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { openDatabase } from '../src/store/database.ts'
import { createHookEvents, type NewHookEvent } from '../src/store/hook-events.ts'
import { createSearch } from '../src/store/search.ts'
import type { Bench, Row } from './row.ts'

const EVENTS = 200_000
const TASKS = 400
/** No beginning has many more words than another. */
const WORDS = Array.from(
  { length: 20_000 },
  (_, index) => ((index * 7919 + 5000) % 1_679_616).toString(36).split('').toReversed().join('') + 'ing',
)

/** Words as in a language: a few stand everywhere, most nowhere. */
function text(random: () => number, length: number): string {
  return Array.from({ length }, () => WORDS[Math.floor(WORDS.length * random() ** 4)]).join(' ')
}

function events(from: number, count: number, random: () => number): NewHookEvent[] {
  return Array.from({ length: count }, (_, index) => {
    const id = from + index
    const command = `${text(random, 12)} ${id % 1000 === 7 ? 'migration failed' : ''}`
    const name = ['PreToolUse', 'PostToolUse', 'PostToolUse', 'Stop'][id % 4] ?? 'Stop'
    const payload = {
      hook_event_name: name,
      tool_name: 'Bash',
      tool_input: { command },
      tool_response: { stdout: text(random, 60), stderr: '' },
      duration_ms: id % 5000,
      last_assistant_message: text(random, 60),
      filler: 'x'.repeat(700),
    }
    const taskId = `task-${id % TASKS}`
    return {
      fileName: `${taskId}.1/${id}`,
      taskId,
      attempt: 1,
      claudeSessionId: 's',
      hookEventName: name,
      at: id,
      payload,
    }
  })
}

/** Search over 200,000 events, in ms at the 95th percentile, and what the index costs the ingest. */
export const bench: Bench = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-bench-search-'))
  try {
    const rows: Row[] = []
    const perSecond = (withIndex: boolean, count: number) => {
      const file = join(folder, withIndex ? 'with.db' : 'without.db')
      const migrationsDir = join(import.meta.dirname, '../migrations/sqlite')
      const db = openDatabase({ file, migrationsDir, clock: Date.now })
      db.prepare(
        "INSERT INTO projects (name, dir, trusted, allowed_tools, disallowed_tools, created_at) VALUES ('a', '/a', 1, '[]', '[]', 1)",
      ).run({})
      const task = db.prepare<{ id: string; project: string }>(
        `INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt, failures, lost_leases, scheduled_at, cancel_requested, created_at)
         VALUES (:id, 'local', :project, 'x', 0, '[]', '[]', 'queued', 0, 0, 0, 1, 0, 1)`,
      )
      for (let id = 0; id < TASKS; id++)
        task.run({ id: `task-${id}`, project: id === 0 ? 'rare-one' : 'usual' })
      const hookEvents = createHookEvents(db)
      const random = seeded()
      let ms = 0
      for (let from = 0; from < count; from += 50) {
        const batch = events(from, 50, random)
        const before = performance.now()
        hookEvents.insertBatch(batch)
        ms += performance.now() - before
      }
      const search = createSearch(db)
      const steps: number[] = []
      for (let more = withIndex; more;) {
        const before = performance.now()
        more = search.index()
        steps.push(performance.now() - before)
      }
      db.close()
      const indexMs = steps.reduce((sum, step) => sum + step, 0)
      return {
        file,
        rate: (count * 1000) / ms,
        both: (count * 1000) / (ms + indexMs),
        step: quantile(steps, 0.99),
      }
    }
    const without = perSecond(false, 20_000)
    const { file, both, step } = perSecond(true, EVENTS)
    rows.push({
      name: 'events stored a second, without and with the index behind',
      peer: without.rate,
      ours: both,
      ratio: both / without.rate,
      unit: '1/s',
      goal: 'never in the commit of the ingest',
    })
    rows.push({
      name: 'one step of the index, p99',
      peer: null,
      ours: step,
      ratio: null,
      unit: 'ms',
      goal: '< 20',
    })
    const native = new Sqlite(file, { readonly: true })
    const indexBytes = native.prepare('SELECT sum(length(block)) AS bytes FROM event_search_data').get() as {
      bytes: number
    }
    native.close()
    rows.push({
      name: 'size of the index, share of the database',
      peer: statSync(file).size / 1e6,
      ours: indexBytes.bytes / 1e6,
      ratio: indexBytes.bytes / statSync(file).size,
      unit: 'MB',
      goal: 'small',
    })

    const db = openDatabase({
      file,
      migrationsDir: join(import.meta.dirname, '../migrations/sqlite'),
      clock: Date.now,
    })
    const search = createSearch(db)
    const queries: Record<string, () => { text: string; project?: string; since?: number }> = {
      '"migration failed"': () => ({ text: '"migration failed"' }),
      'a frequent word': () => ({ text: WORDS[0] ?? '' }),
      'two frequent words as a phrase': () => ({ text: `"${WORDS[1]} ${WORDS[2]}"` }),
      'six words': () => ({ text: WORDS.slice(0, 6).join(' ') }),
      'a beginning': () => ({ text: `${WORDS[1]?.slice(0, 3)}*` }),
      'a frequent word in a rare project': () => ({ text: WORDS[0] ?? '', project: 'rare-one' }),
      'a rare word since lately': () => ({ text: 'migration', since: EVENTS - 1000 }),
      'a word that is not there': () => ({ text: `absent ${WORDS[0]}` }),
    }
    const all: number[] = []
    for (const [name, query] of Object.entries(queries)) {
      const times: number[] = []
      for (let round = 0; round < 25; round++) {
        const { text, project = null, since = null } = query()
        const before = performance.now()
        search.find({ text, project, since, before: null, limit: 20 })
        times.push(performance.now() - before)
      }
      all.push(...times)
      rows.push({
        name: `search, ${name}, p95`,
        peer: null,
        ours: quantile(times, 0.95),
        ratio: null,
        unit: 'ms',
        goal: '< 150',
      })
    }
    rows.push({
      name: `search over ${EVENTS} events, all of these, p95`,
      peer: null,
      ours: quantile(all, 0.95),
      ratio: null,
      unit: 'ms',
      goal: '< 150',
    })
    db.close()
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function quantile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0
}

/** The same numbers in each run. */
function seeded(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
