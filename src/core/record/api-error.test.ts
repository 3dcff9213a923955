import { expect, test } from 'vitest'
import { API_ERROR_POLICIES, apiErrorKind, type ApiErrorEvidence, type ApiErrorKind } from './api-error.ts'

const gateway = 'If it persists, check your inference gateway (127.0.0.1:18091).'

const table: [name: string, evidence: ApiErrorEvidence, kind: ApiErrorKind][] = [
  // The StopFailure hook alone: a code and the text on the screen.
  [
    'hook 401',
    { error: 'authentication_failed', message: 'Failed to authenticate. API Error: 401 no' },
    'auth',
  ],
  ['hook 401, other text', { error: 'unknown', message: 'Please run /login · API Error: 401 no' }, 'auth'],
  [
    'hook invalid key',
    { error: 'authentication_failed', message: 'Invalid API key · Fix external API key' },
    'auth',
  ],
  ['hook no login', { error: 'unknown', message: 'Not logged in · Please run /login' }, 'auth'],
  [
    'hook 429',
    { error: 'rate_limit', message: 'API Error: Request rejected (429) · Please try later.' },
    'rate_limit',
  ],
  [
    'hook 429 by text alone',
    { error: 'unknown', message: 'API Error: Request rejected (429) · Please try later.' },
    'rate_limit',
  ],
  [
    'hook 5-hour limit',
    { error: 'rate_limit', message: "You've hit your 5-hour limit · resets 3:26pm (UTC)" },
    'usage_limit',
  ],
  [
    'hook weekly limit',
    { error: 'rate_limit', message: 'You’ve hit your weekly limit · resets Nov 24' },
    'usage_limit',
  ],
  ['hook limit', { error: 'rate_limit', message: "You've hit your limit · resets 3pm" }, 'usage_limit'],
  ['hook 500', { error: 'server_error', message: `API Error: 500 stub. ${gateway}` }, 'server'],
  ['hook 529', { error: 'server_error', message: `API Error: 529 Overloaded. ${gateway}` }, 'overloaded'],
  ['hook 400', { error: 'unknown', message: 'API Error: 400 stub 400' }, 'invalid'],
  ['hook refused', { error: 'unknown', message: 'API Error: Unable to connect to API (ECONN)' }, 'network'],
  [
    'hook connection refused',
    {
      error: 'server_error',
      message: 'API Error: Connection refused — a firewall may block it (ECONNREFUSED)',
    },
    'network',
  ],
  [
    'hook name not found',
    { error: 'server_error', message: 'API Error: No such host (ENOTFOUND)' },
    'network',
  ],
  ['hook reset', { error: 'server_error', message: 'API Error: Connection error.' }, 'network'],
  [
    'hook no money',
    { error: 'billing_error', message: 'Credit balance too low · Add funds: https://x' },
    'billing',
  ],
  [
    '400 that is about money',
    { error: 'unknown', status: 400, message: 'API Error: 400 Your credit balance is too low' },
    'billing',
  ],
  ['hook no such model', { error: 'model_not_found', message: "There's an issue" }, 'invalid'],
  ['hook too long an answer', { error: 'max_output_tokens', message: 'API Error: exceeded' }, 'server'],
  ['hook overloaded', { error: 'overloaded', message: '' }, 'overloaded'],
  ['hook account on hold', { error: 'account_on_hold' }, 'auth'],
  // The transcript's record.
  [
    'record of a usage limit',
    { error: 'rate_limit', status: 429, type: 'rate_limit_error', apiError: 'usage_limit_reached' },
    'usage_limit',
  ],
  [
    'record of a rate limit',
    { error: 'rate_limit', status: 429, type: 'rate_limit_error', message: 'API Error' },
    'rate_limit',
  ],
  ['record of a 400', { error: 'unknown', status: 400, type: 'invalid_request_error' }, 'invalid'],
  ['record of a 404', { error: 'unknown', status: 404, type: 'not_found_error' }, 'invalid'],
  ['record without an answer', { error: 'server_error', apiError: 'connection_failed' }, 'network'],
  ['record of a blocked network', { status: 403, apiError: 'network_edge_blocked' }, 'network'],
  ['type alone', { type: 'overloaded_error' }, 'overloaded'],
  ['status 402', { status: 402 }, 'billing'],
  ['status 403', { status: 403 }, 'auth'],
  ['status 408', { status: 408 }, 'network'],
  ['status 413', { status: 413 }, 'invalid'],
  ['status 502', { status: 502 }, 'server'],
  ['status 529', { status: 529 }, 'overloaded'],
  // Nothing to go by.
  ['nothing', {}, 'server'],
  ['only unknown', { error: 'unknown', message: '' }, 'server'],
  ['a code of tomorrow', { error: 'moon_phase', apiError: 'constructor', type: 'toString' }, 'server'],
]

test.each(table)('tells the kind of an API error: %s', (_name, evidence, kind) => {
  expect(apiErrorKind(evidence)).toBe(kind)
})

test('retries what may heal, gives up on what cannot, and blames no task for the login', () => {
  const outcomes = Object.entries(API_ERROR_POLICIES).map(([kind, policy]) => [
    kind,
    policy.outcome,
    policy.pause,
  ])
  expect(outcomes).toEqual([
    ['rate_limit', 'failed', 'none'],
    ['overloaded', 'failed', 'none'],
    ['server', 'failed', 'none'],
    ['network', 'failed', 'none'],
    ['invalid', 'failed_permanent', 'none'],
    ['billing', 'failed_permanent', 'none'],
    ['usage_limit', 'released', 'until_reset'],
    ['auth', 'released', 'until_login'],
  ])
})
