import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { API_ERROR_POLICIES, apiErrorKind } from '../core/record/api-error.ts'
import { createTranscriptReader } from '../core/record/transcript.ts'
import { findTranscript } from './result.ts'
import type { TranscriptEnd } from './agent-end.ts'

/**
 * Where the transcript of an agent's session is: as its hooks said, else searched by its id below the config folder.
 * `earlier`: of sessions that it left.
 */
export type TranscriptPlace = {
  path: string | null
  configDir: string | null
  sessionId: string
  earlier: string[]
}

/** The newest records are at the end; one answer with its tool results is far smaller than this. */
const TAIL_BYTES = 512 * 1024
/** The StopFailure hook runs before the record of the error is written: 0.05 to 0.6 s, on a busy machine. */
const FLUSH_MS = 2000

/**
 * How the newest turn of a session ended, by its transcript: with a message, with an API error, or not at all.
 * A hook's failure is completed from it (the reset time of a limit is nowhere else). Total: without a
 * transcript the hook's own words decide.
 */
export async function readTranscriptEnd(
  place: TranscriptPlace,
  failure: { error: string; message: string } | null,
): Promise<TranscriptEnd> {
  const until = failure === null ? 0 : performance.now() + FLUSH_MS
  let lines = await tailOf(place)
  let newest = newestOf(lines)
  while (newest.kind !== 'failure' && performance.now() < until) {
    await sleep(50)
    lines = await tailOf(place)
    newest = newestOf(lines)
  }
  const sent = newestPrompt(lines)
  if (failure === null && newest.kind !== 'failure') return { ...newest, ...sent }
  const reader = createTranscriptReader()
  // An error further up belongs to an earlier turn.
  if (newest.kind === 'failure') for (const line of lines) reader.add(line)
  const { apiErrors, limit } = reader.transcript()
  const recorded = apiErrors.findLast((error) => error.retry === null)
  const message = failure?.message || recorded?.message || ''
  const kind =
    limit !== null ? 'usage_limit' : (recorded?.kind ?? apiErrorKind({ error: failure?.error, message }))
  const { outcome } = API_ERROR_POLICIES[kind]
  return {
    ...sent,
    kind: 'failure',
    error: kind,
    message,
    outcome,
    limitedUntil: limit?.resetsAt ?? null,
    limitType: limit?.type ?? null,
  }
}

async function tailOf(place: TranscriptPlace): Promise<string[]> {
  const path = await findTranscript(place)
  if (path === null) return []
  const file = await open(path, 'r').catch(() => null)
  if (file === null) return []
  await using _ = file
  const { size } = await file.stat()
  const from = Math.max(0, size - TAIL_BYTES)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from)
  const lines = buffer.subarray(0, bytesRead).toString('utf8').split('\n')
  // The first line of a tail is the end of a longer one.
  return from > 0 ? lines.slice(1) : lines
}

type Entry = {
  type?: string
  timestamp?: string
  isSidechain?: boolean
  isMeta?: boolean
  isApiErrorMessage?: boolean
  message?: {
    id?: string
    model?: string
    stop_reason?: string | null
    content?: { type?: string; text?: string }[] | string
  }
}

type Newest = { kind: 'stop'; message: string } | { kind: 'open' } | { kind: 'failure' }

function newestOf(lines: string[]): Newest {
  const texts: string[] = []
  let id: string | undefined
  for (const line of lines.toReversed()) {
    const entry = parse(line)
    if (entry === null || entry.isSidechain === true || entry.isMeta === true) continue
    if (entry.type === 'user') break
    if (entry.type !== 'assistant') continue
    // Put in where a session is resumed: nobody said it.
    if (entry.message?.model === '<synthetic>' && entry.isApiErrorMessage !== true) continue
    if (entry.isApiErrorMessage === true) {
      if (id !== undefined) break
      return { kind: 'failure' }
    }
    const { message } = entry
    if (id !== undefined && message?.id !== id) break
    const blocks = Array.isArray(message?.content) ? message.content : []
    if (blocks.some((block) => block.type === 'tool_use')) return { kind: 'open' }
    id = message?.id ?? ''
    texts.unshift(...blocks.flatMap((block) => (block.type === 'text' ? [block.text ?? ''] : [])))
  }
  return id === undefined ? { kind: 'open' } : { kind: 'stop', message: texts.join('\n') }
}

/** Tool results are written as the user's own entries, too, but hold no text. */
function newestPrompt(lines: string[]): Pick<TranscriptEnd, 'prompt' | 'promptAt'> {
  for (const line of lines.toReversed()) {
    const entry = parse(line)
    if (entry === null || entry.type !== 'user' || entry.isSidechain === true || entry.isMeta === true)
      continue
    const content = entry.message?.content ?? ''
    const texts = typeof content === 'string' ? [content] : content.map((block) => block.text ?? '')
    const text = texts.filter((part) => part !== '').join('\n')
    if (text !== '') return { prompt: text, promptAt: Date.parse(entry.timestamp ?? '') || 0 }
  }
  return { prompt: '', promptAt: 0 }
}

function parse(line: string): Entry | null {
  if (!/"type":\s*"(?:assistant|user)"/.test(line)) return null
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : null
  } catch {
    return null
  }
}
