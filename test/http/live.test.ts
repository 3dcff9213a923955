import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createDaemonClient } from '../../src/client/daemon-client.ts'
import type { LiveMessage, LiveOptions } from '../../src/client/live-events.ts'
import { TOKEN } from './fake-daemon.ts'
import { serveFakeDaemon, until } from './served.ts'
import type { Principal } from '../../src/core/principal.ts'

type Served = Awaited<ReturnType<typeof serveFakeDaemon>>

/** Collects live events in the background; `seen` is short words such as `hook 3` and `task queued`. */
function collect(served: Served, options: LiveOptions = {}) {
  const abort = new AbortController()
  const messages: LiveMessage[] = []
  const done = (async () => {
    for await (const message of served.client.liveEvents({ ...options, signal: abort.signal }))
      messages.push(message)
  })()
  const seen = () => messages.map(({ event, data }) => `${event} ${event === 'task' ? data.status : data.id}`)
  return { messages, seen, done, stop: () => abort.abort() }
}

test('a stream starts now, and then gives each row once and in order', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  served.addHook('a', 'SessionStart')
  const live = collect(served)
  await until(() => served.listeners.size === 1)
  served.addHook('a', 'Stop', 10)
  served.addChange('a', 'working', 10)
  await until(() => live.seen().length >= 3)
  expect(live.seen()).toEqual(['hook 2', 'state 1', 'task queued'])
  expect(live.messages.map(({ id }) => id)).toEqual(['2.0', '2.1', '2.1'])
  live.stop()
  await live.done
})

test('replay gives a task from its beginning, and nothing of other tasks', async () => {
  const served = await serveFakeDaemon()
  for (const id of ['a', 'b']) served.addTask(id)
  for (let n = 0; n < 250; n++) served.addHook(n % 2 === 0 ? 'a' : 'b', 'PreToolUse', n)
  served.addChange('a', 'working', 100)
  const live = collect(served, { task: 'a', replay: true })
  await until(() => live.seen().includes('task queued'))
  const hooks = live.messages.filter(({ event }) => event === 'hook')
  expect(hooks.map(({ data }) => data.id)).toEqual(Array.from({ length: 125 }, (_, n) => 2 * n + 1))
  // By time: hook 101 is of time 100 and comes before the change it may have caused.
  expect(live.seen().slice(50, 53)).toEqual(['hook 101', 'state 1', 'hook 103'])
  live.stop()
})

test('a task event never comes before the rows that led to it', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  const live = collect(served, { task: 'a' })
  await until(() => live.seen().length === 1)
  for (let n = 0; n < 300; n++) served.addHook('a', 'PostToolUse')
  served.addTask('a', { status: 'succeeded' })
  await until(() => live.seen().includes('task succeeded'))
  expect(live.seen().indexOf('task succeeded')).toBe(301)
  live.stop()
})

test('a client goes on after a lost connection without a gap and without a double', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  const waits: number[] = []
  const live = collect(served, { onReconnect: (ms) => waits.push(ms) })
  await until(() => served.listeners.size === 1)
  served.addHook('a', 'One')
  await until(() => live.seen().length === 1)
  await served.stop()
  await until(() => waits.length > 0 && served.listeners.size === 0)
  served.addHook('a', 'Two')
  served.addChange('a', 'complete')
  served.addTask('a', { status: 'succeeded' })
  await served.restart()
  await until(() => live.seen().includes('task succeeded'))
  served.addHook('a', 'Three')
  await until(() => live.seen().includes('hook 3'))
  expect(live.seen().filter((word) => !word.startsWith('task'))).toEqual([
    'hook 1',
    'state 1',
    'hook 2',
    'hook 3',
  ])
  expect(waits[0]).toBe(200)
  live.stop()
  await live.done
})

test('a client that comes again hears of tasks that changed meanwhile, and that run, however old they are', async () => {
  const served = await serveFakeDaemon()
  served.addTask('old', { status: 'succeeded' })
  served.addTask('runs', { status: 'running' })
  for (let n = 0; n < 150; n++) served.addTask(`task-${n}`)
  served.addHook('old', 'Stop')
  for (const to of ['working', 'complete'] as const) served.addChange('old', to)
  served.addChange('task-149', 'working')
  const live = collect(served, { lastEventId: '0.0' })
  const tasks = () => live.messages.flatMap(({ event, data }) => (event === 'task' ? [data.id] : []))
  await until(() => tasks().includes('old'))
  expect(tasks().filter((id) => !id.startsWith('task-'))).toEqual(['runs', 'old'])
  expect(tasks().filter((id) => id === 'task-149')).toHaveLength(1)
  expect(tasks()).toHaveLength(102)
  live.stop()
})

