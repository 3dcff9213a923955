import { expect, test } from 'vitest'
import { createApp } from './checked-app.ts'
import type { AnswerReply, AppDeps } from '../../src/http/deps.ts'
import type { BroadcastJson } from '../../src/protocol/answer.ts'
import { createFakeDaemon, rightful, taskView } from './fake-daemon.ts'

function start(overrides: Partial<AppDeps> = {}) {
  const daemon = createFakeDaemon(overrides)
  const app = createApp(daemon.deps)
  const ask = async (method: string, path: string, body?: object, credential = 'right-token') => {
    const reply = await app.request(path, {
      method,
      headers: rightful({ authorization: `Bearer ${credential}`, 'content-type': 'application/json' }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: reply.status, headers: reply.headers, body: await reply.json() }
  }
  return { ...daemon, ask }
}

test('a list is paged to its end, each page as long as was asked for, whatever others may not see', async () => {
  const { ask, addTask } = start()
  for (let count = 1; count <= 25; count++)
    addTask(`t${String(count).padStart(2, '0')}`, { project: count % 2 === 0 ? 'app' : 'other' })
  const seen: string[] = []
  for (let path: string | undefined = '/api/tasks?limit=5'; path !== undefined;) {
    const { body, headers } = await ask('GET', path, undefined, 'read-key')
    seen.push(...(body as { id: string }[]).map(({ id }) => id))
    path = /<(.*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1]
  }
  expect(seen).toEqual(['t24', 't22', 't20', 't18', 't16', 't14', 't12', 't10', 't08', 't06', 't04', 't02'])
})

test('a program on this machine starts an agent here, and is told its window', async () => {
  const daemon = start()
  let looks = 0
  const get = daemon.deps.tasks.get
  daemon.deps.tasks.get = async (id) => {
    const view = await get(id)
    return view === null || ++looks < 3 ? view : { ...view, agent: { ...view.agent, window: 'app-1' } }
  }
  const spawned = await daemon.ask('POST', '/internal/spawn-agent', { prompt: 'Do it.', project: 'app' })
  expect(spawned).toMatchObject({ status: 201, body: { task: 'task-1', attempt: 0, window: 'app-1' } })
  expect(daemon.calls[0]).toMatchObject(['insert', { onlyWorker: 'worker-1' }])
})

test('a spawn whose agent does not begin is accepted all the same', async () => {
  let now = 0
  const { ask } = start({ clock: () => (now += 6000) })
  const spawned = await ask('POST', '/internal/spawn-agent', { prompt: 'Do it.', project: 'app' })
  expect(spawned).toMatchObject({ status: 202, body: { task: 'task-1', window: null } })
})

test('an agent is looked at and ended by the task it works on', async () => {
  const { ask, addTask, calls } = start()
  addTask('abc')
  expect(await ask('GET', '/internal/agent-status?task=ab')).toMatchObject({ body: { task_id: 'abc' } })
  expect(await ask('POST', '/internal/kill-agent', { task: 'ab' })).toMatchObject({
    status: 200,
    body: { task: 'abc', reply: 'cancelled' },
  })
  expect(calls).toEqual([['cancel', 'abc', 'Ended by a program on this machine.']])
  expect((await ask('POST', '/internal/kill-agent', { task: 'none' })).status).toBe(404)
})

test('usage is of a range and, for a key of some projects, of one of them', async () => {
  const ranges: unknown[] = []
  const { ask } = start({
    usage: async (range) => {
      ranges.push(range)
      return [{ model: 'm', tokens: 5, costUsd: null, messages: 1 }]
    },
  })
  const day = { from: '2030-01-01T00:00:00.000Z', to: '2030-01-02T00:00:00.000Z' }
  const reply = await ask('GET', `/api/usage?from=${day.from}&to=${day.to}`)
  expect(reply.body).toEqual({ ...day, models: [{ model: 'm', tokens: 5, cost_usd: null, messages: 1 }] })
  expect((await ask('GET', '/api/usage', undefined, 'read-key')).status).toBe(400)
  expect((await ask('GET', '/api/usage?project=other', undefined, 'read-key')).status).toBe(404)
  expect((await ask('GET', '/api/usage?project=app', undefined, 'read-key')).status).toBe(200)
  expect(ranges).toHaveLength(2)
})

test('workers of all machines are told, with the projects the caller may see', async () => {
  const { ask } = start()
  expect((await ask('GET', '/api/workers')).body).toMatchObject([
    { worker: 'worker-1', projects: { app: '/app', other: '/other' }, this_daemon: true },
  ])
  expect((await ask('GET', '/api/workers', undefined, 'read-key')).body).toMatchObject([
    { projects: { app: '/app' } },
  ])
  expect((await ask('GET', '/api/workers', undefined, 'read-key')).body).not.toMatchObject([
    { projects: { other: '/other' } },
  ])
})

test('a key of some projects is told what is of them, and nothing of the machine', async () => {
  const { ask, addTask, deps } = start()
  addTask('a', { project: 'app' })
  addTask('b', { project: 'app', status: 'running', worker: 'worker-1' })
  for (const id of ['c', 'd', 'e', 'f'])
    addTask(id, { project: 'other', status: id < 'e' ? 'queued' : 'running', worker: 'worker-1' })
  const views = await Promise.all(['b', 'e', 'f'].map((id) => deps.tasks.get(id)))
  deps.agents = async () => views.filter((view) => view !== null)
  const [worker] = await deps.workers()
  if (worker === undefined) throw new Error('there is no worker')
  deps.workers = async () => [{ ...worker, running: 3 }]
  deps.systems = async () => [{ id: 'local', queued: 3, running: 3 }]
  const whole = await deps.status()
  deps.status = async () => ({ ...whole, agents: 3, queued: 3, running: 3, holds: ['budget: 5 of 5'] })
  const of = async (path: string, key: string) => (await ask('GET', path, undefined, key)).body
  expect(await of('/api/status', 'admin-key')).toMatchObject({ home: '/home/ccm', agents: 3, queued: 3 })
  expect(await of('/api/status', 'read-key')).toEqual({
    version: '0.1.0',
    worker: 'local',
    uptime_s: 1,
    tmux: 'ok',
    agents: 1,
    queued: 1,
    running: 1,
  })
  expect(await of('/api/status', 'foreign-key')).toMatchObject({ agents: 2, queued: 2, running: 2 })
  expect(await of('/api/systems', 'admin-key')).toEqual([{ id: 'local', queued: 3, running: 3 }])
  expect(await of('/api/systems', 'read-key')).toEqual([{ id: 'local', queued: 1, running: 1 }])
  expect(await of('/api/workers', 'admin-key')).toMatchObject([{ running: 3 }])
  expect(await of('/api/workers', 'read-key')).toMatchObject([{ running: 1 }])
})

test('a text goes to every agent that the key may enter; of each it is told whether it got it and why not', async () => {
  const { deps } = createFakeDaemon()
  await deps.projects.add({ dir: '/other', name: 'other', trust: true })
  const replies: Record<string, AnswerReply | Error> = {
    works: 'done',
    asks: { refused: 'It waits for a permission.' },
    begins: 'not_waiting',
    breaks: new Error('no tmux'),
    theirs: 'done',
  }
  const project = (id: string) => (id === 'theirs' ? 'other' : 'app')
  deps.agents = async () => Object.keys(replies).map((id) => taskView(id, { project: project(id) }))
  const sent: unknown[][] = []
  deps.tasks.send = async (...call) => {
    sent.push(call)
    const reply = replies[call[0]]
    if (reply === undefined || reply instanceof Error) throw reply ?? new Error('unknown')
    return reply
  }
  const app = createApp(deps)
  const post = async (body: object, key = 'right-token') => {
    const headers = rightful({ 'content-type': 'application/json', authorization: `Bearer ${key}` })
    const reply = await app.request('/api/agents/send', {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    return { status: reply.status, body: (await reply.json()) as BroadcastJson & { field?: string } }
  }
  const text = 'Commit what you have.'
  const { body } = await post({ text, project: 'app' })
  expect(body.results.map(({ task_id, delivered, reason }) => [task_id, delivered, reason])).toEqual([
    ['works', true, null],
    ['asks', false, 'It waits for a permission.'],
    ['begins', false, expect.stringContaining('takes no text now')],
    ['breaks', false, expect.stringContaining('the log says why')],
  ])
  expect(sent.map(([id, said, ask]) => [id, said, ask])).toContainEqual(['works', text, null])
  expect((await post({ text })).body.results).toHaveLength(5)
  sent.length = 0
  const ours = await post({ text }, 'operate-key')
  expect(ours.body.results.map(({ task_id }) => task_id)).not.toContain('theirs')
  expect(sent.map(([id]) => id)).not.toContain('theirs')
  expect((await post({ text, project: 'other' }, 'operate-key')).status).toBe(404)
  expect((await post({ text }, 'write-key')).status).toBe(403)
  sent.length = 0
  // 10 KiB in bytes, whatever JSON makes of them; more is refused before anything is sent.
  expect((await post({ text: '\u0001'.repeat(10_240) })).status).toBe(200)
  sent.length = 0
  expect(await post({ text: 'é'.repeat(5121) })).toMatchObject({ status: 400, body: { field: 'text' } })
  expect((await post({ text: 'x'.repeat(70_000) })).status).toBe(413)
  expect(sent).toEqual([])
})
