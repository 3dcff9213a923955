import { apiErrorKind, type ApiErrorKind } from './api-error.ts'
import { clipWords } from '../clip.ts'
import { closeBlock, openBlock, type ToolCall } from './tool-block.ts'
import type { MessageUsage } from '../task/usage.ts'

/** One failed request to the API; `retry` is null where Claude Code gave up. `at` is ms since 1970. */
export type TranscriptApiError = {
  kind: ApiErrorKind
  status: number | null
  /** The API's own `error.type`, where it answered. */
  type: string | null
  message: string
  at: number
  retry: { attempt: number; max: number; inMs: number } | null
}

/** What Claude Code's transcript (JSON lines, 2.1.328) tells about a session. */
export type Transcript = {
  claudeSessionId: string | null
  /** Of the agent itself, not of its subagents; null before it said anything. */
  lastAssistantText: string | null
  /**
   * One entry per API message, of subagents too: a message has one record per content block. A compaction's own message
   * has none (2.1.328); it is counted by what is noted of it: the context it read, as cached input, and its summary, at
   * four characters a token.
   */
  messages: MessageUsage[]
  apiErrors: TranscriptApiError[]
  /** The usage limit that ended the last turn; null once the model answered again. */
  limit: { resetsAt: number; type: string } | null
  /** Claude Code's own sum, written when the session ends. */
  costState: { totalCostUSD: number; hasUnknownModelCost: boolean } | null
  tools: ToolCall[]
}

/** Takes lines one by one, for files too large to hold. */
export type TranscriptReader = {
  /** Never throws: a half-written line, garbage and unknown records change nothing. */
  add: (line: string) => void
  transcript: () => Transcript
}

/** Reads whole transcripts; lines of several files (the session's and its subagents') may follow each other. */
export function readTranscript(lines: Iterable<string>, dir: string | null = null): Transcript {
  const reader = createTranscriptReader(dir)
  for (const line of lines) reader.add(line)
  return reader.transcript()
}