test('a client that saw nothing yet still resumes where it connected', async () => {
  const served = await serveFakeDaemon()
  served.addHook('a', 'Before')
  let lost = false
  const live = collect(served, { onReconnect: () => (lost = true) })
  await until(() => served.listeners.size === 1)
  await new Promise((resolve) => setTimeout(resolve, 500))
  await served.stop()
  await until(() => lost)
  served.addHook('a', 'After')
  await served.restart()
  await until(() => live.seen().length === 1)
  expect(live.seen()).toEqual(['hook 2'])
  live.stop()
})

test('ids of a database that was replaced do not make a client deaf', async () => {
  const served = await serveFakeDaemon()
  served.addHook('a', 'One')
  const live = collect(served, { lastEventId: '5000.5000' })
  await until(() => served.listeners.size === 1)
  served.addHook('a', 'Two')
  await until(() => live.seen().length === 1)
  expect(live.seen()).toEqual(['hook 2'])
  live.stop()
})

test('a client that leaves is forgotten', async () => {
  const served = await serveFakeDaemon()
  const live = [collect(served), collect(served)]
  await until(() => served.listeners.size === 2)
  live[0]?.stop()
  await until(() => served.listeners.size === 1)
  live[1]?.stop()
  await until(() => served.listeners.size === 0)
  expect(await Promise.all(live.map(({ done }) => done))).toHaveLength(2)
})

test('a client that breaks out of its loop is forgotten', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  for await (const message of served.client.liveEvents({ task: 'a' })) {
    expect(message.event).toBe('task')
    break
  }
  await until(() => served.listeners.size === 0)
})

test('a client that stops reading holds up nobody and costs no rows in memory', async () => {
  let read = 0
  const served = await serveFakeDaemon()
  const { events } = served.deps
  served.deps.events = async (query) => {
    const rows = await events(query)
    read += rows.length
    return rows.map((row) => ({ ...row, payload: { message: 'x'.repeat(100_000) } }))
  }
  const socket = connect(served.port, '127.0.0.1')
  socket.pause()
  socket.write(
    `GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:${served.port}\r\nAuthorization: Bearer ${TOKEN}\r\nLast-Event-ID: 0.0\r\n\r\n`,
  )
  await until(() => served.listeners.size === 1)
  for (let n = 0; n < 2000; n++) served.addHook('a', 'PreToolUse')
  await new Promise((resolve) => setTimeout(resolve, 300))
  // 200 MB wait; the sockets' buffers take a few MB of them and the rest stays in the store.
  expect(read).toBeLessThan(1000)
  expect((await served.client.health()).status).toBe('ok')
  socket.destroy()
  await until(() => served.listeners.size === 0)
})

test('a silent stream says that it is alive', async () => {
  const served = await serveFakeDaemon()
  const response = await fetch(`${served.baseUrl}/api/events`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  })
  const reader = response.body?.getReader()
  let text = ''
  while (!text.includes(': alive')) text += new TextDecoder().decode((await reader?.read())?.value)
  expect(text).toBe('id: 0.0\n\n: alive\nid: 0.0\n\n')
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  await reader?.cancel()
})

/** What a stream sends, in one text that grows. `got.ended`: the daemon closed it. */
async function readRaw(served: Served, query: string, lastEventId = '') {
  const leave = new AbortController()
  onTestFinished(() => leave.abort())
  const reply = await fetch(`${served.baseUrl}/api/events${query}`, {
    headers: { authorization: `Bearer ${TOKEN}`, 'last-event-id': lastEventId },
    signal: leave.signal,
  })
  const got = { text: '', ended: false }
  reply.body
    ?.pipeThrough(new TextDecoderStream())
    .pipeTo(
      new WritableStream({ write: (text) => void (got.text += text), close: () => void (got.ended = true) }),
    )
    .catch(() => undefined)
  return got
}

test('a history of rows that are for others is read in turns with everything else, and not read again', async () => {
  const served = await serveFakeDaemon()
  for (let n = 0; n < 5000; n++) served.addHook('a', 'Stop')
  let inOneTurn = 0
  let most = 0
  const { events } = served.deps
  served.deps.events = async (query) => {
    most = Math.max(most, ++inOneTurn)
    setImmediate(() => (inOneTurn = 0))
    return events(query)
  }
  const got = await readRaw(served, '?kind=bash_command', '0.0')
  await until(() => got.text.includes('id: 5000.0\n'))
  expect(got.text).not.toContain('event:')
  expect(most).toBeLessThanOrEqual(2)
})

