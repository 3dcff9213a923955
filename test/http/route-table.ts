import { createHmac } from 'node:crypto'
import type { Scope } from '../../src/core/principal.ts'
import { GITHUB_SECRET } from './fake-inbox.ts'

/** What is asked of a route where nothing is amiss; `headers` beside the credential. */
export type Ask = { query?: string; body?: unknown; headers?: Record<string, string> }

/**
 * What a key of another project gets for the same request: a status; a pattern of what the right one sees in the answer and it
 * does not; or `shared`: the answer is nobody's.
 */
export type ToForeign = number | RegExp | 'shared'

/** `good`: the status for the right credential, on the daemon of `seeded`. */
export type Row = [
  method: string,
  path: string,
  scope: Scope | 'open' | 'own' | 'loopback',
  ask: Ask,
  good: number,
  foreign: ToForeign,
]

const ISSUE = {
  action: 'opened',
  repository: { full_name: 'octo/app' },
  sender: { login: 'octo', type: 'User' },
  issue: {
    number: 1,
    title: 'It breaks',
    body: 'See above.',
    html_url: 'https://github.com/octo/app/issues/1',
    author_association: 'OWNER',
    labels: [],
    user: { login: 'octo' },
  },
}
const ALERTS = {
  version: '4',
  alerts: [
    { status: 'firing', fingerprint: 'ab', startsAt: '2026-01-01T00:00:00Z', labels: {}, annotations: {} },
  ],
}
const signed = {
  'x-github-event': 'issues',
  'x-github-delivery': '1',
  'x-hub-signature-256': `sha256=${createHmac('sha256', GITHUB_SECRET).update(JSON.stringify(ISSUE)).digest('hex')}`,
}
const proxied = { 'x-forwarded-for': '192.0.2.1' }
const task = { prompt: 'Do it.', project: 'app' }
const template = { prompt: 'Do it.' }
const schedule = { ...task, cron: '0 7 * * *', time_zone: 'UTC' }
const OWN_PROJECT = /"project":"app"/