/** Keeps counts and clipped texts only, so its memory grows with the number of messages, not with their size. */
export function createTranscriptReader(dir: string | null = null): TranscriptReader {
  const messages = new Map<string, MessageUsage>()
  const tools = new Map<string, ToolCall & { input: Json }>()
  const apiErrors: TranscriptApiError[] = []
  let claudeSessionId: string | null = null
  let limit: Transcript['limit'] = null
  let costState: Transcript['costState'] = null
  let last: { id: string; texts: string[] } | null = null
  let model: string | null = null
  /** The newest one, until its summary was read. */
  let compaction: string | null = null

  function add(line: string): void {
    const record = parse(line)
    if (!record) return
    if (claudeSessionId === null) claudeSessionId = text(record['sessionId'])
    if (record['type'] === 'assistant') readAssistant(record)
    else if (record['type'] === 'user') readUser(record)
    else if (record['type'] === 'system' && record['subtype'] === 'compact_boundary') readCompaction(record)
    else if (record['type'] === 'system' && record['subtype'] === 'api_error') readRetry(record)
    else if (record['type'] === 'cost-state' && typeof record['totalCostUSD'] === 'number') {
      costState = {
        totalCostUSD: record['totalCostUSD'],
        hasUnknownModelCost: record['hasUnknownModelCost'] === true,
      }
    }
  }

  function readAssistant(record: Json): void {
    const message = json(record['message'])
    const id = text(message['id'])
    const blocks = list(message['content']).map(json)
    const texts = blocks.flatMap((block) => (block['type'] === 'text' ? (text(block['text']) ?? []) : []))
    const by = text(message['model'])
    if (record['isApiErrorMessage'] === true) return readFailure(record, texts.join('\n'))
    if (id === null || by === null || by === '<synthetic>') return
    limit = null
    model = by
    messages.set(id, toMessageUsage(id, by, json(message['usage'])))
    for (const block of blocks) {
      const toolId = block['type'] === 'tool_use' ? text(block['id']) : null
      if (toolId === null || tools.has(toolId)) continue
      const input = json(block['input'])
      const opened = openBlock(text(block['name']) ?? '', input, dir)
      tools.set(toolId, { id: toolId, at: timeOf(record), block: opened, input })
    }
    if (record['isSidechain'] === true || texts.length === 0) return
    if (last?.id === id) last.texts.push(...texts)
    else last = { id, texts }
  }

  function readFailure(record: Json, message: string): void {
    const type = text(record['apiErrorType'])
    const status = number(record['apiErrorStatus'])
    const kind = apiErrorKind({
      error: text(record['error']),
      apiError: text(record['apiError']),
      message,
      status,
      type,
    })
    apiErrors.push({
      kind,
      status,
      type,
      message: clipWords(message, MESSAGE_MAX),
      at: timeOf(record),
      retry: null,
    })
    const quota = json(record['quotaLimits'])
    const resetsAt = number(quota['resetsAt'])
    if (kind === 'usage_limit' && resetsAt !== null) {
      limit = { resetsAt: resetsAt * 1000, type: text(quota['rateLimitType']) ?? 'unknown' }
    }
  }

  function readRetry(record: Json): void {
    const error = json(record['error'])
    const raw = text(error['message']) ?? ''
    const message = text(error['formatted']) ?? raw
    const status = number(error['status'])
    const type = /"type":"error","error":\{"type":"([a-z_]+)"/.exec(raw)?.[1] ?? null
    const isNetwork = isJson(error['connection']) || error['isNetworkDown'] === true
    const kind = isNetwork ? 'network' : apiErrorKind({ message, status, type })
    const attempt = number(record['retryAttempt'])
    const retry = {
      attempt: attempt ?? 0,
      max: number(record['maxRetries']) ?? 0,
      inMs: number(record['retryInMs']) ?? 0,
    }
    apiErrors.push({
      kind,
      status,
      type,
      message: clipWords(message, MESSAGE_MAX),
      at: timeOf(record),
      retry: attempt === null ? null : retry,
    })
  }

  function readCompaction(record: Json): void {
    const id = text(record['uuid'])
    const read = number(json(record['compactMetadata'])['preTokens'])
    if (id === null || read === null || model === null) return
    compaction = `compaction-${id}`
    messages.set(compaction, toMessageUsage(compaction, model, { cache_read_input_tokens: read }))
  }

  function readUser(record: Json): void {
    if (record['isCompactSummary'] !== true) return readToolResults(record)
    const counted = compaction === null ? undefined : messages.get(compaction)
    const { content } = json(record['message'])
    if (counted !== undefined && typeof content === 'string')
      counted.usage = { ...counted.usage, output_tokens: Math.ceil(content.length / 4) }
    compaction = null
  }

  function readToolResults(record: Json): void {
    for (const block of list(json(record['message'])['content']).map(json)) {
      const call = tools.get(text(block['tool_use_id']) ?? '')
      if (block['type'] !== 'tool_result' || !call) continue
      const failed = block['is_error'] === true
      call.block = closeBlock(call.block, call.input, {
        response: record['toolUseResult'],
        error: failed ? errorText(block['content']) : undefined,
      })
      call.input = {}
    }
  }

  return {
    add,
    transcript: () => ({
      claudeSessionId,
      lastAssistantText: last ? last.texts.join('\n') : null,
      messages: [...messages.values()],
      apiErrors,
      limit,
      costState,
      tools: [...tools.values()].map(({ id, at, block }) => ({ id, at, block })),
    }),
  }
}

const MESSAGE_MAX = 2000

type Json = Record<string, unknown>

function toMessageUsage(id: string, model: string, usage: Json): MessageUsage {
  return {
    id,
    model,
    usage: {
      input_tokens: number(usage['input_tokens']) ?? 0,
      output_tokens: number(usage['output_tokens']) ?? 0,
      cache_read_input_tokens: number(usage['cache_read_input_tokens']) ?? 0,
      cache_creation_input_tokens: number(usage['cache_creation_input_tokens']) ?? 0,
    },
    cacheCreation1hTokens: number(json(usage['cache_creation'])['ephemeral_1h_input_tokens']) ?? 0,
    webSearches: number(json(usage['server_tool_use'])['web_search_requests']) ?? 0,
  }
}

/** Claude Code wraps its own refusals in a tag that is meant for the model. */
function errorText(content: unknown): string {
  const raw =
    typeof content === 'string'
      ? content
      : list(content)
          .map((part) => text(json(part)['text']) ?? '')
          .join('\n')
  return raw.replace(/^<tool_use_error>(?:Error: )?([\s\S]*?)<\/tool_use_error>$/, '$1') || 'failed'
}

function parse(line: string): Json | null {
  // Most records (attachments, snapshots of files) say nothing here; parsing them is most of the work.
  if (!/"type":\s*"(?:assistant|user|system|cost-state)"/.test(line)) return null
  try {
    const value: unknown = JSON.parse(line)
    return isJson(value) ? value : null
  } catch {
    return null
  }
}

function timeOf(record: Json): number {
  const at = Date.parse(text(record['timestamp']) ?? '')
  return Number.isNaN(at) ? 0 : at
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function json(value: unknown): Json {
  return isJson(value) ? value : {}
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}
