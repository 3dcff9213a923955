import type { TaskResult } from './task.ts'

/** The largest result a queue stores, in bytes of JSON. */
export const RESULT_MAX_BYTES = 1024 * 1024

const TEXT_MAX = 100_000

/**
 * The result itself, or, where its JSON is larger than RESULT_MAX_BYTES, the same with `truncated: true` and
 * without its lists: the start of the text, figures and session stay, so the task can still be read and resumed.
 */
export function boundedResult(result: TaskResult): TaskResult {
  if (jsonBytes(result) <= RESULT_MAX_BYTES) return result
  const short: TaskResult = {
    ...result,
    // The cut may tear a surrogate pair, which no UTF-8 text can hold.
    text: result.text.slice(0, TEXT_MAX).toWellFormed(),
    tools: [],
    files: [],
    errors: [],
    truncated: true,
  }
  return jsonBytes(short) <= RESULT_MAX_BYTES
    ? short
    : { ...short, text: '', usage: {}, resume_command: null }
}

function jsonBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).length
}
