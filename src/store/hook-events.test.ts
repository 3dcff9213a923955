import { expect, test } from 'vitest'
import type { EventColumns } from '../core/record/hook-kind.ts'
import { createHookEvents, type NewHookEvent } from './hook-events.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

function eventOf(fileName: string, more: Partial<NewHookEvent> = {}): NewHookEvent {
  return {
    fileName,
    taskId: 't1',
    attempt: 1,
    claudeSessionId: 'c0ffee',
    hookEventName: 'PreToolUse',
    at: 5,
    payload: { hook_event_name: 'PreToolUse', tool_input: { command: 'echo "ä\u0000"' } },
    ...more,
  }
}

test('an event is stored once, however often its file is read', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const [stored] = events.insertBatch([eventOf('a'), eventOf('a')])
  const { fileName, ...event } = eventOf('a')
  expect(fileName).toBe('a')
  expect(stored).toEqual({ ...event, id: expect.any(Number) })
  expect(events.insertBatch([eventOf('a'), eventOf('b')]).map(({ id }) => id)).toEqual([events.lastId()])
  expect(events.ofTask('t1', { limit: 9 })).toHaveLength(2)
  expect(events.ofTask('t1', { limit: 9 })[0]).toMatchObject({
    ...stored,
    kind: 'tool_use_start',
    truncated: false,
  })
  db.close()
})

test('one that is larger than an answer may be is an answer by itself, and hides none behind it', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const large = { hook_event_name: 'Stop', last_assistant_message: 'x'.repeat(8_100_000) }
  const [first, second] = events.insertBatch([eventOf('a', { payload: large }), eventOf('b')])
  expect(events.ofTask('t1', { limit: 9 }).map(({ id }) => id)).toEqual([first?.id])
  expect(events.ofTask('t1', { afterId: first?.id ?? 0, limit: 9 }).map(({ id }) => id)).toEqual([second?.id])
  db.close()
})

test('a batch is stored whole or not at all', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  expect(() => events.insertBatch([eventOf('a'), eventOf('b', { at: 1.5 })])).toThrow(/INTEGER/)
  expect(events.lastId()).toBe(0)
  expect(events.insertBatch([eventOf('a'), eventOf('b')])).toHaveLength(2)
  db.close()
})

test('an event that cannot be stored is an error, never left out in silence', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const nameless = eventOf('a', { hookEventName: null as unknown as string })
  expect(() => createHookEvents(db).insertBatch([nameless])).toThrow(/NOT NULL/)
  db.close()
})

test('events are read in order, by task, name and cursor', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const stored = events.insertBatch([
    eventOf('a'),
    eventOf('b', { taskId: 't2' }),
    eventOf('c', { hookEventName: 'Stop', attempt: 2 }),
    eventOf('d', { attempt: 2 }),
    eventOf('e', { attempt: 2 }),
  ])
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = stored.map(({ id }) => id)
  const ids = (found: { id: number }[]): number[] => found.map(({ id }) => id)
  expect(ids(events.ofTask('t1', { limit: 9 }))).toEqual([a, c, d, e])
  expect(ids(events.ofTask('t1', { limit: 2, afterId: a }))).toEqual([c, d])
  expect(ids(events.ofTask('t1', { limit: 9, name: 'Stop' }))).toEqual([c])
  expect(ids(events.ofTask('t1', { limit: 9, name: 'PreToolUse', afterId: a }))).toEqual([d, e])
  expect(ids(events.after(b, null, 9))).toEqual([c, d, e])
  expect(ids(events.after(0, 't2', 9))).toEqual([b])
  expect(events.lastId()).toBe(e)
  db.close()
})

test('a cursor never meets an id for the second time', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  events.insertBatch([eventOf('a'), eventOf('b')])
  const last = events.lastId()
  db.prepare('DELETE FROM hook_events').run({})
  expect(events.insertBatch([eventOf('c')])[0]?.id).toBe(last + 1)
  db.close()
})

test('each column of a record is read back as it was given', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const columns: EventColumns = {
    agentId: 'a1',
    kind: 'bash_output',
    phase: 'tool_use_complete',
    tool: 'Bash',
    toolUseId: 'toolu_1',
    path: '/x',
    started: 3,
    durationMs: 2,
    exitCode: 7,
    detail: { command: 'true', cwd: '/c', stdout: 'out', stderr: null },
  }
  const rest = { size: 70_000, truncated: true, sha256: 'ab', suspect: 'future-time' as const }
  const { fileName, ...event } = eventOf('a', { attempt: 4, hookEventName: 'PostToolUse' })
  events.insertBatch([{ ...event, fileName, record: { text: '{"whole":false}', columns, ...rest } }])
  const [row] = events.ofTask('t1', { limit: 1 })
  expect(row).toEqual({ ...event, ...columns, ...rest, id: events.lastId(), payload: { whole: false } })
  db.close()
})

test('of names that nobody knows 20 are told, cut, and first those of most tasks; the others are counted together', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const named = (task: string, count: number, name: (index: number) => string) =>
    Array.from({ length: count }, (_, index) =>
      eventOf(`${task}/${name(index)}/${index}`, {
        taskId: task,
        hookEventName: name(index),
        payload: { hook_event_name: name(index) },
      }),
    )
  events.insertBatch([
    // What one agent made up: 100 names, each twice, and one that is long.
    ...named('t1', 200, (index) => `Forged${index % 100}`),
    ...named('t1', 9, (index) => `${'x'.repeat(190)}${index}`),
    // A new version of Claude Code is met by many.
    ...named('t2', 1, () => 'Tomorrow'),
    ...named('t3', 1, () => 'Tomorrow'),
  ])
  const { unknown, ...counts } = events.oddOnes()
  expect(Object.keys(unknown)).toHaveLength(20)
  expect(Object.entries(unknown).slice(0, 3)).toEqual([
    ['Tomorrow', 2],
    ['x'.repeat(60), 9],
    ['Forged0', 2],
  ])
  expect(counts).toEqual({ unknown_others: 200 - 18 * 2, unreadable: 0, lost: 0 })
  db.close()
})
