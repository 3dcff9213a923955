import { createHash } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { HookEvent } from '../../core/agent/hook-event.ts'
import { toHookEventJson } from '../../protocol/hook-event.ts'
import { createRedactor } from '../../core/redact.ts'
import { createHookEvents, type HookEvents } from '../../store/hook-events.ts'
import { createSearch } from '../../store/search.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createIngest } from './ingest.ts'
import { readLargeText, readSmallText } from './spool.ts'

function prepare(
  wrap: (events: HookEvents) => HookEvents = (events) => events,
  more: Partial<Parameters<typeof createIngest>[0]> = {},
) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  const hookEvents = wrap(createHookEvents(db))
  const heard: HookEvent[] = []
  const logged: string[] = []
  let clock: () => number = Date.now
  const ingest = createIngest({
    hookEvents,
    redactor: createRedactor(),
    clock: () => clock(),
    logger: pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) }),
    onEvents: (_, events) => void heard.push(...events),
    ...more,
  })
  const folder = join(home.folder, 'spool')
  mkdirSync(folder)
  const spool = { taskId: 't1', attempt: 1, folder }
  onTestFinished(async () => {
    await ingest.close()
    db.close()
    home[Symbol.dispose]()
  })
  const stored = () => createHookEvents(db).ofTask('t1', { limit: 20_000 })
  return {
    ingest,
    spool,
    folder,
    heard,
    logged,
    stored,
    setClock: (other: () => number) => (clock = other),
    odd: () => createHookEvents(db).oddOnes(),
    search: (text: string) => {
      const search = createSearch(db)
      while (search.index());
      return search.find({ text, project: null, since: null, before: null, limit: 10 })
    },
    names: () => stored().map((event) => event.hookEventName),
  }
}

/** As the hook script does it: beside it, then renamed. */
function put(folder: string, name: string, payload: unknown, at?: number) {
  const part = join(folder, `.part.${name}`)
  writeFileSync(part, typeof payload === 'string' ? payload : JSON.stringify(payload))
  if (at !== undefined) utimesSync(part, at, at)
  renameSync(part, join(folder, `${name}.json`))
}
const event = (name: string, more: object = {}) => ({ hook_event_name: name, session_id: 'c0ffee', ...more })

test('what waits is read in the order it was written, and what comes later at once; files go, events stay', async () => {
  const { ingest, spool, folder, heard, names } = prepare()
  put(folder, 'c', event('First'), 100)
  put(folder, 'a', event('Second'), 101)
  put(folder, 'b', event('Third'), 102)
  ingest.add(spool)
  await expect.poll(names).toEqual(['First', 'Second', 'Third'])
  put(folder, 'x', event('Fourth'))
  await expect.poll(names).toContain('Fourth')
  expect(heard.map(({ hookEventName }) => hookEventName)).toEqual(names())
  expect(heard[0]).toMatchObject({ taskId: 't1', attempt: 1, claudeSessionId: 'c0ffee', at: 100_000 })
  await expect.poll(() => readdirSync(folder)).toEqual([])
})

test('events of one tick of a coarse clock keep the order the kernel announced', async () => {
  const { ingest, spool, folder, names } = prepare()
  ingest.add(spool)
  const wanted = ['e5', 'e1', 'e4', 'e2', 'e3', 'e9', 'e7']
  for (const name of wanted) put(folder, name, event(name), 500)
  await expect.poll(() => names().length).toBe(wanted.length)
  expect(names()).toEqual(wanted)
})

test('events of one tick that nobody announced go by the pids of their writers, which begin anew at their end', async () => {
  const { ingest, spool, folder, names } = prepare()
  const wanted = ['1.00-32760.a', '1.00-32766.b', '1.00-301.c', '1.00-305.d']
  for (const name of wanted.toReversed()) put(folder, name, event(name), 500)
  ingest.add(spool)
  await ingest.remove(spool)
  expect(names()).toEqual(wanted)
})

