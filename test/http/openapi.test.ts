import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { routesOf } from '../../src/http/app.ts'
import { docsPage } from '../../src/http/docs-page.ts'
import type { OpenApi } from '../../src/http/openapi.ts'
import type { TaskResult } from '../../src/core/task/task.ts'
import type { Route } from '../../src/http/routes/route.ts'
import { createApp, faultOf } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'
import { OPENAPI_FILE, openApiText } from './openapi-text.ts'

const ask = (path: string, init: RequestInit = {}, daemon = createFakeDaemon()) =>
  createApp(daemon.deps).request(path, { ...init, headers: rightful(init.headers as Record<string, string>) })

test('docs/openapi.json is what the routes are now (npm run openapi writes it)', async () => {
  expect(readFileSync(OPENAPI_FILE, 'utf8')).toBe(await openApiText())
})

test('the document names every route, points to nothing that is not there, and has unique operations', async () => {
  const reply = await ask('/openapi.json', { headers: { authorization: '' } })
  const document = (await reply.json()) as OpenApi
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
  expect(operations).toHaveLength(routesOf(createFakeDaemon().deps).length)
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length)
  const pointed = JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)
  for (const [, name = ''] of pointed) expect(Object.keys(document.components.schemas)).toContain(name)
  expect(JSON.stringify(document)).not.toMatch(/\$defs|#\/definitions/)
  expect(document.paths['/api/tasks/{id}']?.['get']?.parameters?.[0]).toMatchObject({
    name: 'id',
    in: 'path',
  })
})

test('every schema of the document is one that JSON Schema has', async () => {
  const document = JSON.parse(await openApiText()) as OpenApi
  for (const schema of Object.values(document.components.schemas)) {
    const alone = { ...(schema as object), $defs: document.components.schemas }
    const own = JSON.parse(
      JSON.stringify(alone).replaceAll('#/components/schemas/', '#/$defs/'),
    ) as z.core.JSONSchema.JSONSchema
    expect(() => z.fromJSONSchema(own)).not.toThrow()
  }
})

test('the page for people needs nothing else and runs nothing', async () => {
  const reply = await ask('/docs', { headers: { authorization: '' } })
  const page = await reply.text()
  expect(reply.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; style-src 'sha256-[\w+/=]+';/,
  )
  expect(page).not.toMatch(/<script|<link|<img|https?:|url\(|@import| on\w+=| style=/i)
  for (const { path } of routesOf(createFakeDaemon().deps))
    expect(page).toContain(`<code>${path.replaceAll(/:(\w+)/g, '{$1}')}</code>`)
})

test('whatever a route says of itself is text on the page', () => {
  const page = docsPage({
    openapi: '3.1.0',
    info: { title: '<b>', version: '1', description: '`<i>`' },
    paths: {
      '/<script>': {
        get: {
          summary: '<img>',
          operationId: 'a',
          tags: ['<u>'],
          security: [],
          responses: { 200: { content: '<s>' } },
        },
      },
    },
    components: { schemas: { '<a>': '</pre>' }, securitySchemes: {} },
  })
  expect(page).not.toMatch(/<(i|img|u|s|script|a)>|<b> API/)
})

test('/api/v1 is the same router', async () => {
  const daemon = createFakeDaemon()
  daemon.addTask('a')
  expect((await ask('/api/v1/tasks/a', {}, daemon)).status).toBe(200)
  expect(await (await ask('/api/v1/tasks', {}, daemon)).json()).toEqual(
    await (await ask('/api/tasks', {}, daemon)).json(),
  )
  for (const path of [
    '/api/v1',
    '/api/v1/',
    '/api/v1/v1/tasks',
    '/api/v2/tasks',
    '/v1/api/tasks',
    '/api/v1/health',
  ])
    expect([path, (await ask(path)).status]).toEqual([path, 404])
})

test.each([
  '/api/tasks/',
  '/api/tasks/a/',
  '/health/',
  '/api//tasks',
  '/API/tasks',
  '/docs/',
  '/api/tasks/a/result/',
])('%s is not found', async (path) => {
  const daemon = createFakeDaemon()
  daemon.addTask('a')
  expect((await ask(path, {}, daemon)).status).toBe(404)
})

test('HEAD is GET without a body, OPTIONS tells the methods and allows no other website', async () => {
  const head = await ask('/api/tasks', { method: 'HEAD' })
  expect([head.status, await head.text()]).toEqual([200, ''])
  const options = await ask('/api/tasks', { method: 'OPTIONS' })
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, GET, HEAD, OPTIONS'])
  expect([...options.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  const patched = await ask('/api/tasks', { method: 'PATCH' })
  expect([patched.status, patched.headers.get('allow')]).toEqual([405, 'POST, GET, HEAD, OPTIONS'])
  expect((await ask('/api/none', { method: 'OPTIONS' })).status).toBe(404)
  expect((await ask('/api/tasks', { method: 'HEAD', headers: { authorization: 'Bearer no' } })).status).toBe(
    401,
  )
})

test('an answer with a field too many, too few, or of another status is seen', async () => {
  const routes = [
    {
      method: 'GET',
      path: '/a/:id',
      access: 'open',
      about: '',
      reply: z.object({ a: z.int() }),
      handle: () => new Response(),
    },
  ] satisfies Route[]
  const fault = (json: unknown, init: ResponseInit = {}) =>
    faultOf(
      routes,
      new Request('http://x/a/1'),
      Response.json(json, { ...init, headers: { 'x-request-id': 'a', ...(init.headers as object) } }),
    )
  expect(await fault({ a: 1 })).toBeNull()
  for (const [json, init] of [
    [{ a: 1, b: 2 }],
    [{}],
    [{ a: '1' }],
    [{ a: 1 }, { status: 201 }],
    [{ a: 1 }, { headers: { 'content-type': 'text/html' } }],
  ] as [unknown, ResponseInit?][])
    expect(await fault(json, init)).not.toBeNull()
})

test('a task with all there can be of it is what the document says', async () => {
  const daemon = createFakeDaemon()
  const workspace: NonNullable<TaskResult['workspace']> = {
    kind: 'worktree',
    dir: null,
    branch: 'b',
    base: 'c',
    commit: null,
    left_out: [],
    ignored: [],
    notes: [],
  }
  const result = {
    text: 'Done.',
    tools: [
      {
        tool: 'Bash',
        kind: 'command',
        path: null,
        lines_added: null,
        lines_removed: null,
        command: 'true',
        exit_code: 0,
        summary: null,
        ok: true,
        error: null,
        duration_ms: 1,
      },
    ],
    files: [{ path: 'a', change: 'added', added: 1, removed: 0 }],
    usage: {
      m: { input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
    },
    cost_usd: 0.1,
    duration_ms: 1,
    attempts: 1,
    claude_session_id: null,
    resume_command: null,
    errors: [{ kind: 'network', message: 'away', at: 1 }],
    workspace,
  } satisfies TaskResult
  daemon.addTask('a', { status: 'succeeded', result, startedAt: 1, finishedAt: 2 })
  expect(await (await ask('/api/tasks/a', {}, daemon)).json()).toMatchObject({ result })
  expect(await (await ask('/api/tasks/a/result', {}, daemon)).json()).toEqual({
    task: 'a',
    status: 'succeeded',
    result,
    error: null,
  })
})
