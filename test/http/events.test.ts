import { expect, onTestFinished, test } from 'vitest'
import type { HookPayload } from '../../src/core/agent/hook-event.ts'
import type { HookEventJson } from '../../src/protocol/hook-event.ts'
import type { ProblemJson } from '../../src/protocol/problem.ts'
import { createHookEvents } from '../../src/store/hook-events.ts'
import { openForTest, temporaryHome } from '../../src/store/temporary-database.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'

const CALLS: [HookPayload['hook_event_name'], string][] = [
  ['PreToolUse', 'Bash'],
  ['PostToolUse', 'Bash'],
  ['PreToolUse', 'Read'],
  ['PostToolUseFailure', 'Read'],
  ['PreToolUse', 'Bash'],
  ['PostToolUseFailure', 'Bash'],
  ['PreToolUse', 'mcp__docs__find'],
  ['PostToolUse', 'mcp__docs__find'],
]

/** Events of two tasks in turn, on a real store: those of `a` have odd ids from 1 to 15, each a second after the other. */
function start() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const hookEvents = createHookEvents(db)
  const rows = CALLS.flatMap(([name = '', tool], index) =>
    ['a', 'b'].map((taskId) => ({
      fileName: `${taskId}/${index}`,
      taskId,
      attempt: 1,
      claudeSessionId: null,
      hookEventName: name,
      at: index * 1000,
      payload: { hook_event_name: name, tool_name: tool, tool_input: {} },
    })),
  )
  hookEvents.insertBatch(rows)
  const daemon = createFakeDaemon({
    events: async ({ taskId, after, ...narrowed }) =>
      hookEvents.ofTask(taskId ?? '', { afterId: after, ...narrowed }),
  })
  for (const id of ['a', 'b']) daemon.addTask(id)
  const app = createApp(daemon.deps)
  const ask = (path: string) => app.request(path, { headers: rightful() })
  return {
    ask,
    hookEvents,
    /** The ids on each page of a list, along the links to the next. */
    pages: async (query: string) => {
      const pages: number[][] = []
      for (
        let path: string | undefined = `/api/tasks/a/events?${query}`;
        path !== undefined && pages.length < 10;
      ) {
        const reply: Response = await ask(path)
        expect(reply.status).toBe(200)
        pages.push(((await reply.json()) as HookEventJson[]).map(({ id }) => id))
        path = /^<(.*)>; rel="next"$/.exec(reply.headers.get('link') ?? '')?.[1]
      }
      return pages
    },
  }
}

const at = (seconds: number) => new Date(seconds * 1000).toISOString()

test.each<[string, number[]]>([
  ['', [1, 3, 5, 7, 9, 11, 13, 15]],
  // A kind; a phase, whatever the kind; what is the name of both.
  ['kind=bash_command', [1, 9]],
  ['kind=tool_use_error', [7, 11]],
  ['kind=tool_use_start', [1, 5, 9, 13]],
  ['kind=nothing_of_that_name', []],
  ['tool=Read', [5, 7]],
  ['tool=mcp__docs__find', [13, 15]],
  ['tool=read', []],
  // From `since` on, before `until`.
  [`since=${at(5)}`, [11, 13, 15]],
  [`until=${at(2)}`, [1, 3]],
  [`since=${at(2)}&until=${at(4)}`, [5, 7]],
  [`since=${at(4)}&until=${at(4)}`, []],
  ['since=1970-01-01T02:00:06%2B02:00', [13, 15]],
  [`kind=tool_use_start&tool=Bash&since=${at(1)}`, [9]],
  [`name=PostToolUse&until=${at(7)}`, [3]],
  ['tool=Bash&after=3', [9, 11]],
])('of the events of a task, ?%s gives those and no others', async (query, ids) => {
  const { pages } = start()
  expect(await pages(query)).toEqual([ids])
})

test.each<[string, number[][]]>([
  ['tool=Bash', [[1], [3], [9], [11]]],
  ['tool=Bash&kind=tool_use_error', [[11]]],
  [`since=${at(1)}&until=${at(6)}&kind=tool_use_start`, [[5], [9]]],
  ['tool=Bash&after=3', [[9], [11]]],
])('page by page ?%s gives the same, each once', async (query, wanted) => {
  const { pages } = start()
  expect(await pages(`${query}&limit=1`)).toEqual(wanted)
  const both = await pages(`${query}&limit=2`)
  expect(both.flat()).toEqual(wanted.flat())
  expect(both).toHaveLength(Math.ceil(wanted.length / 2))
})

test('the link to the next page has the filter in it, and a cursor goes with another filter too', async () => {
  const { ask, pages } = start()
  const link = (await ask('/api/tasks/a/events?tool=Bash&limit=2')).headers.get('link') ?? ''
  const next = new URLSearchParams(/\?(.*)>/.exec(link)?.[1])
  expect(Object.fromEntries(next)).toEqual({ tool: 'Bash', limit: '2', cursor: expect.any(String) })
  expect(await pages(`tool=Read&cursor=${next.get('cursor')}`)).toEqual([[5, 7]])
})

test.each([
  ['kind', 'a b'],
  ['kind', ''],
  ['tool', "Bash' OR 1"],
  ['tool', ''],
  ['name', ''],
  ['since', 'yesterday'],
  ['since', '2026-01-31'],
  ['since', '2026-01-31T07:30:00'],
  ['until', '2026-02-30T00:00:00Z'],
  ['until', '1767225600000'],
  ['after', '-1'],
  ['after', '1.5'],
  ['limit', '0'],
  ['limit', '5001'],
  ['cursor', 'x'],
  ['sort', '-id'],
  ['tools', 'Bash'],
])('%s=%s is refused, and named', async (field, value) => {
  const { ask } = start()
  const reply = await ask(`/api/tasks/a/events?${new URLSearchParams({ [field]: value }).toString()}`)
  expect(reply.status).toBe(400)
  const problem = (await reply.json()) as ProblemJson
  expect(problem).toMatchObject({ code: 'BAD_INPUT', field })
  expect(problem.detail).toContain(field)
})

test('a page of large events ends at some megabytes, and the link leads on', async () => {
  const { hookEvents, ask, pages } = start()
  const large = Array.from({ length: 300 }, (_, index) => ({
    fileName: `large/${index}`,
    taskId: 'a',
    attempt: 1,
    claudeSessionId: null,
    hookEventName: 'Stop',
    at: 100_000,
    payload: { hook_event_name: 'Stop', last_assistant_message: 'x'.repeat(60_000) },
  }))
  hookEvents.insertBatch(large)
  const reply = await ask('/api/tasks/a/events?limit=5000')
  expect((await reply.text()).length).toBeLessThan(9_000_000)
  const found = await pages('limit=5000')
  expect(found.length).toBe(3)
  expect(found.flat()).toHaveLength(8 + 300)
  expect(new Set(found.flat()).size).toBe(308)
})