test('without a time in their names they go by the pids all the same', async () => {
  const { ingest, spool, folder, names } = prepare()
  const wanted = ['299.7c-41', '301.2a-7', '305.99-3']
  for (const name of wanted.toReversed()) put(folder, name, event(name), 500)
  ingest.add(spool)
  await ingest.remove(spool)
  expect(names()).toEqual(wanted)
})

test('what waited for a disk that hung comes in any order, and is stored as it began', async () => {
  const { ingest, spool, folder, names, setClock } = prepare()
  ingest.add(spool)
  put(folder, `${uptime().toFixed(2)}-100.a`, event('E0'))
  await expect.poll(names).toEqual(['E0'])
  const began = uptime() - 6
  const stems = Array.from(
    { length: 7 },
    (_, place) => `${(began + place * 0.8).toFixed(2)}-${200 + place}.x`,
  )
  // One whose file had begun, and six that had not; their client goes on meanwhile.
  const [first = '', ...blocked] = stems
  const finish = begin({ folder, setClock }, first)
  for (const stem of blocked.toReversed()) {
    put(folder, stem, event(`E${stems.indexOf(stem) + 1}`))
    await sleep(5)
  }
  put(folder, `${uptime().toFixed(2)}-300.y`, event('E8'))
  finish(event('E1'))
  await expect.poll(() => names().length).toBe(9)
  expect(names()).toEqual(Array.from({ length: 9 }, (_, number) => `E${number}`))
})

test('more than one batch comes in order', async () => {
  const { ingest, spool, folder, names } = prepare()
  const wanted = Array.from({ length: 120 }, (_, number) => `E${number}`)
  // Names that sort the other way round.
  for (const [number, name] of wanted.entries()) put(folder, `${1000 - number}`, event(name), 1000 + number)
  ingest.add(spool)
  await ingest.remove(spool)
  expect(names()).toEqual(wanted)
})

test('a file that is still there after its event was stored is only removed', async () => {
  const { ingest, spool, folder, heard, names } = prepare()
  put(folder, 'a', event('Stop'))
  ingest.add(spool)
  await expect.poll(names).toEqual(['Stop'])
  await expect.poll(() => readdirSync(folder)).toEqual([])
  // As after a kill between the commit and the removal.
  put(folder, 'a', event('Stop'))
  await expect.poll(() => readdirSync(folder)).toEqual([])
  expect(names()).toEqual(['Stop'])
  expect(heard).toHaveLength(1)
})

test('a link, a pipe and a folder are neither followed nor waited for', async () => {
  const { ingest, spool, folder, names, logged } = prepare()
  const secret = join(folder, '../secret')
  writeFileSync(secret, JSON.stringify(event('Secret')))
  symlinkSync(secret, join(folder, 'link.json'))
  spawnSync('mkfifo', [join(folder, 'pipe.json')])
  mkdirSync(join(folder, 'folder.json'))
  put(folder, 'z', event('Stop'))
  ingest.add(spool)
  await expect.poll(names).toEqual(['Stop'])
  await expect.poll(() => readdirSync(folder)).toEqual([])
  expect(existsSync(secret)).toBe(true)
  expect(logged.join()).toContain('ODD_SPOOL_FILE')
})

test('an empty file, garbage and what is no object are kept as unreadable events', async () => {
  const { ingest, spool, folder, stored } = prepare()
  put(folder, 'a', '', 1)
  put(folder, 'b', '{"hook_event_name":', 2)
  put(folder, 'c', '[1]', 3)
  put(folder, 'd', 'null', 4)
  put(folder, 'e', event('Stop', { session_id: 5 }), 5)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(5)
  expect(stored().map(({ hookEventName }) => hookEventName)).toEqual([
    ...Array.from({ length: 4 }, () => 'Unreadable'),
    'Stop',
  ])
  expect(stored()[2]?.payload).toEqual({ ccm_error: 'The payload is not an object.', ccm_text: '[1]' })
  expect(stored()[1]?.payload).toMatchObject({
    ccm_text: '{"hook_event_name":',
    ccm_error: expect.any(String),
  })
})

/**
 * An event whose writing has begun; the answer ends it. Until then the clock of who reads stands still: it waits a
 * second for one that is being written, which on a busy machine is over before the rest of a test.
 */
