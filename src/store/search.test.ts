import { expect, test } from 'vitest'
import { createHookEvents, type NewHookEvent } from './hook-events.ts'
import { createSearch, type SearchFilter } from './search.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSharedTasks } from './shared-tasks.ts'
import type { Task } from '../core/task/task.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'
import { createTimelines } from './timeline.ts'
import type { HookPayload } from '../core/agent/hook-event.ts'
import { columnsOf } from '../core/record/hook-kind.ts'

let serial = 0
function eventOf(payload: HookPayload, more: Partial<NewHookEvent> = {}): NewHookEvent {
  const hookEventName = payload.hook_event_name ?? ''
  const at = ++serial
  return {
    fileName: `f${at}`,
    taskId: 't1',
    attempt: 1,
    claudeSessionId: null,
    hookEventName,
    at,
    payload,
    ...more,
  }
}
const prompt = (text: string, more: Partial<NewHookEvent> = {}) =>
  eventOf({ hook_event_name: 'UserPromptSubmit', prompt: text }, more)

function stage(file: string) {
  const db = openForTest(file)
  const search = createSearch(db)
  const find = (text: string, more: Partial<SearchFilter> = {}) => {
    while (search.index());
    return search.find({ text, project: null, since: null, before: null, limit: 20, ...more })
  }
  const task = db.prepare<{ id: string; project: string }>(
    `INSERT INTO tasks (id, system, project, prompt, priority, allowed_tools, disallowed_tools, status, attempt,
       failures, lost_leases, scheduled_at, cancel_requested, created_at)
     VALUES (:id, 'local', :project, 'x', 0, '[]', '[]', 'queued', 0, 0, 0, 1, 0, 1)`,
  )
  return {
    db,
    search,
    find,
    events: createHookEvents(db),
    addTask: (id: string, project: string) => task.run({ id, project }),
  }
}

test('prompts, commands, outputs, errors and last messages are found, newest first, each once', () => {
  using home = temporaryHome()
  const { events, find } = stage(home.file)
  events.insertBatch([
    prompt('Mend the zebra.'),
    eventOf({ hook_event_name: 'PreToolUse', tool_name: 'Bash', tool_input: { command: 'run zebra' } }),
    eventOf({
      hook_event_name: 'PostToolUse',
      tool_name: 'Bash',
      tool_input: { command: 'run zebra' },
      tool_response: { stdout: 'a zebra ran', stderr: '' },
    }),
    eventOf({ hook_event_name: 'PostToolUseFailure', tool_name: 'Bash', error: 'Exit code 1: no zebra' }),
    eventOf({ hook_event_name: 'Stop', last_assistant_message: 'The zebra is fine. [DONE]' }),
  ])
  const hits = find('ZEBRA')
  expect(hits.map(({ snippet }) => snippet)).toEqual([
    'The zebra is fine. [DONE]',
    'Exit code 1: no zebra',
    'a zebra ran',
    'run zebra',
    'Mend the zebra.',
  ])
  expect(hits[3]).toMatchObject({ taskId: 't1', attempt: 1, kind: 'bash_command', tool: 'Bash' })
  expect(find('zebra fine')).toHaveLength(1)
  expect(find('"is zebra"')).toHaveLength(0)
  expect(find('zeb*')).toHaveLength(5)
  expect(find('--')).toEqual([])
})

test('the index goes on where it stopped, also over events that were deleted before it came to them', () => {
  using home = temporaryHome()
  const { db, events, find } = stage(home.file)
  events.insertBatch([prompt('first zebra'), prompt('second zebra')])
  db.prepare('DELETE FROM hook_events WHERE id = 1').run({})
  expect(find('zebra')).toHaveLength(1)
  events.insertBatch([prompt('third zebra')])
  db.close()
  const again = stage(home.file)
  expect(again.find('zebra').map(({ snippet }) => snippet)).toEqual(['third zebra', 'second zebra'])
  again.db.prepare('DELETE FROM hook_events WHERE id = 3').run({})
  expect(again.find('zebra')).toHaveLength(1)
  again.db.prepare("INSERT INTO event_search (event_search) VALUES ('integrity-check')").run({})
})

test('a project and a time narrow it, and a project whose name begins alike is another', () => {
  using home = temporaryHome()
  const { events, find, addTask } = stage(home.file)
  addTask('t1', 'my-app')
  addTask('t2', 'my-app-2')
  events.insertBatch([
    prompt('zebra', { at: 100 }),
    prompt('zebra', { taskId: 't2', at: 200 }),
    prompt('zebra', { taskId: 't3', at: 300 }),
  ])
  expect(find('zebra', { project: 'my-app' }).map(({ taskId }) => taskId)).toEqual(['t1'])
  expect(find('zebra', { project: 'my-app-2' }).map(({ taskId }) => taskId)).toEqual(['t2'])
  expect(find('zebra', { project: 'none' })).toEqual([])
  expect(find('zebra', { since: 200 }).map(({ taskId }) => taskId)).toEqual(['t3', 't2'])
  expect(find('zebra', { since: 301 })).toEqual([])
  expect(find('my', {})).toEqual([])
})

