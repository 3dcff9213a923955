import { expect, test } from 'vitest'
import { readTranscript } from './transcript.ts'
import { usageByModel } from '../task/usage.ts'

const time = (second: number) => new Date(Date.UTC(2026, 10, 20, 12, 0, second)).toISOString()
const usage = (output: number) => ({
  input_tokens: 1200,
  cache_creation_input_tokens: 100,
  cache_read_input_tokens: 2000,
  output_tokens: output,
  cache_creation: { ephemeral_1h_input_tokens: 40, ephemeral_5m_input_tokens: 60 },
  server_tool_use: { web_search_requests: 2 },
})
type Extra = Record<string, unknown>
const said = (id: string, content: unknown[], output = 10, extra: Extra = {}) =>
  JSON.stringify({
    isSidechain: false,
    type: 'assistant',
    timestamp: time(1),
    sessionId: 's-1',
    message: { id, role: 'assistant', model: 'claude-opus-5-5', content, usage: usage(output) },
    ...extra,
  })
const text = (words: string) => ({ type: 'text', text: words })
const failed = (words: string, extra: Extra) =>
  said('x', [text(words)], 0, {
    timestamp: time(5),
    message: { id: 'x', model: '<synthetic>', content: [text(words)], usage: usage(0) },
    isApiErrorMessage: true,
    ...extra,
  })
const limited = failed("You've hit your 5-hour limit · resets 12:20pm (UTC)", {
  apiError: 'usage_limit_reached',
  error: 'rate_limit',
  apiErrorStatus: 429,
  apiErrorType: 'rate_limit_error',
  quotaLimits: { status: 'rejected', resetsAt: 1795177240, rateLimitType: 'five_hour' },
})

test('counts a message once, though each content block has a record; the last record wins', () => {
  const { messages } = readTranscript([
    said('m1', [text('a')], 1),
    said('m1', [{ type: 'tool_use', id: 'u1', name: 'Read', input: {} }], 18),
    said('m2', [text('b')], 5),
  ])
  expect(messages).toHaveLength(2)
  expect(messages[0]).toMatchObject({ cacheCreation1hTokens: 40, webSearches: 2 })
  expect(usageByModel(messages)).toEqual({
    'claude-opus-5-5': {
      input_tokens: 2400,
      output_tokens: 23,
      cache_read_input_tokens: 4000,
      cache_creation_input_tokens: 200,
    },
  })
})

test('counts subagents, but their words are not the last message', () => {
  const { messages, lastAssistantText } = readTranscript([
    said('m1', [text('All done.\n\n[DONE]')]),
    said('m9', [text('sub ok')], 3, { isSidechain: true }),
  ])
  expect(messages).toHaveLength(2)
  expect(lastAssistantText).toBe('All done.\n\n[DONE]')
})

test('the last message is all text of the last message that has any', () => {
  const { lastAssistantText } = readTranscript([
    said('m1', [text('old')]),
    said('m2', [text('first part')]),
    said('m2', [text('second part')]),
    said('m3', [{ type: 'tool_use', id: 'u1', name: 'Read', input: {} }]),
    failed('API Error: 500', { apiErrorStatus: 500 }),
  ])
  expect(lastAssistantText).toBe('first part\nsecond part')
})

test('a compaction, whose API message has no record, counts the context it read and the summary it wrote', () => {
  const boundary = (uuid: string, preTokens: unknown) =>
    JSON.stringify({ type: 'system', subtype: 'compact_boundary', uuid, compactMetadata: { preTokens } })
  const summary = (content: unknown) =>
    JSON.stringify({ type: 'user', isCompactSummary: true, message: { role: 'user', content } })
  const { messages } = readTranscript([
    boundary('c0', 5),
    said('m1', []),
    boundary('c1', 150_000),
    summary('x'.repeat(4001)),
    boundary('c2', 90_000),
    // Read again where the session goes on elsewhere.
    boundary('c1', 150_000),
    summary('x'.repeat(4001)),
    boundary('c3', 'many'),
    summary([text('odd')]),
  ])
  expect(messages.slice(1)).toEqual([
    expect.objectContaining({
      id: 'compaction-c1',
      model: 'claude-opus-5-5',
      usage: expect.objectContaining({ cache_read_input_tokens: 150_000, output_tokens: 1001 }),
    }),
    expect.objectContaining({
      id: 'compaction-c2',
      usage: {
        input_tokens: 0,
        output_tokens: 0,
        cache_read_input_tokens: 90_000,
        cache_creation_input_tokens: 0,
      },
    }),
  ])
})

test('an empty transcript says nothing', () => {
  expect(readTranscript([])).toEqual({
    claudeSessionId: null,
    lastAssistantText: null,
    messages: [],
    apiErrors: [],
    limit: null,
    costState: null,
    tools: [],
  })
})

test('skips the synthetic model, and reads a usage limit with its exact end', () => {
  const placeholder = said('y', [], 0, {
    message: { id: 'y', model: '<synthetic>', content: [text('No response requested.')], usage: usage(0) },
  })
  const transcript = readTranscript([limited, placeholder])
  expect(transcript.lastAssistantText).toBe(null)
  expect(transcript.messages).toEqual([])
  expect(transcript.limit).toEqual({ resetsAt: 1795177240000, type: 'five_hour' })
  expect(transcript.apiErrors).toEqual([
    {
      kind: 'usage_limit',
      status: 429,
      type: 'rate_limit_error',
      message: "You've hit your 5-hour limit · resets 12:20pm (UTC)",
      at: Date.parse(time(5)),
      retry: null,
    },
  ])
})