function begin({ folder, setClock }: Pick<ReturnType<typeof prepare>, 'folder' | 'setClock'>, name: string) {
  const part = join(folder, `.part.${name}`)
  writeFileSync(part, '')
  const { mtimeMs } = statSync(part)
  setClock(() => mtimeMs + 500)
  return (payload: object) => {
    setClock(Date.now)
    writeFileSync(part, JSON.stringify(payload))
    renameSync(part, join(folder, `${name}.json`))
  }
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test.for(['before it began', 'after it began'])(
  'an event that is being written keeps its place; reader there %s',
  async (when) => {
    const { ingest, spool, folder, names, setClock } = prepare()
    put(folder, '5', event('Before'))
    if (when.startsWith('before')) ingest.add(spool)
    await pause(30)
    // Names that sort the other way round.
    const finish = begin({ folder, setClock }, '4')
    await pause(30)
    put(folder, '3', event('Second'))
    await pause(30)
    put(folder, '2', event('Third'))
    await pause(60)
    if (when.startsWith('after')) ingest.add(spool)
    ingest.rescan()
    await expect.poll(names).toEqual(['Before'])
    const read = ingest.read(spool).then(names)
    await pause(150)
    expect(names()).toEqual(['Before'])
    finish(event('First'))
    // There is no next look: it sees by itself that this one is complete.
    expect(await read).toEqual(['Before', 'First', 'Second', 'Third'])
  },
)

test('events that overlapped are read in the order they began, whichever was complete first', async () => {
  const { ingest, spool, folder, names, setClock } = prepare()
  const wanted = ['One', 'Two', 'Three', 'Four']
  const ends = []
  for (const [index, name] of wanted.entries()) {
    const finish = begin({ folder, setClock }, `${9 - index}`)
    ends.unshift(() => finish(event(name)))
    await pause(15)
  }
  for (const end of ends) {
    end()
    await pause(15)
  }
  ingest.add(spool)
  await ingest.remove(spool)
  expect(names()).toEqual(wanted)
})

test('one whose writer was killed holds nobody up for longer than a second, and is left alone', async () => {
  const { ingest, spool, folder, names, setClock } = prepare()
  ingest.add(spool)
  await ingest.read(spool)
  writeFileSync(join(folder, '.part.abc'), '{"hook_event_name":"Ha')
  const { mtimeMs } = statSync(join(folder, '.part.abc'))
  setClock(() => mtimeMs + 990)
  put(folder, 'z', event('Stop'))
  await pause(300)
  expect(names()).toEqual([])
  setClock(() => mtimeMs + 1010)
  await expect.poll(names).toEqual(['Stop'])
  put(folder, 'y', event('Later'))
  await expect.poll(names).toEqual(['Stop', 'Later'])
  // What is found from here on has the time of the files.
  setClock(Date.now)
  await ingest.remove(spool)
  expect(readdirSync(folder)).toEqual(['.part.abc'])
  // As after a restart of the daemon, and dated ahead by hand.
  utimesSync(join(folder, '.part.abc'), 5e9, 5e9)
  put(folder, 'x', event('Last'))
  ingest.add(spool)
  await expect.poll(names).toEqual(['Stop', 'Later', 'CcmEventsLost', 'Last'])
})

test('one spool that is held up holds up no other', async () => {
  const { ingest, spool, folder, heard, setClock } = prepare()
  const other = { taskId: 't2', attempt: 1, folder: join(folder, '../other') }
  mkdirSync(other.folder)
  ingest.add(spool)
  ingest.add(other)
  await Promise.all([spool, other].map(ingest.read))
  const finish = begin({ folder, setClock }, '1')
  await pause(20)
  put(other.folder, '2', event('Elsewhere'))
  await expect.poll(() => heard.map(({ hookEventName }) => hookEventName)).toEqual(['Elsewhere'])
  await ingest.remove(other)
  finish(event('Here'))
  await expect.poll(() => heard.map(({ hookEventName }) => hookEventName)).toEqual(['Elsewhere', 'Here'])
})

test('a spool that cannot be read holds up no other, and is read once it can be', async () => {
  const { ingest, spool, folder, heard, logged } = prepare()
  const other = { taskId: 't2', attempt: 1, folder: join(folder, '../other') }
  mkdirSync(other.folder)
  ingest.add(spool)
  ingest.add(other)
  const names = () => heard.map(({ hookEventName }) => hookEventName)
  put(folder, '1', event('Here'))
  await expect.poll(names).toEqual(['Here'])
  put(folder, '2', event('Later'))
  // A link to itself: as unreadable for the privileged user as a folder without rights is for others.
  renameSync(folder, `${folder}.away`)
  symlinkSync(folder, folder)
  ingest.rescan()
  await expect.poll(() => logged.join()).toContain('a spool could not be read')
  put(other.folder, '3', event('Elsewhere'))
  await expect.poll(names).toEqual(['Here', 'Elsewhere'])
  unlinkSync(folder)
  renameSync(`${folder}.away`, folder)
  await expect.poll(names, { timeout: 15_000 }).toEqual(['Here', 'Elsewhere', 'Later'])
})

test('of a payload above 1 MiB only the long texts are shortened: its name and its tool call arrive', async () => {
  const { ingest, spool, folder, stored } = prepare()
  const call = { tool_use_id: 'toolu_1', tool_response: { originalFile: 'x'.repeat(3_000_000), ok: true } }
  put(folder, 'a', event('PostToolUse', call))
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(1)
  const payload = stored()[0]?.payload
  expect(payload).toMatchObject({
    hook_event_name: 'PostToolUse',
    tool_use_id: 'toolu_1',
    tool_response: { ok: true },
  })
  expect(JSON.stringify(payload).length).toBeLessThan(10_000)
})

test('a database that refuses loses nothing: the next look stores it', async () => {
  let refuse = true
  const { ingest, spool, folder, heard, names, logged } = prepare((events) => ({
    ...events,
    insertBatch(batch) {
      if (refuse) throw new Error('The disk is full')
      return events.insertBatch(batch)
    },
  }))
  put(folder, 'a', event('Stop'))
  ingest.add(spool)
  await expect.poll(() => logged.join()).toContain('The disk is full')
  expect(readdirSync(folder)).toEqual(['a.json'])
  refuse = false
  ingest.rescan()
  await expect.poll(names).toEqual(['Stop'])
  expect(heard).toHaveLength(1)
})

// A folder whose files cannot be removed: the privileged user may always, so it is made immutable.
test('an event whose file cannot be removed is heard of once', async (context) => {
  const { ingest, spool, folder, heard, names } = prepare()
  put(folder, 'a', event('Stop'))
  const lock = (on: boolean) =>
    process.getuid?.() === 0
      ? spawnSync('chattr', [on ? '+i' : '-i', folder]).status === 0
      : (chmodSync(folder, on ? 0o500 : 0o700), true)
  if (!lock(true)) context.skip('no folder can be made unchangeable here')
  try {
    ingest.add(spool)
    await expect.poll(names).toEqual(['Stop'])
    ingest.rescan()
    await ingest.remove(spool)
    expect(heard).toHaveLength(1)
  } finally {
    lock(false)
  }
})

test('whoever waits for a spool that is held up is told when nobody reads any more', async () => {
  const { ingest, spool, folder } = prepare()
  writeFileSync(join(folder, '.part.a'), '')
  ingest.add(spool)
  const read = ingest.read(spool)
  // Looked at, and waited for.
  await sleep(100)
  await ingest.close()
  await expect(read).resolves.toBeUndefined()
})

test('an attempt whose folder is gone costs nothing', async () => {
  const { ingest, logged } = prepare()
  const spool = { taskId: 't2', attempt: 1, folder: '/nonexistent/spool' }
  ingest.add(spool)
  await ingest.remove(spool)
  await ingest.remove(spool)
  expect(logged.join()).toContain('cannot be watched')
})

test('a payload above 64 KiB is stored cut, with its size and hash; the watcher gets all of it', async () => {
  const { ingest, spool, folder, heard, stored } = prepare()
  const text = JSON.stringify(event('Stop', { last_assistant_message: `${'x'.repeat(200_000)}\n[DONE]` }))
  put(folder, 'a', text)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(1)
  expect(stored()[0]).toMatchObject({
    truncated: true,
    size: text.length,
    sha256: createHash('sha256').update(text).digest('hex'),
    kind: 'turn_complete',
  })
  expect(JSON.stringify(stored()[0]?.payload).length).toBeLessThan(64 * 1024)
  expect(stored()[0]?.payload.last_assistant_message).toMatch(/^x+… \(\d+ bytes\) …x+\n\[DONE\]$/)
  expect(heard[0]?.payload.last_assistant_message).toHaveLength(200_007)
})

test('of 20 MB no more stands in memory than what is kept of them', { timeout: 90_000 }, async () => {
  const { ingest, spool, folder, stored } = prepare()
  put(
    folder,
    'a',
    event('PostToolUse', {
      tool_response: { list: Array.from({ length: 400_000 }, () => 'y'.repeat(40)) },
      tool_use_id: 'toolu_1',
    }),
  )
  put(
    folder,
    'b',
    event('PostToolUse', { tool_response: { originalFile: 'z'.repeat(20_000_000) }, tool_use_id: 'toolu_2' }),
  )
  put(folder, 'c', 'no JSON '.repeat(2_500_000))
  for (const name of ['a', 'b', 'c']) {
    const path = join(folder, `${name}.json`)
    expect(readSmallText(path)).toBeNull()
    expect((await readLargeText(path)).text.length).toBeLessThan(1024 * 1024)
  }
  ingest.add(spool)
  await expect.poll(() => stored().length, { timeout: 80_000 }).toBe(3)
  expect(stored().map(({ payload }) => payload.tool_use_id)).toEqual(['toolu_1', 'toolu_2', undefined])
  expect(stored().every(({ truncated, size }) => truncated && size > 10_000_000)).toBe(true)
})

test(
  '10,000 at once are stored in order, in bounded memory, while others run',
  { timeout: 90_000 },
  async () => {
    const { ingest, spool, folder, stored } = prepare()
    ingest.add(spool)
    for (let number = 0; number < 10_000; number++)
      put(folder, `${number}.x`, event('PreToolUse', { number }))
    const before = process.memoryUsage().heapUsed
    await expect.poll(() => readdirSync(folder).length, { timeout: 80_000, interval: 100 }).toBe(0)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100 * 1024 * 1024)
    expect(stored().map(({ payload }) => payload['number'])).toEqual(
      Array.from({ length: 10_000 }, (_, number) => number),
    )
  },
)

