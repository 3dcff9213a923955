import { createHmac } from 'node:crypto'
import {
  anything,
  assert,
  asyncProperty,
  constantFrom,
  dictionary,
  jsonValue,
  oneof,
  record,
  string,
  stringify,
  uint8Array,
} from 'fast-check'
import { expect, test } from 'vitest'
import { GITHUB_EVENTS } from '../../src/core/outside/github-event.ts'
import { createApp } from '../../src/http/app.ts'
import { createFakeDaemon, PORT } from './fake-daemon.ts'
import { anyHooks, GITHUB_SECRET, fakeWebhooks } from './fake-inbox.ts'

const app = createApp(
  createFakeDaemon({
    rate: 100_000,
    webhooks: fakeWebhooks({
      ...anyHooks(['x', 'opened', 'created', 'submitted', 'completed', '']),
    }),
  }).deps,
)
const post = async (name: string, body: string | Buffer<ArrayBuffer>, headers: Record<string, string>) => {
  const reply = await app.request(`/webhook/${name}`, {
    method: 'POST',
    body,
    headers: { host: `127.0.0.1:${PORT}`, 'content-type': 'application/json', ...headers },
  })
  const refusal = reply.status < 500 ? null : await reply.text()
  expect(refusal).toBeNull()
  return reply.status
}
const sign = (body: string | Uint8Array) =>
  `sha256=${createHmac('sha256', GITHUB_SECRET).update(body).digest('hex')}`

/** Payloads that look like GitHub's, with anything in every place. */
const odd = oneof(
  jsonValue(),
  string({ unit: 'binary' }),
  constantFrom(null, 0, -1, 1e308, 'Bot', '/ccm x', 'failure'),
)
const payload = record({
  action: oneof(constantFrom('opened', 'created', 'submitted', 'completed'), odd),
  repository: oneof(record({ full_name: oneof(constantFrom('octo/app'), odd) }), odd),
  sender: oneof(record({ login: odd, type: odd }), odd),
  issue: oneof(
    record({ number: odd, title: odd, body: odd, user: odd, labels: odd, author_association: odd }),
    odd,
  ),
  comment: oneof(record({ body: odd, user: odd, author_association: odd, html_url: odd }), odd),
  pull_request: oneof(record({ number: odd, head: odd, title: odd }), odd),
  review: odd,
  check_run: oneof(
    record({ conclusion: constantFrom('failure'), check_suite: odd, output: odd, pull_requests: odd }),
    odd,
  ),
  workflow_run: oneof(
    record({ conclusion: constantFrom('failure'), head_repository: odd, pull_requests: odd }),
    odd,
  ),
  ref: oneof(constantFrom('refs/heads/x'), odd),
  commits: odd,
})

test('no signed payload whatever is an error of ours', async () => {
  await assert(
    asyncProperty(constantFrom(...GITHUB_EVENTS), oneof(payload, jsonValue()), async (event, given) => {
      const body = JSON.stringify(given)
      const status = await post('github', body, {
        'x-github-event': event,
        'x-github-delivery': 'd',
        'x-hub-signature-256': sign(body),
      })
      expect(status).not.toBe(401)
    }),
    { numRuns: 400 },
  )
})

test('no bytes whatever are an error of ours, to any of the three', async () => {
  await assert(
    asyncProperty(uint8Array({ maxLength: 200 }), string(), async (bytes, header) => {
      const ascii = header.replaceAll(/[^\x20-\x7e]/g, '').trim()
      const body = Buffer.from(bytes)
      await post('github', body, { 'x-github-event': ascii, 'x-hub-signature-256': sign(body) })
      await post('github', body, { 'x-github-delivery': ascii, 'x-hub-signature-256': ascii })
      await post('prometheus', body, { authorization: 'Bearer prometheus-token' })
      await post('prometheus', body, { authorization: ascii })
      await post('telegram', body, { 'x-telegram-bot-api-secret-token': 'telegram-secret' })
      await post('telegram', body, { 'x-telegram-bot-api-secret-token': ascii })
    }),
    { numRuns: 100 },
  )
})

test('no message of an Alertmanager whatever is an error of ours', async () => {
  const alert = record({
    status: oneof(constantFrom('firing', 'resolved'), odd),
    fingerprint: oneof(constantFrom('a1'), odd),
    startsAt: oneof(constantFrom('2026-11-20T10:00:00Z', '275760-09-13T00:00:01Z'), odd),
    labels: oneof(dictionary(string(), odd), odd),
    annotations: oneof(dictionary(string(), odd), odd),
    generatorURL: odd,
  })
  await assert(
    asyncProperty(oneof(alert, anything().map(stringify)), jsonValue(), async (one, other) => {
      const body = JSON.stringify({ alerts: [one, other] })
      await post('prometheus', body, { authorization: 'Bearer prometheus-token' })
    }),
    { numRuns: 200 },
  )
})