test('a stream says how far it is also while what happens is for others only', async () => {
  const served = await serveFakeDaemon({ heartbeatMs: 100 })
  const got = await readRaw(served, '?kind=bash_command')
  const busy = setInterval(() => served.addHook('a', 'Stop'), 10)
  onTestFinished(() => clearInterval(busy))
  await until(() => /: alive\nid: [1-9]/.test(got.text))
  expect(got.text).not.toContain('event:')
})

test.each([
  ['an unknown task', { task: 'nope' }, 'NOT_FOUND'],
  ['replay without a task', { replay: true }, 'BAD_INPUT'],
  ['an id of another kind', { lastEventId: '12' }, 'BAD_INPUT'],
])('%s is refused at once and not tried again', async (_name, options, code) => {
  const served = await serveFakeDaemon()
  await expect(served.client.liveEvents(options).next()).rejects.toMatchObject({ code })
})

test('a client gives up after the time it was given', async () => {
  const served = await serveFakeDaemon()
  const live = collect(served, { giveUpAfterMs: 300 })
  await until(() => served.listeners.size === 1)
  await served.stop()
  await expect(live.done).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' })
})

test('a credential for some projects follows all of them, and nothing of others', async () => {
  const served = await serveFakeDaemon()
  served.addTask('mine')
  served.addTask('theirs', { project: 'other' })
  const client = createDaemonClient({ baseUrl: served.baseUrl, token: 'read-key' })
  const abort = new AbortController()
  const seen: string[] = []
  const done = (async () => {
    for await (const { event, data } of client.liveEvents({ signal: abort.signal }))
      seen.push(`${event} ${event === 'task' ? data.id : data.task_id}`)
  })()
  await until(() => served.listeners.size === 1)
  for (const id of ['theirs', 'mine', 'theirs']) {
    served.addHook(id, 'Stop')
    served.addChange(id, 'working')
    served.addTask(id, { project: id === 'mine' ? 'app' : 'other' })
  }
  served.addHook('mine', 'Stop')
  await until(() => seen.filter((word) => word === 'hook mine').length === 2)
  expect(seen.filter((word) => !word.endsWith('mine'))).toEqual([])
  expect(new Set(seen)).toEqual(new Set(['hook mine', 'state mine', 'task mine']))
  abort.abort()
  await done
})

test('a stream of one project follows a task that is moved into it, and one that is moved away no more', async () => {
  const served = await serveFakeDaemon()
  served.addTask('comes', { project: 'other' })
  served.addTask('goes')
  const got = await readRaw(served, '?project=app')
  await until(() => served.listeners.size === 1)
  for (const id of ['comes', 'goes']) served.addHook(id, 'Stop')
  await until(() => got.text.includes('id: 2.0'))
  served.addTask('comes')
  served.addTask('goes', { project: 'other' })
  for (const id of ['goes', 'comes']) served.addHook(id, 'Stop')
  await until(() => got.text.includes('id: 4.0'))
  expect(got.text.match(/"task_id":"\w+"/g)).toEqual(['"task_id":"goes"', '"task_id":"comes"'])
})

test('a stream of one project has nothing of the others; one that may not be entered is not found', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  served.addTask('b', { project: 'other' })
  const ask = (project: string, token: string) =>
    fetch(`${served.baseUrl}/api/events?project=${project}`, {
      headers: { authorization: `Bearer ${token}` },
    })
  expect((await ask('other', 'read-key')).status).toBe(404)
  const reply = await ask('app', TOKEN)
  const reader = reply.body?.pipeThrough(new TextDecoderStream()).getReader()
  await reader?.read()
  served.addHook('b', 'Stop')
  served.addHook('a', 'Stop')
  let text = ''
  while (!text.includes('"a"')) text += (await reader?.read())?.value ?? ''
  expect(text).not.toContain('"b"')
  await reader?.cancel()
})