test('where each file takes a millisecond, others have their turn after every few', async () => {
  let turn = 0
  const readIn = new Map<number, number>()
  const redactor = createRedactor()
  let ms = 0
  const { ingest, spool, folder, names } = prepare(undefined, {
    now: () => ms,
    redactor: {
      ...redactor,
      mayHold(json) {
        ms++
        readIn.set(turn, (readIn.get(turn) ?? 0) + 1)
        return redactor.mayHold(json)
      },
    },
  })
  for (let number = 0; number < 50; number++) put(folder, `${number}.x`, event('PreToolUse'), number)
  let counting = setImmediate(function count() {
    turn++
    counting = setImmediate(count)
  })
  onTestFinished(() => clearImmediate(counting))
  ingest.add(spool)
  await expect.poll(() => names().length).toBe(50)
  expect(Math.max(...readIn.values())).toBeLessThanOrEqual(5)
})

test("another session's event is kept, marked, and moves nothing; a cleared session is the attempt's own", async () => {
  const { ingest, spool, folder, heard, stored, logged } = prepare()
  put(folder, '1.a', event('PreToolUse'), 1)
  put(folder, '2.b', event('Stop', { session_id: 'another' }), 2)
  put(folder, '3.c', event('SessionStart', { session_id: 'fresh', source: 'clear' }), 3)
  put(folder, '4.d', event('Stop', { session_id: 'fresh' }), 4)
  put(folder, '5.e', event('SessionStart', { session_id: 'forged', source: 'startup' }), 5)
  ingest.add({ ...spool, claudeSessionId: 'c0ffee' })
  await expect.poll(() => stored().length).toBe(5)
  expect(stored().map(({ suspect }) => suspect)).toEqual([
    null,
    'foreign-session',
    null,
    null,
    'foreign-session',
  ])
  expect(heard.map(({ claudeSessionId }) => claudeSessionId)).toEqual(['c0ffee', 'fresh', 'fresh'])
  expect(logged.join()).toContain('FOREIGN_EVENT')
  // Also after a restart: what began before is known from the record.
  await ingest.remove(spool)
  put(folder, '6.f', event('Stop', { session_id: 'fresh' }), 6)
  ingest.add({ ...spool, claudeSessionId: 'c0ffee' })
  await expect.poll(() => stored().at(-1)).toMatchObject({ suspect: null, claudeSessionId: 'fresh' })
})

