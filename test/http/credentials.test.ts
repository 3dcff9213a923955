import { expect, test } from 'vitest'
import { SCOPES } from '../../src/core/principal.ts'
import { routesOf } from '../../src/http/app.ts'
import { createApp } from './checked-app.ts'
import { PORT, createFakeDaemon } from './fake-daemon.ts'
import { ROUTES, type Row } from './route-table.ts'
import { seeded } from './seeded.ts'

const host = `127.0.0.1:${PORT}`

test('every route has a row in the table of credentials', () => {
  const app = createApp(createFakeDaemon().deps)
  // What the app really serves, not what the list says; ALL are the guards before all routes.
  const served = app.routes
    .filter((route) => route.method !== 'ALL')
    .map(({ method, path }) => `${method} ${path}`)
  const named = [...new Set(ROUTES.map(([method, path]) => `${method} ${path}`))].sort()
  expect([...new Set(served)].sort()).toEqual(named)
  expect(routesOf(createFakeDaemon().deps)).toHaveLength(named.length)
})

/** The route with parameters filled in, and whether it is about a task. */
const urlOf = (path: string) =>
  path.replace(':attempt', '1').replace(':name', 'app').replace('inbox/:id', 'inbox/1').replace(/:\w+/g, 'x')

test.each(ROUTES)(
  '%s %s refuses no credential and a wrong one, unless it is open: %s',
  async (method, path, scope) => {
    const { deps, calls, addTask } = createFakeDaemon()
    addTask('x')
    const app = createApp(deps)
    const ask = (headers: Record<string, string>) =>
      app.request(urlOf(path), { method, headers: { host, 'content-type': 'application/json', ...headers } })
    const refused = scope === 'open' || scope === 'loopback' ? 200 : 401
    expect((await ask({})).status).toBe(refused)
    for (const authorization of [
      'Bearer wrong',
      'Bearer',
      'Basic right-token',
      'Bearer right-token-and-more',
    ]) {
      expect((await ask({ authorization })).status).toBe(refused)
    }
    expect(calls).toEqual([])
  },
)

test.each(ROUTES.filter(([, , scope]) => !['open', 'own', 'loopback'].includes(scope)))(
  '%s %s refuses every key without the scope %s, and no other',
  async (method, path, needed) => {
    for (const scope of SCOPES) {
      const { deps, calls, addTask } = createFakeDaemon()
      addTask('x')
      const { status } = await createApp(deps).request(urlOf(path), {
        method,
        headers: { host, 'content-type': 'application/json', authorization: `Bearer ${scope}-key` },
      })
      const refused = scope !== needed && scope !== 'admin'
      expect([scope, status === 403]).toEqual([scope, refused])
      expect(status).not.toBe(401)
      expect(refused ? calls : []).toEqual([])
    }
  },
)

test.each(ROUTES.filter(([, , scope]) => scope === 'admin'))(
  '%s %s refuses an administrator of some projects',
  async (method, path) => {
    const { deps, calls } = createFakeDaemon()
    const { status } = await createApp(deps).request(urlOf(path), {
      method,
      headers: { host, 'content-type': 'application/json', authorization: 'Bearer half-admin-key' },
    })
    expect(status).toBe(403)
    expect(calls).toEqual([])
  },
)

/** The answer to the row's request with this credential; of a stream what comes at once. */
async function answerTo([method, path, , ask]: Row, key: string | null) {
  const { deps, calls } = await seeded()
  const reply = await createApp(deps).request(`${urlOf(path)}${ask.query ?? ''}`, {
    method,
    body: ask.body === undefined ? null : JSON.stringify(ask.body),
    headers: {
      host,
      'content-type': 'application/json',
      ...ask.headers,
      ...(key !== null && { authorization: `Bearer ${key}` }),
    },
  })
  const isStream = reply.headers.get('content-type') === 'text/event-stream'
  return { status: reply.status, text: isStream ? await beginOf(reply) : await reply.text(), calls }
}

async function beginOf(reply: Response): Promise<string> {
  const reader = (reply.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes(': alive')) text += new TextDecoder().decode((await reader.read()).value)
  await reader.cancel()
  return text
}

test.each(ROUTES)('%s %s answers the right credential: %s, %o, %i', async (...row) => {
  const [, , scope, , good, foreign] = row
  const key = { open: null, own: null, loopback: 'admin-key' }[scope as string]
  const { status, text } = await answerTo(row, key === undefined ? `${scope}-key` : key)
  expect([status, text]).toEqual([good, text])
  // What a foreign key must not see is there.
  expect(foreign instanceof RegExp ? text : '').toMatch(foreign instanceof RegExp ? foreign : '')
})

test.each(ROUTES)('%s %s shows a key of another project nothing: %s, %o', async (...row) => {
  const [, , scope, ask, good, foreign] = row
  if (scope === 'own') row[3] = { ...ask, headers: {} }
  const { status, text, calls } = await answerTo(row, 'foreign-key')
  expect([status, text]).toEqual([typeof foreign === 'number' ? foreign : good, text])
  expect(text).not.toMatch(foreign instanceof RegExp ? foreign : /^$/)
  expect(calls).toEqual([])
})

test('a key of another project cannot let its task wait for one of this', async () => {
  const asked = async (depends_on: string[]) => {
    const body = { prompt: 'Do it.', project: 'other', depends_on }
    return (await answerTo(['POST', '/api/tasks', 'write', { body }, 201, 404], 'foreign-key')).status
  }
  // The fake's task is of `app`: a conflict, and none of its words.
  expect([await asked([]), await asked(['x'])]).toEqual([409, 404])
})