test('a credential has at most 256 streams, and one that is left makes room; HEAD takes none', async () => {
  // Signs of life of so many take the time of a machine that is busy.
  const served = await serveFakeDaemon({ heartbeatMs: 60_000 })
  const open = async (method = 'GET') => {
    const leave = new AbortController()
    const url = `${served.baseUrl}/api/events`
    const headers = { authorization: 'Bearer read-key' }
    return { leave, reply: await fetch(url, { method, headers, signal: leave.signal }) }
  }
  for (let n = 0; n < 20; n++) expect((await open('HEAD')).reply.status).toBe(200)
  const streams = []
  for (let n = 0; n < 256; n++) streams.push(await open())
  expect(streams.every(({ reply }) => reply.status === 200)).toBe(true)
  expect((await open()).reply.status).toBe(429)
  const other = await fetch(`${served.baseUrl}/api/events`, {
    headers: { authorization: `Bearer ${TOKEN}` },
    signal: AbortSignal.timeout(5000),
  })
  expect(other.status).toBe(200)
  streams[0]?.leave.abort()
  await until(() => served.listeners.size < 257)
  expect((await open()).reply.status).toBe(200)
  for (const { leave } of streams) leave.abort()
})

const READER: Principal = { kind: 'key', id: 'k', scopes: ['read'], projects: ['app'] }

test('a stream ends a second after its credential is found revoked', { retry: 2 }, async () => {
  let good = true
  const principal = { kind: 'key', id: 'k', scopes: ['read'], projects: null } as const
  const served = await serveFakeDaemon({ authenticate: async () => (good ? principal : 'refused') })
  const reply = await fetch(`${served.baseUrl}/api/events`, { headers: { authorization: 'Bearer x' } })
  const ended = reply.text()
  await until(() => served.listeners.size === 1)
  good = false
  const revokedAt = Date.now()
  expect(await ended).toContain('id: ')
  // The cache of verified tokens has 4 of the 5 s.
  expect(Date.now() - revokedAt).toBeLessThan(3000)
  await until(() => served.listeners.size === 0)
})

test.each<[string, () => Promise<Principal>]>([
  ['is for other projects now', async () => ({ ...READER, projects: ['other'] })],
  ['may not read any more', async () => ({ ...READER, scopes: ['write'] })],
  ['cannot be looked up', () => Promise.reject(new Error('no database'))],
])('a stream ends whose credential %s', async (_, then) => {
  let first = true
  const served = await serveFakeDaemon({ authenticate: () => (first ? Promise.resolve(READER) : then()) })
  const reply = await fetch(`${served.baseUrl}/api/events`, {
    headers: { authorization: 'Bearer x' },
    signal: AbortSignal.timeout(15_000),
  })
  const ended = reply.text()
  await until(() => served.listeners.size === 1)
  first = false
  expect(await ended).toContain('id: ')
})

test.each(['', '?kind=bash_command'])(
  'a stream %s of a history without end ends a second after its credential is found revoked, too',
  async (query) => {
    let good = true
    const principal = { kind: 'key', id: 'k', scopes: ['read'], projects: null } as const
    const served = await serveFakeDaemon({ authenticate: async () => (good ? principal : 'refused') })
    served.addHook('a', 'Stop')
    const [row] = await served.deps.events({ taskId: null, after: 0, limit: 1 })
    served.deps.lastIds = async () => ({ hookEventId: 1e12, stateChangeId: 0 })
    served.deps.events = async ({ after, limit }) =>
      row === undefined ? [] : Array.from({ length: limit }, (_, n) => ({ ...row, id: after + n + 1 }))
    const got = await readRaw(served, query, '0.0')
    await until(() => got.text.length > 20)
    good = false
    await until(() => got.ended)
    expect(served.listeners.size).toBe(0)
  },
)

test('a row is read once for all streams that are at the same place, and each of them has it', async () => {
  const served = await serveFakeDaemon()
  served.addTask('a')
  const { deps } = served
  const reads: number[] = []
  const { events } = deps
  deps.events = async (query) => {
    reads.push(query.after)
    return events(query)
  }
  const streams = Array.from({ length: 20 }, () => collect(served))
  await until(() => served.listeners.size === 20)
  await until(() => reads.length > 0)
  for (let n = 1; n <= 3; n++) {
    reads.splice(0)
    served.addHook('a', 'Stop')
    await until(() => streams.every(({ messages }) => messages.length === n))
    // One that was woken while another read may ask once more.
    expect(reads.length).toBeLessThanOrEqual(2)
  }
  for (const { seen, stop } of streams) {
    expect(seen()).toEqual(['hook 1', 'hook 2', 'hook 3'])
    stop()
  }
})