test('an event in the name of ccm that an agent put into its spool is kept, marked, and moves nothing', async () => {
  const { ingest, spool, folder, heard, stored, logged } = prepare()
  put(folder, '1.a', event('CcmPermission', { decision: 'granted' }), 1)
  put(folder, '2.b', event('Stop'), 2)
  ingest.add({ ...spool, claudeSessionId: 'c0ffee' })
  await expect.poll(() => stored().length).toBe(2)
  expect(stored().map(({ suspect }) => suspect)).toEqual(['forged', null])
  expect(heard.map(({ hookEventName }) => hookEventName)).toEqual(['Stop'])
  expect(logged.join()).toContain('FORGED_EVENT')
})

test('a file from the future is dated when it was stored, and marked', async () => {
  const { ingest, spool, folder, stored } = prepare()
  put(folder, 'a', event('Stop'), Date.now() / 1000 + 86_400)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(1)
  expect(stored()[0]?.suspect).toBe('future-time')
  expect(stored()[0]?.at).toBeLessThanOrEqual(Date.now())
})

test('secrets are gone from what is stored, and there for the watcher', async () => {
  const { ingest, spool, folder, heard, stored } = prepare()
  const command = 'curl -H "Authorization: Bearer abcdef0123456789" x'
  put(folder, 'a', event('PreToolUse', { tool_name: 'Bash', tool_input: { command, password: 'hunter2' } }))
  // In disguise, as no client of ours writes it.
  put(folder, 'b', '{"hook_event_name":"Stop","last_assistant_message":"\\u0067hp_0123456789abcdefghij"}')
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  expect(JSON.stringify(stored())).not.toMatch(/abcdef0123|hunter2|ghp_01/)
  expect(stored()[0]?.detail).toMatchObject({ command: expect.stringContaining('Bearer ***') })
  expect(heard[0]?.payload.tool_input).toEqual({ command, password: 'hunter2' })
})

