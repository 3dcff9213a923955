import { expect, test } from 'vitest'
import { createApp } from './checked-app.ts'
import type { SearchFilter } from '../../src/store/search.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'

function stage() {
  const asked: SearchFilter[] = []
  const fake = createFakeDaemon({
    record: {
      timeline: async () => ({
        tools: [{ tool: 'Bash', calls: 2, failed: 1, totalMs: 9 }],
        files: [],
        fileCount: 0,
        longest: [{ id: 1, tool: 'Bash', what: 'npm test', startedAt: 0, durationMs: 9, failed: false }],
        waits: [{ startedAt: 0, endedAt: null, reason: 'asks' }],
        waitedMs: 5,
        lostEvents: 3,
      }),
      search: async (filter) => {
        asked.push(filter)
        const hit = {
          taskId: 't',
          attempt: 1,
          at: 0,
          kind: 'bash_command' as const,
          tool: 'Bash',
          snippet: 's',
        }
        const id = filter.project === 'b' ? 2 : 1
        return [{ ...hit, id, project: filter.project }]
      },
    },
    authenticate: async (given) =>
      given === 'two'
        ? { kind: 'key', id: 'k', scopes: ['read'], projects: ['a', 'b'] }
        : { kind: 'local', id: 'local', scopes: ['admin'], projects: null },
  })
  const app = createApp(fake.deps)
  const get = (path: string, credential = 'right-token') =>
    app.request(path, { headers: rightful({ authorization: `Bearer ${credential}` }) })
  return { fake, asked, get }
}

test('a search hands on text, project and time, and answers times as ISO 8601', async () => {
  const { get, asked } = stage()
  const reply = await get(
    `/api/search?q=${encodeURIComponent('"a" NEAR b')}&project=a&since=2026-01-02T00:00:00Z&limit=5`,
  )
  expect(reply.status).toBe(200)
  expect(asked).toEqual([
    { text: '"a" NEAR b', project: 'a', since: Date.UTC(2026, 0, 2), before: null, limit: 6 },
  ])
  expect(await reply.json()).toMatchObject([
    { id: 1, task_id: 't', at: '1970-01-01T00:00:00.000Z', project: 'a' },
  ])
})

test('a credential for some projects finds only what is in them, newest first', async () => {
  const { get, asked } = stage()
  const reply = await get('/api/search?q=x', 'two')
  expect(await reply.json()).toMatchObject([{ id: 2 }, { id: 1 }])
  expect(asked.map(({ project }) => project)).toEqual(['a', 'b'])
  expect((await get('/api/search?q=x&project=c', 'two')).status).toBe(404)
  expect(asked).toHaveLength(2)
})

test.each(['q=', 'q=x&limit=0', 'q=x&since=yesterday', 'q=x&project=A%20B', 'x=1', `q=${'x'.repeat(1001)}`])(
  'GET /api/search?%s is refused',
  async (query) => {
    const { get, asked } = stage()
    expect((await get(`/api/search?${query}`)).status).toBe(400)
    expect(asked).toEqual([])
  },
)

test('a timeline is answered with times as ISO 8601 and durations in ms', async () => {
  const { get, fake } = stage()
  fake.addTask('task-1')
  expect(await (await get('/api/tasks/task-1/timeline')).json()).toEqual({
    tools: [{ tool: 'Bash', calls: 2, failed: 1, total_ms: 9 }],
    files: [],
    file_count: 0,
    longest: [
      {
        id: 1,
        tool: 'Bash',
        what: 'npm test',
        started_at: '1970-01-01T00:00:00.000Z',
        duration_ms: 9,
        failed: false,
      },
    ],
    waits: [{ started_at: '1970-01-01T00:00:00.000Z', ended_at: null, reason: 'asks' }],
    waited_ms: 5,
    lost_events: 3,
  })
  expect((await get('/api/tasks/none/timeline')).status).toBe(404)
})

test('rules are changed for a project that exists, all effects by name', async () => {
  const { fake } = stage()
  const app = createApp(fake.deps)
  const post = (name: string, body: object) =>
    app.request(`/api/projects/${name}/rules`, {
      method: 'POST',
      headers: rightful({ 'content-type': 'application/json' }),
      body: JSON.stringify(body),
    })
  const set = [{ effect: 'allow', rule: 'Bash(ls)' }]
  expect((await post('app', { set })).status).toBe(200)
  expect(fake.calls).toContainEqual(['changeRules', 'app', { set, remove: [] }])
  expect((await post('nope', { set })).status).toBe(404)
  expect((await post('app', { set: [{ effect: 'maybe', rule: 'x' }] })).status).toBe(400)
})