/** Every route with the scope it needs, and what it answers to whom. A new route needs a row here. */
export const ROUTES: Row[] = [
  ['GET', '/health', 'open', {}, 200, 'shared'],
  ['GET', '/health/tmux', 'open', {}, 200, 'shared'],
  ['GET', '/health/supabase', 'open', {}, 200, 'shared'],
  ['GET', '/api/status', 'read', {}, 200, /"queued":1/],
  ['POST', '/api/shutdown', 'admin', {}, 202, 403],
  ['GET', '/api/projects', 'read', {}, 200, /"name":"app"/],
  ['POST', '/api/projects', 'admin', { body: { dir: '/code/new' } }, 201, 403],
  ['GET', '/api/projects/:name', 'read', {}, 200, 404],
  ['PATCH', '/api/projects/:name', 'admin', { body: { priority: 5 } }, 200, 403],
  ['DELETE', '/api/projects/:name', 'admin', {}, 200, 403],
  ['POST', '/api/projects/:name/trust', 'admin', {}, 200, 403],
  ['GET', '/api/projects/:name/rules', 'read', {}, 200, 404],
  ['POST', '/api/projects/:name/rules', 'admin', { body: { remove: ['Bash(ls)'] } }, 200, 403],
  ['GET', '/api/schedules', 'read', {}, 200, OWN_PROJECT],
  ['POST', '/api/schedules', 'admin', { body: schedule }, 201, 403],
  ['GET', '/api/schedules/:name', 'read', {}, 200, 404],
  ['DELETE', '/api/schedules/:name', 'admin', {}, 200, 403],
  ['POST', '/api/schedules/:name/pause', 'operate', {}, 200, 404],
  ['POST', '/api/schedules/:name/resume', 'operate', {}, 200, 404],
  ['POST', '/api/schedules/:name/run', 'write', {}, 201, 404],
  ['GET', '/api/tasks/:id/timeline', 'read', {}, 200, 404],
  ['GET', '/api/search', 'read', { query: '?q=ls' }, 200, OWN_PROJECT],
  ['GET', '/api/search', 'read', { query: '?q=ls&project=app' }, 200, 404],
  ['POST', '/api/tasks', 'write', { body: task }, 201, 404],
  ['GET', '/api/tasks', 'read', {}, 200, OWN_PROJECT],
  ['GET', '/api/tasks', 'read', { query: '?project=app' }, 200, OWN_PROJECT],
  ['GET', '/api/tasks/:id', 'read', {}, 200, 404],
  ['GET', '/api/tasks/:id/events', 'read', {}, 200, 404],
  ['GET', '/api/tasks/:id/explain', 'read', {}, 200, 404],
  ['GET', '/api/tasks/:id/result', 'read', {}, 200, 404],
  ['GET', '/api/tasks/:id/screen', 'read', {}, 200, 404],
  ['POST', '/api/tasks/:id/cancel', 'write', {}, 200, 404],
  ['POST', '/api/tasks/:id/retry', 'write', {}, 200, 404],
  ['GET', '/api/tasks/:id/diff', 'read', {}, 200, 404],
  ['POST', '/api/tasks/:id/apply', 'operate', {}, 200, 404],
  ['POST', '/api/tasks/:id/discard', 'operate', {}, 200, 404],
  ['POST', '/api/tasks/:id/approve', 'operate', {}, 200, 404],
  ['POST', '/api/tasks/:id/deny', 'operate', {}, 200, 404],
  ['POST', '/api/tasks/:id/send', 'write', { body: { text: 'hi' } }, 200, 404],
  ['GET', '/api/events', 'read', { headers: { 'last-event-id': '0.0' } }, 200, OWN_PROJECT],
  ['GET', '/api/events', 'read', { query: '?task=x' }, 200, 404],
  ['GET', '/api/events', 'read', { query: '?project=app' }, 200, 404],
  ['GET', '/api/incidents', 'read', {}, 200, /An agent of app/],
  ['GET', '/api/audit', 'admin', {}, 200, 403],
  ['GET', '/metrics', 'loopback', { headers: proxied }, 200, 403],
  ['GET', '/api/agents', 'read', {}, 200, OWN_PROJECT],
  ['POST', '/api/agents/send', 'operate', { body: { text: 'hi' } }, 200, OWN_PROJECT],
  ['POST', '/api/agents/send', 'operate', { body: { text: 'hi', project: 'app' } }, 200, 404],
  ['GET', '/api/systems', 'read', {}, 200, /"queued":1/],
  ['GET', '/api/workers', 'read', {}, 200, /"app":"\/app"/],
  ['GET', '/api/usage', 'read', { query: '?project=app' }, 200, 404],
  ['POST', '/internal/spawn-agent', 'admin', { body: task }, 201, 403],
  ['POST', '/internal/kill-agent', 'admin', { body: { task: 'x' } }, 200, 403],
  ['GET', '/internal/agent-status', 'admin', { query: '?task=x' }, 200, 403],
  ['GET', '/api/templates', 'read', {}, 200, 'shared'],
  ['GET', '/api/templates/:name', 'read', {}, 200, 'shared'],
  ['POST', '/api/templates', 'admin', { body: { name: 'new', ...template } }, 201, 403],
  ['PUT', '/api/templates/:name', 'admin', { body: template }, 200, 403],
  ['DELETE', '/api/templates/:name', 'admin', {}, 200, 403],
  ['POST', '/webhook/github', 'own', { body: ISSUE, headers: signed }, 202, 401],
  [
    'POST',
    '/webhook/prometheus',
    'own',
    { body: ALERTS, headers: { authorization: 'Bearer prometheus-token' } },
    202,
    401,
  ],
  [
    'POST',
    '/webhook/telegram',
    'own',
    { body: { update_id: 1 }, headers: { 'x-telegram-bot-api-secret-token': 'telegram-secret' } },
    200,
    401,
  ],
  ['GET', '/api/inbox', 'operate', {}, 200, OWN_PROJECT],
  ['GET', '/api/inbox/:id', 'operate', {}, 200, 404],
  ['POST', '/api/inbox/:id/approve', 'operate', {}, 200, 404],
  ['POST', '/api/inbox/:id/refuse', 'operate', {}, 200, 404],
  ['GET', '/api/keys', 'admin', {}, 200, 403],
  ['POST', '/api/keys', 'admin', { body: { name: 'new', scopes: ['read'] } }, 201, 403],
  ['POST', '/api/keys/:id/revoke', 'admin', {}, 200, 403],
  ['POST', '/api/users/:id/revoke', 'admin', {}, 200, 403],
  ['GET', '/openapi.json', 'open', {}, 200, 'shared'],
  ['GET', '/docs', 'open', {}, 200, 'shared'],
  [
    'POST',
    '/internal/attempts/:task/:attempt/permission',
    'own',
    { body: {}, headers: { authorization: 'Bearer attempt-secret' } },
    200,
    401,
  ],
]