test('no half of a secret is stored where its text is cut', async () => {
  const { ingest, spool, folder, stored } = prepare()
  const key = `AKIA${'Q'.repeat(16)}`
  const lines = (length: number) => 'some words\n'.repeat(length / 11)
  const output = { stdout: `${lines(1000).slice(0, 990)}${key}`, stderr: '' }
  put(folder, 'a', event('PostToolUse', { tool_name: 'Bash', tool_input: {}, tool_response: output }), 1)
  put(folder, 'b', `${lines(1000).slice(0, 990)}${key}`, 2)
  const long = `${lines(4096).slice(0, 4080)} ${key} ${lines(1_200_000)}${key} ${lines(4096).slice(0, 4080)}`
  put(folder, 'c', event('Stop', { last_assistant_message: long, deep: { long } }), 3)
  const middle = `${lines(4096).slice(0, 4080)} ${key} ${lines(100_000)}`
  put(folder, 'd', event('Stop', { last_assistant_message: middle, deep: { middle } }), 4)
  ingest.add(spool)
  // Megabytes, redacted twice, on a machine that may be busy.
  await expect.poll(() => stored().length, { timeout: 20_000 }).toBe(4)
  for (const row of stored()) expect(JSON.stringify(row)).not.toMatch(/Q{2}/)
})