test('a timeline adds up tools, files, longest calls and waits', () => {
  using home = temporaryHome()
  const { db, events } = stage(home.file)
  const ended = (tool: string, ms: number, input: object, name = 'PostToolUse') =>
    eventOf({ hook_event_name: name, tool_name: tool, duration_ms: ms, tool_input: { ...input }, error: 'x' })
  events.insertBatch([
    eventOf({ hook_event_name: 'PreToolUse', tool_name: 'Bash', tool_input: { command: 'npm test' } }),
    ended('Bash', 900, { command: 'npm test' }),
    ended('Bash', 100, { command: 'npm run lint' }, 'PostToolUseFailure'),
    ended('Edit', 20, { file_path: '/a' }),
    ended('Edit', 30, { file_path: '/a' }),
    ended('Read', 1, { file_path: '/b' }),
    ended('Read', 1, { file_path: '/b' }, 'PostToolUseFailure'),
    ended('Read', 1, { file_path: '/c' }),
    { ...ended('Bash', 5000, { command: 'other' }), taskId: 't2' },
  ])
  const timeline = createTimelines(db)('t1', 99)
  expect(timeline).toEqual({
    tools: [
      { tool: 'Bash', calls: 2, failed: 1, totalMs: 1000 },
      { tool: 'Edit', calls: 2, failed: 0, totalMs: 50 },
      { tool: 'Read', calls: 3, failed: 1, totalMs: 3 },
    ],
    files: [
      { path: '/a', reads: 0, edits: 2, writes: 0 },
      { path: '/b', reads: 1, edits: 0, writes: 0 },
      { path: '/c', reads: 1, edits: 0, writes: 0 },
    ],
    fileCount: 3,
    longest: expect.arrayContaining([
      expect.objectContaining({ tool: 'Bash', what: 'npm test', durationMs: 900, failed: false }),
    ]),
    waits: [],
    waitedMs: 0,
    lostEvents: 0,
  })
  expect(timeline.longest.map(({ durationMs }) => durationMs)).toEqual([900, 100, 30, 20, 1, 1, 1])
})

test('events of a task are narrowed by kind, phase, tool and time', () => {
  using home = temporaryHome()
  const { events } = stage(home.file)
  const bash = { hook_event_name: 'PreToolUse', tool_name: 'Bash', tool_input: {} }
  const ids = events
    .insertBatch([
      eventOf(bash, { at: 10 }),
      eventOf({ ...bash, tool_name: 'Read' }, { at: 20 }),
      eventOf({ ...bash, hook_event_name: 'PostToolUse' }, { at: 30 }),
      prompt('x', { at: 40 }),
    ])
    .map(({ id }) => id)
  const of = (filter: object) => events.ofTask('t1', { limit: 9, ...filter }).map(({ id }) => ids.indexOf(id))
  expect(of({ kind: 'bash_command' })).toEqual([0])
  expect(of({ kind: 'tool_use_start' })).toEqual([0, 1])
  expect(of({ tool: 'Bash' })).toEqual([0, 2])
  expect(of({ tool: 'Bash', since: 30 })).toEqual([2])
  expect(of({ since: 20, until: 40 })).toEqual([1, 2])
  expect(of({ name: 'UserPromptSubmit' })).toEqual([3])
})

test('events that were lost are summed for their task; what an agent forged in our name does not count', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const events = createHookEvents(db)
  const lost = (count: number, more: Partial<NewHookEvent> = {}) =>
    eventOf({ hook_event_name: 'CcmEventsLost', lost: count }, more)
  const columns = columnsOf({ hook_event_name: 'CcmEventsLost' }, 1, null)
  const record = {
    text: '{"lost":1000}',
    columns,
    size: 1,
    truncated: false,
    sha256: null,
    suspect: 'forged' as const,
  }
  events.insertBatch([lost(2), lost(3, { attempt: 2 }), lost(9, { taskId: 't2' }), lost(1000, { record })])
  expect(createTimelines(db)('t1', 0).lostEvents).toBe(5)
  expect(createTimelines(db)('t3', 0).lostEvents).toBe(0)
  expect(events.lostOf({ taskId: 't1', attempt: 1 })).toBe(2)
  expect(events.oddOnes().lost).toBe(14)
  db.close()
})

test('a task of a shared queue is found by its project, also where it was indexed without one', () => {
  using home = temporaryHome()
  const { db, events, find } = stage(home.file)
  const shared = createSharedTasks(db, () => 1)
  shared.putClaimed([{ id: 's1', attempt: 1, project: 'shop' } as Task])
  events.insertBatch([prompt('Mend the zebra.', { taskId: 's1' }), prompt('A late zebra.', { taskId: 's2' })])
  expect(find('zebra', { project: 'shop' })).toMatchObject([{ taskId: 's1', project: 'shop' }])
  expect(find('zebra', { project: 'other' })).toEqual([])
  shared.putClaimed([{ id: 's2', attempt: 1, project: 'shop' } as Task])
  expect(find('zebra', { project: 'shop' })).toHaveLength(1)
  const migration = join(import.meta.dirname, '../../migrations/sqlite/0029-search-by-shared-project.sql')
  for (const statement of readFileSync(migration, 'utf8')
    .split(/;\n/)
    .filter((part) => part.trim() !== ''))
    db.prepare(statement).run({})
  expect(find('zebra', { project: 'shop' })).toHaveLength(2)
  expect(find('zebra')).toHaveLength(2)
  db.close()
})
