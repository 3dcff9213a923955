import { expect, test } from 'vitest'
import type { HookEvent, HookPayload } from '../agent/hook-event.ts'
import { clip } from '../clip.ts'
import { createRedactor } from '../redact.ts'
import { mergeToolCalls, NEVER_FINISHED, type ToolCall, toToolCalls } from './tool-block.ts'

const blocksOf = (...made: Parameters<typeof toToolCalls>) => toToolCalls(...made).map((call) => call.block)

let serial = 0
function event(payload: HookPayload, at = 1000 + serial): HookEvent {
  const hookEventName = payload.hook_event_name ?? ''
  return { id: ++serial, taskId: 't', attempt: 1, claudeSessionId: 's', hookEventName, at, payload }
}

type Input = Record<string, unknown>
const pre = (tool: string, input: Input, id = 'u1') =>
  event({ hook_event_name: 'PreToolUse', tool_name: tool, tool_input: input, tool_use_id: id })
const post = (tool: string, input: Input, response: unknown, id = 'u1') =>
  event({
    hook_event_name: 'PostToolUse',
    tool_name: tool,
    tool_input: input,
    tool_use_id: id,
    tool_response: response,
    duration_ms: 12,
  })
const failure = (tool: string, input: Input, error: string, isInterrupt = false, id = 'u1') =>
  event({
    hook_event_name: 'PostToolUseFailure',
    tool_name: tool,
    tool_input: input,
    tool_use_id: id,
    error,
    is_interrupt: isInterrupt,
    duration_ms: 7,
  })
const only = (...events: HookEvent[]) => {
  const blocks = blocksOf(events, '/srv/app')
  expect(blocks).toHaveLength(1)
  return blocks[0]
}
const output = { stdout: 'hi', stderr: '', interrupted: false, isImage: false }

test('a command that ended has exit code 0 and its duration', () => {
  const input = { command: 'npm test', description: 'x' }
  expect(only(pre('Bash', input), post('Bash', input, output))).toEqual({
    tool: 'Bash',
    kind: 'command',
    path: null,
    lines_added: null,
    lines_removed: null,
    command: 'npm test',
    exit_code: 0,
    summary: null,
    ok: true,
    error: null,
    duration_ms: 12,
  })
})

test('a command that failed has the exit code its error names', () => {
  const input = { command: 'false' }
  expect(only(pre('Bash', input), failure('Bash', input, 'Exit code 137\nKilled'))).toMatchObject({
    exit_code: 137,
    ok: false,
    error: 'Exit code 137\nKilled',
    duration_ms: 7,
  })
})

test('a command that never ended has no exit code, however it did not end', () => {
  const input = { command: 'sleep 9' }
  expect(only(pre('Bash', input))).toMatchObject({
    exit_code: null,
    ok: false,
    error: 'never finished',
    duration_ms: null,
  })
  expect(only(pre('Bash', input), failure('Bash', input, 'Exit code 130', true))).toMatchObject({
    exit_code: null,
    ok: false,
  })
  expect(only(pre('Bash', input), post('Bash', input, { ...output, interrupted: true }))).toMatchObject({
    exit_code: null,
    ok: false,
    error: 'interrupted',
  })
  expect(only(pre('Bash', input), post('Bash', input, { ...output, backgroundTaskId: 'b1' }))).toMatchObject({
    exit_code: null,
    ok: true,
    error: null,
  })
})

test('a grep without a match ended with 1 and is no failure', () => {
  const response = { ...output, returnCodeInterpretation: 'No matches found' }
  expect(only(post('Bash', { command: 'grep x y' }, response))).toMatchObject({ exit_code: 1, ok: true })
})

test('lines of an edit come from the patch, a marker for a missing last line break is none', () => {
  const input = { file_path: '/srv/app/src/a.ts', old_string: 'y', new_string: 'z' }
  const lines = [' x', '-y', '-z', '\\ No newline at end of file', '+y2', '+z', '+q']
  const response = { filePath: input.file_path, structuredPatch: [{ lines }, { lines: ['+r'] }] }
  expect(only(pre('Edit', input), post('Edit', input, response))).toMatchObject({
    kind: 'edit',
    path: 'src/a.ts',
    lines_added: 4,
    lines_removed: 2,
    ok: true,
  })
})

test.each([
  ['', 0],
  ['x', 1],
  ['x\n', 1],
  ['x\ny\nz', 3],
])('a created file counts all its lines: %j', (content, lines) => {
  const input = { file_path: '/srv/app/new.ts', content }
  const response = { type: 'create', content, structuredPatch: [], originalFile: null }
  expect(only(post('Write', input, response))).toMatchObject({
    kind: 'write',
    path: 'new.ts',
    lines_added: lines,
    lines_removed: 0,
  })
})