test('a key of several lines goes, also line by line in a patch, and where its beginning is out of sight', async () => {
  const { ingest, spool, folder, stored } = prepare()
  const body = Array.from({ length: 6 }, () => 'Q'.repeat(64))
  const key = ['-----BEGIN OPENSSH PRIVATE KEY-----', ...body, '-----END OPENSSH PRIVATE KEY-----']
  const change = { structuredPatch: [{ lines: key.map((line) => `+${line}`) }], content: key.join('\n') }
  put(folder, 'a', event('PostToolUse', { tool_name: 'Write', tool_input: {}, tool_response: change }), 1)
  put(folder, 'b', event('Stop', { last_assistant_message: key.slice(2).join('\n') }), 2)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  for (const row of stored()) expect(JSON.stringify(row)).not.toMatch(/Q{2}/)
  expect(stored()[0]?.detail).toMatchObject({ lines_added: 8 })
})

test('names and commands are bounded in their columns too', async () => {
  const { ingest, spool, folder, stored } = prepare()
  const long = 'x'.repeat(500_000)
  put(
    folder,
    'a',
    event('PreToolUse', { tool_name: 'Bash', tool_input: { command: long }, agent_id: long }),
    1,
  )
  put(folder, 'b', event(long, { session_id: long }), 2)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  for (const row of stored()) expect(JSON.stringify(row).length).toBeLessThan(64 * 1024)
})

test("a field of another type than it has is nobody's trouble", async () => {
  const { ingest, spool, folder, heard, stored } = prepare()
  const odd = {
    tool_name: { a: 1 },
    tool_input: 'text',
    prompt: 5,
    last_assistant_message: ['x'],
    background_tasks: [null],
    error: {},
    kept: 'this',
  }
  put(folder, 'a', event('PostToolUse', { ...odd, duration_ms: 1e300 }), 1)
  put(folder, 'b', event('Stop'), -1e11)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  const wanted = { hook_event_name: 'PostToolUse', session_id: 'c0ffee', kept: 'this' }
  const payloads = (events: HookEvent[]) =>
    events.map(({ payload }) => payload).filter((payload) => payload.hook_event_name === 'PostToolUse')
  expect(payloads(stored())).toEqual([wanted])
  expect(payloads(heard)).toEqual([wanted])
  for (const row of stored()) expect(toHookEventJson(row).started).toMatch(/^(19|20)/)
})

test('a payload that nests without end ends no search and no answer', async () => {
  const { ingest, spool, folder, stored, search } = prepare()
  const nested = `{"hook_event_name":"UserPromptSubmit","prompt":"hello","x":${'['.repeat(9000)}${']'.repeat(9000)}}`
  put(folder, 'a', nested, 1)
  put(folder, 'b', event('UserPromptSubmit', { prompt: 'another' }), 2)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  expect(() => JSON.stringify(stored())).not.toThrow()
  expect(search('another')).toHaveLength(1)
})

test('what the script could not keep is an event with the count, once', async () => {
  const { ingest, spool, folder, stored } = prepare()
  const lost = join(folder, '../lost')
  writeFileSync(lost, '\n..')
  ingest.add({ ...spool, lostFiles: [lost, '/nonexistent/lost'] })
  await expect.poll(() => stored().map(({ kind }) => kind)).toEqual(['events_lost'])
  ingest.rescan()
  writeFileSync(lost, '\n...')
  writeFileSync(join(folder, '.part.1.x'), '{"half')
  await ingest.remove(spool)
  expect(stored().map(({ payload }) => payload['lost'])).toEqual([2, 1, 1])
  expect(existsSync(lost)).toBe(false)
})

