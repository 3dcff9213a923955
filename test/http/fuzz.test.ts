import * as fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { routesOf } from '../../src/http/app.ts'
import { createApp } from './checked-app.ts'
import { createFakeDaemon, rightful } from './fake-daemon.ts'

vi.setConfig({ testTimeout: 60_000 })

const RUNS = 40

/** Anything JSON, often with names that the routes know. */
const NAMES = [
  'prompt',
  'dir',
  'project',
  'name',
  'cron',
  'time_zone',
  'scopes',
  'set',
  'text',
  'task',
  'reason',
]
const odd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    '',
    '\0',
    '../..',
    "'; DROP TABLE tasks; --",
    '__proto__',
    '\u{1f4a9}'.slice(0, 1),
    'a'.repeat(200),
  ),
  fc.constantFrom(-1, 0, 1e308, Number.MAX_SAFE_INTEGER, [], {}, null, true),
)
const json = fc.oneof(
  odd,
  fc.dictionary(fc.oneof(fc.constantFrom(...NAMES, '__proto__', 'constructor'), fc.string()), odd),
)
const body = fc.oneof(
  json.map((value) => JSON.stringify(value)),
  fc.string(),
  fc.constantFrom('{', '[[[[', '"\\ud800"', '{"__proto__":{"scopes":["admin"]}}', '['.repeat(100_000), '﻿{}'),
)
const segment = fc
  .oneof(fc.constantFrom('x', 'app', '%00', '%2e%2e', '%', '%ff', '..%2f', '*', "'", 'a%0d%0ab'), fc.string())
  .map((text) => (/^[%\w*.'-]+$/.test(text) ? text : encodeURIComponent(text.toWellFormed())))
const query = fc.oneof(
  fc.constant(''),
  fc.webQueryParameters(),
  fc
    .dictionary(
      fc.constantFrom(
        'limit',
        'before',
        'after',
        'task',
        'status',
        'project',
        'since',
        'kind',
        'q',
        'replay',
        'from',
      ),
      fc.oneof(fc.constantFrom('0', '-1', '1e9', '%00', 'NaN', '9999999999999999', '%ff'), fc.string()),
    )
    .map((values) => new URLSearchParams(values).toString()),
)
const value = fc.string().map((text) => text.replaceAll(/[^\x20-\x7e]/g, ''))
const headers = fc.dictionary(
  fc.constantFrom(
    'last-event-id',
    'idempotency-key',
    'content-type',
    'accept',
    'x-forwarded-for',
    'range',
    'if-none-match',
    'cookie',
    'expect',
    'x-http-method-override',
  ),
  fc.oneof(value, fc.constantFrom('1.1', '0.0', '-1.-1', 'application/json', 'text/plain', 'x'.repeat(300))),
)

test.each(routesOf(createFakeDaemon().deps).map(({ method, path }) => [method, path] as const))(
  'nothing that is sent to %s %s is a fault of the daemon',
  async (method, path) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(segment, { minLength: 2, maxLength: 2 }),
        query,
        body,
        headers,
        async (segments, query, body, more) => {
          const { deps, addTask, log } = createFakeDaemon()
          addTask('x')
          const url = `http://127.0.0.1:8765${path.replaceAll(/:\w+/g, () => segments.pop() || 'x')}?${query}`
          const request = new Request(url, {
            method,
            headers: rightful({ 'content-type': 'application/json', ...more }),
            ...(method === 'GET' ? {} : { body }),
          })
          const reply = await createApp(deps).fetch(request)
          await reply.body?.cancel()
          expect([reply.status, log]).toEqual([expect.toSatisfy((status: number) => status < 500), []])
        },
      ),
      { numRuns: RUNS },
    )
  },
)

test.each(
  routesOf(createFakeDaemon().deps)
    .filter(({ query, body }) => query !== undefined || body !== undefined)
    .map((route) => [route.method, route.path, route] as const),
)(
  '%s %s refuses what its schema does not know, and echoes nothing long',
  async (method, path, { query, access }) => {
    // The held hook takes Claude Code's own JSON, whatever is in it.
    if (access === 'own') return
    const { deps, addTask } = createFakeDaemon()
    addTask('x')
    // Twice, and still below the smallest limit of a body.
    const long = 'long'.repeat(7500)
    const url = path.replace(':name', 'app').replaceAll(/:\w+/g, 'x')
    const reply = await createApp(deps).request(query === undefined ? url : `${url}?odd=${long}`, {
      method,
      headers: rightful({ 'content-type': 'application/json' }),
      ...(query === undefined ? { body: JSON.stringify({ odd: long, [long]: 1 }) } : {}),
    })
    const text = await reply.text()
    expect([reply.status, text.includes('odd')]).toEqual([400, true])
    expect(text.length).toBeLessThan(4000)
  },
)
