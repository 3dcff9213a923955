import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import type { HookEvent } from '../core/hook-event.ts'
import { createRedactor } from '../core/redact.ts'
import { createHookEvents, type HookEvents } from '../store/hook-events.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import { createIngest } from './ingest.ts'

function prepare(wrap: (events: HookEvents) => HookEvents = (events) => events) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  const hookEvents = wrap(createHookEvents(db))
  const heard: HookEvent[] = []
  const logged: string[] = []
  const ingest = createIngest({
    hookEvents,
    redactor: createRedactor(),
    clock: Date.now,
    logger: pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) }),
    onEvents: (_, events) => void heard.push(...events),
  })
  const folder = join(home.folder, 'spool')
  mkdirSync(folder)
  const spool = { taskId: 't1', attempt: 1, folder }
  onTestFinished(async () => {
    await ingest.close()
    db.close()
    home[Symbol.dispose]()
  })
  const stored = () => createHookEvents(db).ofTask('t1', { limit: 10_000 })
  return {
    ingest,
    spool,
    folder,
    heard,
    logged,
    stored,
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

test('a file that is still being written is left alone', async () => {
  const { ingest, spool, folder, names } = prepare()
  writeFileSync(join(folder, '.part.abc'), '{"hook_event_name":"Ha')
  put(folder, 'z', event('Stop'))
  ingest.add(spool)
  await expect.poll(names).toEqual(['Stop'])
  await ingest.remove(spool)
  expect(readdirSync(folder)).toEqual(['.part.abc'])
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

test('an attempt whose folder is gone costs nothing', async () => {
  const { ingest, logged } = prepare()
  const spool = { taskId: 't2', attempt: 1, folder: '/nonexistent/spool' }
  ingest.add(spool)
  await ingest.remove(spool)
  await ingest.remove(spool)
  expect(logged.join()).toContain('cannot be watched')
})
