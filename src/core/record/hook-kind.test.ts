import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HookPayload } from '../agent/hook-event.ts'
import { columnsOf, HEAD_CHARS, OWN, PHASES, PLAIN } from './hook-kind.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const columns = (payload: HookPayload) => columnsOf(payload, 10_000, sha256)
const bash = { tool_name: 'Bash', tool_use_id: 'toolu_1', cwd: '/code', tool_input: { command: 'npm test' } }

describe('a command', () => {
  test('begins as bash_command with where it runs', () => {
    expect(columns({ hook_event_name: 'PreToolUse', ...bash })).toMatchObject({
      kind: 'bash_command',
      phase: 'tool_use_start',
      tool: 'Bash',
      toolUseId: 'toolu_1',
      exitCode: null,
      started: 10_000,
      detail: { command: 'npm test', cwd: '/code', stdout: null, stderr: null },
    })
  })

  test('ends as bash_output with the heads of what it wrote, and began earlier', () => {
    const tool_response = { stdout: 'x'.repeat(5000), stderr: 'warn', interrupted: false }
    const ended = columns({ hook_event_name: 'PostToolUse', ...bash, tool_response, duration_ms: 1500 })
    expect(ended).toMatchObject({
      kind: 'bash_output',
      phase: 'tool_use_complete',
      exitCode: 0,
      durationMs: 1500,
    })
    expect(ended.started).toBe(8500)
    expect(ended.detail).toMatchObject({ stdout: 'x'.repeat(HEAD_CHARS), stderr: 'warn' })
  })

  test('that failed has its exit code and one text; an interrupted one has none', () => {
    const failed = { hook_event_name: 'PostToolUseFailure', ...bash, error: 'Exit code 7\nno' }
    expect(columns(failed)).toMatchObject({ kind: 'bash_output', phase: 'tool_use_error', exitCode: 7 })
    expect(columns(failed).detail).toMatchObject({ stdout: null, stderr: 'Exit code 7\nno' })
    expect(columns({ ...failed, is_interrupt: true }).exitCode).toBeNull()
  })
})

describe('a file', () => {
  const post = (tool_name: string, tool_input: object, tool_response: object) =>
    columns({ hook_event_name: 'PostToolUse', tool_name, tool_input: { ...tool_input }, tool_response })

  test('that was edited has the hashes of before and after, and the lines that changed', () => {
    const edited = post(
      'Edit',
      { file_path: '/code/a.ts', old_string: 'a', new_string: '$& ä' },
      {
        oldString: 'a',
        newString: '$& ä',
        originalFile: 'a\nb\n',
        replaceAll: false,
        structuredPatch: [{ lines: ['-a', '+$& ä', ' b'] }],
      },
    )
    expect(edited).toMatchObject({ kind: 'file_edit', phase: 'tool_use_complete', path: '/code/a.ts' })
    const after = '$& ä\nb\n'
    expect(edited.detail).toEqual({
      old_sha256: sha256('a\nb\n'),
      new_sha256: sha256(after),
      lines_added: 1,
      lines_removed: 1,
      size: Buffer.byteLength(after),
    })
  })

  test('that a person changed in the dialog has no hash of what was written', () => {
    const response = {
      oldString: 'a',
      newString: 'b',
      originalFile: 'a',
      userModified: true,
      structuredPatch: [],
    }
    expect(post('Edit', { file_path: '/a' }, response).detail).toMatchObject({ new_sha256: null, size: null })
  })

  test('that is new has no hash of before', () => {
    const response = { type: 'create', content: '😀\n', originalFile: null, structuredPatch: [] }
    const written = post('Write', { file_path: '/a', content: '😀\n' }, response)
    expect(written.kind).toBe('file_write')
    expect(written.detail).toEqual({
      old_sha256: null,
      new_sha256: sha256('😀\n'),
      lines_added: 1,
      lines_removed: 0,
      size: 5,
    })
  })

  test('of which a part was read has a size and no hash', () => {
    const file = { content: 'a\n', startLine: 1, numLines: 2, totalLines: 2 }
    const whole = post('Read', { file_path: '/a' }, { type: 'text', file })
    expect(whole).toMatchObject({ kind: 'file_read', detail: { old_sha256: sha256('a\n'), size: 2 } })
    const part = post('Read', { file_path: '/a' }, { type: 'text', file: { ...file, totalLines: 9 } })
    expect(part.detail).toMatchObject({ old_sha256: null, size: 2 })
  })

  test('whose edit failed was not edited', () => {
    const failed = {
      hook_event_name: 'PostToolUseFailure',
      tool_name: 'Edit',
      tool_input: { file_path: '/a' },
    }
    expect(columns(failed)).toMatchObject({ kind: 'tool_use_error', phase: 'tool_use_error', path: '/a' })
  })
})

test('an unknown event is unknown, a nameless one unreadable', () => {
  expect(columns({ hook_event_name: 'Tomorrow' }).kind).toBe('unknown')
  expect(columns({ hook_event_name: 'constructor' }).kind).toBe('unknown')
  expect(columns({}).kind).toBe('unreadable')
})

test("a person's answer is granted or denied", () => {
  expect(columns({ hook_event_name: 'CcmPermission', decision: 'granted' }).kind).toBe('permission_granted')
  expect(columns({ hook_event_name: 'CcmPermission', decision: 'denied' }).kind).toBe('permission_denied')
})

test('no payload, however odd, makes it throw', () => {
  const names = [...Object.keys(PLAIN), ...Object.keys(PHASES)]
  const odd = fc.dictionary(
    fc.constantFrom(
      'tool_name',
      'tool_input',
      'tool_response',
      'duration_ms',
      'error',
      'agent_id',
      'file_path',
    ),
    fc.oneof(fc.jsonValue(), fc.constantFrom('Bash', 'Read', 'Edit', 'Write', Number.NaN)),
  )
  fc.assert(
    fc.property(fc.constantFrom(...names), odd, (name, more) => {
      const { durationMs, started } = columns({ ...(more as HookPayload), hook_event_name: name })
      // What the database takes: whole numbers.
      expect(Number.isInteger(started) && (durationMs === null || Number.isInteger(durationMs))).toBe(true)
    }),
  )
})

test('docs/events.md names every hook event with its kind, and no other', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../../docs/events.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([A-Z]\w+)` *\| (`[a-z_`, ]+) *\|$/gm)].map(
    ([, name = '', kinds = '']) => [name, kinds.trim().replaceAll('`', '').split(', ')] as const,
  )
  const plain = rows.filter(([name]) => Object.hasOwn(PLAIN, name) || Object.hasOwn(OWN, name))
  expect(Object.fromEntries(plain.map(([name, [kind]]) => [name, kind]))).toEqual({ ...PLAIN, ...OWN })
  expect(
    rows.filter(([name]) => Object.hasOwn(PHASES, name)).map(([name, kinds]) => [name, kinds.at(-1)]),
  ).toEqual(Object.entries(PHASES))
  const rest = rows
    .filter(([name]) => !Object.hasOwn({ ...PLAIN, ...OWN, ...PHASES }, name))
    .map(([name]) => name)
  expect(rest).toEqual(['CcmPermission', 'Unreadable'])
})