test('a notebook cell counts as a whole', () => {
  const input = { notebook_path: '/srv/app/n.ipynb' }
  const cell = { new_source: 'x=2\ny=3', old_source: 'x=1', edit_mode: 'replace', error: '' }
  expect(only(post('NotebookEdit', input, cell))).toMatchObject({
    lines_added: 2,
    lines_removed: 1,
    ok: true,
  })
  expect(only(post('NotebookEdit', input, { ...cell, edit_mode: 'insert' }))).toMatchObject({
    lines_removed: 0,
  })
  expect(only(post('NotebookEdit', input, { ...cell, edit_mode: 'delete' }))).toMatchObject({
    lines_added: 0,
  })
  expect(only(post('NotebookEdit', input, { ...cell, error: 'no such cell' }))).toMatchObject({
    ok: false,
    lines_added: null,
  })
})

test('an answer of an unknown shape leaves the counts open', () => {
  const input = { file_path: '/srv/app/a.ts' }
  for (const response of [null, 'done', [], { structuredPatch: 'x' }, undefined]) {
    expect(only(post('Edit', input, response))).toMatchObject({
      lines_added: null,
      lines_removed: null,
      ok: true,
    })
  }
})

test('paths outside the directory stay whole', () => {
  for (const path of ['/etc/hosts', '/srv/application/a.ts', '/srv/app', 'a.ts']) {
    expect(only(pre('Read', { file_path: path }))).toMatchObject({ kind: 'read', path })
  }
  expect(blocksOf([pre('Read', { file_path: '/a.ts' })], '/')[0]).toMatchObject({ path: 'a.ts' })
})

test('another tool is named by one line of its input', () => {
  expect(only(pre('Agent', { prompt: 'go\nnow', description: 'find  the\nbug' }))).toMatchObject({
    kind: 'other',
    summary: 'find the bug',
    command: null,
    path: null,
  })
  expect(only(pre('mcp__x__y', { a: 1 }))).toMatchObject({ summary: '{"a":1}' })
  expect(only(pre('constructor', {}))).toMatchObject({ kind: 'other' })
  const long = only(pre('WebSearch', { query: '🙂'.repeat(300) }))?.summary ?? ''
  expect(long.length).toBeLessThanOrEqual(200)
  expect(long.isWellFormed()).toBe(true)
})

test('keeps the order of the calls, also when they end in another', () => {
  const a = { command: 'a' }
  const b = { command: 'b' }
  const events = [pre('Bash', a, 'u1'), pre('Bash', b, 'u2'), post('Bash', b, output, 'u2')]
  expect(blocksOf([...events, post('Bash', a, output, 'u1')], null)).toMatchObject([
    { command: 'a', ok: true },
    { command: 'b', ok: true },
  ])
})

test('an end without a beginning is a call too, other events are none', () => {
  expect(only(post('Bash', { command: 'a' }, output), event({ hook_event_name: 'Stop' }))).toMatchObject({
    command: 'a',
    ok: true,
  })
  expect(blocksOf([event({ hook_event_name: 'PreToolUse' }), event({})], null)).toEqual([])
})

test('clips long commands and errors, never inside a character', () => {
  const input = { command: 'x'.repeat(10_000) }
  const block = only(pre('Bash', input), failure('Bash', input, `Exit code 3\n${'e'.repeat(10_000)}`))
  expect(block?.command).toHaveLength(4096)
  expect(block?.error).toHaveLength(4096)
  expect(block?.exit_code).toBe(3)
  expect(clip('ab🙂c', 4)).toBe('ab…')
  expect(clip('ab', 2)).toBe('ab')
})

test('merges with the transcript: hooks first, lost ends and refused calls added, in order of time', () => {
  const hooks = toToolCalls(
    [
      pre('Bash', { command: 'a' }, 'u1'),
      post('Bash', { command: 'a' }, output, 'u1'),
      pre('Bash', { command: 'c' }, 'u3'),
    ],
    null,
  )
  const fromTranscript = (id: string, at: number, command: string): ToolCall => ({
    id,
    at,
    block: { ...(hooks[0] as ToolCall).block, command, duration_ms: null },
  })
  const merged = mergeToolCalls(hooks, [
    fromTranscript('u1', 10, 'a'),
    fromTranscript('u2', 20, 'b'),
    fromTranscript('u3', 30, 'c'),
  ])
  expect(merged.map(({ id, block }) => [id, block.command, block.duration_ms, block.error])).toEqual([
    ['u1', 'a', 12, null],
    ['u2', 'b', null, null],
    ['u3', 'c', null, null],
  ])
  expect(mergeToolCalls(hooks, []).map((call) => call.block.error)).toEqual([null, NEVER_FINISHED])
})

test('a command, an error and a summary that are cut hold no half of a secret', () => {
  const secret = 'postgres://app:S3cretPass@db/x'
  const { value } = createRedactor()
  for (let cut = 8; cut < 26; cut++) {
    const long = `${'x'.repeat(4096 - cut)} ${secret}`
    const short = `${'x'.repeat(200 - cut)} ${secret}`
    const blocks = [
      only(pre('Bash', { command: long }), failure('Bash', { command: long }, long)),
      only(pre('WebFetch', { query: short })),
    ]
    expect(JSON.stringify(value(blocks))).not.toContain('S3c')
  }
})