test('a count that an agent put into its spool hides nothing that was lost', async () => {
  const { ingest, spool, folder, stored } = prepare()
  put(folder, '1.a', event('CcmEventsLost', { lost: 5, lost_in_all: 5 }))
  ingest.add(spool)
  await ingest.remove(spool)
  expect(stored().map(({ suspect }) => suspect)).toEqual(['forged'])
  const lost = join(folder, '../lost')
  writeFileSync(lost, '\n..')
  ingest.add({ ...spool, lostFiles: [lost] })
  await ingest.remove(spool)
  expect(stored().map(({ payload, suspect }) => [payload['lost'], suspect])).toEqual([
    [5, 'forged'],
    [2, null],
  ])
})

test.each([
  new CcmError('DISK_FULL', 'full'),
  Object.assign(new Error('no descriptors'), { code: 'EMFILE' }),
])('what was lost is counted also where that can be stored only later ($code)', async (error) => {
  let isFull = true
  const { ingest, spool, folder, stored } = prepare((events) => ({
    ...events,
    insertBatch: (batch) => {
      if (isFull) throw error
      return events.insertBatch(batch)
    },
  }))
  const lost = join(folder, '../lost')
  writeFileSync(lost, '\n..')
  ingest.add({ ...spool, lostFiles: [lost] })
  const removed = ingest.remove(spool)
  await sleep(500)
  isFull = false
  await removed
  expect(stored().map(({ payload }) => payload['lost'])).toEqual([2])
  expect(existsSync(lost)).toBe(false)
})

test('what an attempt left that nobody watches is stored, also of a task that nobody knows', async () => {
  const { ingest, folder, stored } = prepare()
  const left = { taskId: 't1', attempt: 7, folder: join(folder, '../attempts/t1.7/spool') }
  mkdirSync(left.folder, { recursive: true })
  put(left.folder, 'a', event('Stop'))
  let groups = 0
  await ingest.leftover(left, () => {
    expect(stored()).toHaveLength(1)
    groups++
  })
  expect(groups).toBe(1)
  expect(stored()).toMatchObject([{ attempt: 7, hookEventName: 'Stop' }])
  expect(readdirSync(left.folder)).toEqual([])
})

test('what was lost of a spool that nobody watches is counted when it is over, and not while its agent lives', async () => {
  const { ingest, folder, stored } = prepare()
  const lost = join(folder, '../lost')
  writeFileSync(lost, '\n..')
  writeFileSync(join(folder, '.part.a'), '{')
  const left = { taskId: 't1', attempt: 7, folder, lostFiles: [lost] }
  await ingest.leftover(left)
  expect(existsSync(lost)).toBe(true)
  await ingest.leftover(left, undefined, true)
  expect(stored().map(({ payload }) => payload['lost_in_all'])).toEqual([2, 3])
  expect(existsSync(lost)).toBe(false)
})

test('an event of a name nobody knows is kept whole, and counted', async () => {
  const { ingest, spool, folder, stored, odd } = prepare()
  put(folder, 'a', event('Tomorrow', { more: { a: 1 } }), 1)
  put(folder, 'b', 'garbage', 2)
  ingest.add(spool)
  await expect.poll(() => stored().length).toBe(2)
  expect(stored()[0]).toMatchObject({ kind: 'unknown', payload: { more: { a: 1 } } })
  expect(odd()).toEqual({ unknown: { Tomorrow: 1 }, unknown_others: 0, unreadable: 1, lost: 0 })
})

test('one who cannot take its events in keeps those of others from nobody', async () => {
  const told: string[] = []
  const { ingest, spool, folder, logged } = prepare(undefined, {
    onEvents: ({ taskId }, events) => {
      if (taskId === 't1') throw new CcmError('DISK_FULL', 'The disk is full.')
      told.push(...events.map(({ hookEventName }) => hookEventName))
    },
  })
  const other = { taskId: 't2', attempt: 1, folder: `${folder}-2` }
  mkdirSync(other.folder)
  put(folder, 'a', event('First'))
  put(other.folder, 'a', event('Second'))
  ingest.add(spool)
  ingest.add(other)
  await ingest.read(other)
  await ingest.read(spool)
  expect(told).toEqual(['Second'])
  expect(logged.join()).toContain('not all that hook events tell')
})