test('a limit is over when the model answers again', () => {
  expect(readTranscript([limited, said('m1', [text('go on')])]).limit).toBe(null)
})

test('reads requests that were tried again', () => {
  const retry = (error: Extra) =>
    JSON.stringify({
      type: 'system',
      subtype: 'api_error',
      level: 'error',
      error,
      retryInMs: 597.5,
      retryAttempt: 1,
      maxRetries: 10,
      timestamp: time(3),
    })
  const overloaded =
    '529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}'
  const { apiErrors } = readTranscript([
    retry({ message: overloaded, status: 529, formatted: '529 Overloaded', connection: null }),
    retry({
      message: 'fetch failed',
      formatted: 'No answer',
      connection: { code: 'X' },
      isNetworkDown: false,
    }),
    retry({ message: 'fetch failed', isNetworkDown: true }),
  ])
  expect(apiErrors).toEqual([
    {
      kind: 'overloaded',
      status: 529,
      type: 'overloaded_error',
      message: '529 Overloaded',
      at: Date.parse(time(3)),
      retry: { attempt: 1, max: 10, inMs: 597.5 },
    },
    expect.objectContaining({ kind: 'network', status: null, message: 'No answer' }),
    expect.objectContaining({ kind: 'network', message: 'fetch failed' }),
  ])
})

test('the newest cost state counts, with the session of the first record', () => {
  const cost = (totalCostUSD: number) =>
    JSON.stringify({ type: 'cost-state', sessionId: 's-2', totalCostUSD, hasUnknownModelCost: false })
  const { costState, claudeSessionId } = readTranscript([said('m1', []), cost(0.1), cost(0.2)])
  expect(costState).toEqual({ totalCostUSD: 0.2, hasUnknownModelCost: false })
  expect(claudeSessionId).toBe('s-1')
})

test('half-written lines, garbage and unknown records change nothing', () => {
  const whole = said('m1', [text('hello')])
  const garbage = [
    '',
    ' ',
    'null',
    '[]',
    '42',
    '"type":"assistant"',
    whole.slice(0, -20),
    '{"type":"assistant"}',
    '{"type":"assistant","message":null}',
    '{"type":"assistant","message":{"id":"m","model":"x","content":"text","usage":"none"}}',
    '{"type":"assistant","message":{"id":"m","model":"x","content":[null,1,{"type":"tool_use"}]}}',
    '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"nobody"}]}}',
    '{"type":"system","subtype":"api_error"}',
    '{"type":"cost-state","totalCostUSD":"much"}',
    '{"type":"moon-phase","message":{"id":"z"}}',
    '\u0000\uD800',
  ]
  const { lastAssistantText, costState } = readTranscript([...garbage, whole, ...garbage])
  expect(lastAssistantText).toBe('hello')
  expect(costState).toBe(null)
})

test('reads tool calls with their ends, also those that fired no hook', () => {
  const use = (id: string, name: string, input: Extra) => ({ type: 'tool_use', id, name, input })
  const result = (id: string, content: unknown, isError: boolean, toolUseResult: unknown) =>
    JSON.stringify({
      type: 'user',
      message: {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: id, content, is_error: isError }],
      },
      toolUseResult,
    })
  const calls = readTranscript(
    [
      said('m1', [use('u1', 'Bash', { command: 'ls' }), use('u2', 'Bash', { command: 'false' })]),
      said('m2', [use('u3', 'MultiEdit', { file_path: '/srv/app/a.ts' })]),
      said('m3', [use('u4', 'Write', { file_path: '/srv/app/b.ts', content: 'x\ny' })]),
      said('m4', [use('u5', 'Bash', { command: 'sleep 9' })]),
      result('u1', 'hi', false, { stdout: 'hi', interrupted: false }),
      result('u2', 'Exit code 3\nbad', true, 'Error: Exit code 3\nbad'),
      result(
        'u3',
        '<tool_use_error>Error: No such tool available: MultiEdit</tool_use_error>',
        true,
        'Error',
      ),
      result('u4', 'ok', false, { type: 'create', content: 'x\ny' }),
    ],
    '/srv/app',
  ).tools
  expect(calls.map(({ id, at }) => [id, at])).toEqual(
    ['u1', 'u2', 'u3', 'u4', 'u5'].map((id) => [id, Date.parse(time(1))]),
  )
  expect(calls.map(({ block }) => block)).toMatchObject([
    { command: 'ls', exit_code: 0, ok: true },
    { command: 'false', exit_code: 3, ok: false, error: 'Exit code 3\nbad' },
    { kind: 'edit', path: 'a.ts', ok: false, error: 'No such tool available: MultiEdit' },
    { kind: 'write', path: 'b.ts', lines_added: 2, ok: true },
    { command: 'sleep 9', exit_code: null, ok: false, error: 'never finished' },
  ])
})
