import { expect, test } from 'vitest'
import { RESULT_MAX_BYTES, boundedResult } from './bounded-result.ts'
import type { TaskResult } from './task.ts'

const small: TaskResult = {
  text: 'Done.',
  tools: [],
  files: [{ path: 'a.ts', change: 'added', added: 1, removed: 0 }],
  usage: {
    m: { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 },
  },
  cost_usd: 0.5,
  duration_ms: 10,
  attempts: 1,
  claude_session_id: 'c0ffee',
  resume_command: 'claude --resume c0ffee',
  errors: [],
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

test('a result that fits stays as it is', () => {
  expect(boundedResult(small)).toBe(small)
  const full = { ...small, text: 'x'.repeat(RESULT_MAX_BYTES - bytesOf({ ...small, text: '' })) }
  expect(bytesOf(full)).toBe(RESULT_MAX_BYTES)
  expect(boundedResult(full)).toBe(full)
})

test('a larger one keeps its figures, its session and the start of its text', () => {
  const { text, ...rest } = boundedResult({ ...small, text: `€${'😀'.repeat(600_000)}` })
  expect(rest).toEqual({ ...small, text: undefined, files: [], truncated: true })
  expect(text.startsWith('€😀😀')).toBe(true)
  // The cut falls into the middle of a pair.
  expect(text.isWellFormed()).toBe(true)
  expect(bytesOf({ text, ...rest })).toBeLessThan(RESULT_MAX_BYTES)
})

test('a result is bounded whatever made it large', () => {
  const usage = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, index) => [`model-${index}`, small.usage['m'] ?? []]),
  ) as TaskResult['usage']
  expect(bytesOf(boundedResult({ ...small, usage, text: '\u0001'.repeat(200_000) }))).toBeLessThan(
    RESULT_MAX_BYTES,
  )
})
