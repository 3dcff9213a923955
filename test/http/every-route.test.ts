import { expect, test } from 'vitest'
import { createApp } from './checked-app.ts'
import { PORT } from './fake-daemon.ts'
import { ROUTES, type Row } from './route-table.ts'
import { seeded } from './seeded.ts'

// What all routes owe, on the rows of the table of credentials, which has every route.

/** `text`: of the body. */
type Changes = {
  path?: string
  body?: unknown
  text?: string
  headers?: Record<string, string>
  query?: string
}

/** The right request of a row, with some of it changed. */
async function stage([method, path, scope, ask]: Row) {
  const daemon = await seeded()
  const app = createApp(daemon.deps)
  const url = path
    .replace(':attempt', '1')
    .replace(':name', 'app')
    .replace('inbox/:id', 'inbox/1')
    .replace(/:\w+/g, 'x')
  const key = scope === 'own' || scope === 'open' ? null : scope === 'loopback' ? 'admin' : scope
  const send = (changes: Changes = {}) => {
    const body = changes.body ?? ask.body
    return app.request(`${changes.path ?? url}${changes.query ?? ask.query ?? ''}`, {
      method,
      body: changes.text ?? (body === undefined ? null : JSON.stringify(body)),
      headers: {
        host: `127.0.0.1:${PORT}`,
        'content-type': 'application/json',
        ...ask.headers,
        ...changes.headers,
        ...(key !== null && { authorization: `Bearer ${key}-key` }),
      },
    })
  }
  return { ...daemon, send }
}

const CHANGING = ROUTES.filter(([method, , scope]) => method !== 'GET' && scope !== 'own')

test.each(CHANGING)('%s %s is written down once: who, what, from where', async (...row) => {
  const { send, audits } = await stage(row)
  const reply = await send()
  const [method, path, scope, , status] = row
  expect(audits).toMatchObject([
    {
      kind: 'key',
      who: scope,
      action: `${method} ${path}`,
      origin: 'local',
      status,
      requestId: reply.headers.get('x-request-id'),
    },
  ])
})

test.each(CHANGING)('%s %s is done once under an Idempotency-Key', async (...row) => {
  const { send, calls } = await stage(row)
  const headers = { 'idempotency-key': 'k1' }
  const first = await send({ headers })
  expect(first.headers.get('idempotency-replayed')).toBeNull()
  const done = calls.length
  const again = await send({ headers })
  // A secret is shown once.
  const isSecret = row[0] === 'POST' && row[1] === '/api/keys'
  const [status, replayed] = isSecret ? [409, null] : [first.status, 'true']
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([status, replayed])
  expect((await again.text()) === (await first.text())).toBe(!isSecret)
  expect(calls).toHaveLength(done)
})

/** Where it is not 1 MiB. */
const MAX_BYTES: Partial<Record<string, number>> = {
  '/api/agents/send': 64 * 1024,
  // The whole content of a file that is to be written.
  '/internal/attempts/:task/:attempt/permission': 16 * 1024 * 1024,
}

test.each(ROUTES.filter(([method]) => method !== 'GET'))(
  '%s %s refuses a body that is too large, whole or in pieces',
  async (...row) => {
    const [, path, , { body = {} }, good] = row
    const max = MAX_BYTES[path] ?? 1024 * 1024
    const padded = (bytes: number) => JSON.stringify(body).padEnd(bytes)
    const { send, calls } = await stage(row)
    for (const headers of [{ 'content-length': String(max + 1) }, { 'transfer-encoding': 'chunked' }])
      expect((await send({ text: padded(max + 1), headers })).status).toBe(413)
    expect(calls).toEqual([])
    // GitHub's signature is of other bytes.
    expect((await send({ text: padded(max) })).status).toBe(path === '/webhook/github' ? 401 : good)
  },
)

const LONG = 'long-input-'.repeat(300)
const FILTERS = ['limit', 'cursor', 'sort', 'status', 'project', 'task', 'name', 'kind', 'since', 'q', LONG]

test.each(ROUTES)('a refusal of %s %s repeats no long input', async (...row) => {
  const [method, path, , ask] = row
  const answers: string[] = []
  const note = async (changes: Changes) => {
    const { send } = await stage(row)
    const reply = await send(changes)
    if (reply.status < 400) return void reply.body?.cancel()
    answers.push([...reply.headers.values(), await reply.text()].join('\n'))
  }
  for (const [parameter] of path.matchAll(/:\w+/g))
    await note({ path: path.replace(parameter, LONG).replace(/:\w+/g, '1') })
  if (method === 'GET') for (const name of FILTERS) await note({ query: `?${name}=${LONG}` })
  else {
    const body = ask.body as Record<string, unknown> | undefined
    await note({ body: { ...body, [LONG]: 1 } })
    await note({ body: LONG })
    for (const [name, value] of Object.entries({ ...body, template: 'x', dir: '/x' }))
      await note({ body: { ...body, [name]: typeof value === 'string' ? LONG : [LONG] } })
    await note({ headers: { 'idempotency-key': LONG } })
    await note({ headers: { 'content-type': LONG } })
  }
  await note({ headers: { host: LONG } })
  await note({ headers: { origin: LONG } })
  expect(answers.length).toBeGreaterThan(0)
  for (const answer of answers) expect(answer.length).toBeLessThan(1500)
})

test.each(ROUTES.filter(([, path]) => path.startsWith('/internal/')))(
  '%s %s refuses what was passed on, with the right credential too',
  async (...row) => {
    for (const name of ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via']) {
      const { send, calls } = await stage(row)
      expect([name, (await send({ headers: { [name]: '127.0.0.1' } })).status]).toEqual([name, 403])
      expect(calls).toEqual([])
    }
    const { send } = await stage(row)
    expect((await send()).status).toBe(row[4])
  },
)
