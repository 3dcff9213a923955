import { clip, clipWords } from '../clip.ts'
import type { HookEvent } from '../agent/hook-event.ts'
import type { ToolBlock } from '../task/task.ts'

/** A tool block with what orders and identifies it; `at` is when the call was made, in ms since 1970. */
export type ToolCall = { id: string; at: number; block: ToolBlock }

/** How a call ended: with the tool's own answer, or with an error text. */
export type ToolEnding = {
  response?: unknown
  error?: string | undefined
  interrupted?: boolean | undefined
  durationMs?: number | undefined
}

/** The error of a call that nothing closed: the agent was killed, or the event got lost. */
export const NEVER_FINISHED = 'never finished'

/** Characters kept of a command or an error. */
const CLIP = 4096
const SUMMARY_MAX = 200

const KINDS: Readonly<Record<string, ToolBlock['kind']>> = {
  Read: 'read',
  Write: 'write',
  Edit: 'edit',
  MultiEdit: 'edit',
  NotebookEdit: 'edit',
  Bash: 'command',
}

/**
 * Tool calls from an attempt's stored hook events, in the order they were made, subagents' calls included.
 * Calls that Claude Code itself refuses (unknown tool, text to replace not found) fire no hook: only the
 * transcript has them. `dir` shortens paths inside it.
 */
export function toToolCalls(events: Iterable<HookEvent>, dir: string | null): ToolCall[] {
  const calls = new Map<string, ToolCall>()
  for (const event of events) {
    const { at, payload } = event
    const name = payload.hook_event_name
    const id = payload.tool_use_id
    const closes = name === 'PostToolUse' || name === 'PostToolUseFailure'
    if (id === undefined || (name !== 'PreToolUse' && !closes)) continue
    let call = calls.get(id)
    if (!call) {
      call = { id, at, block: openBlock(payload.tool_name ?? '', payload.tool_input ?? {}, dir) }
      calls.set(id, call)
    }
    if (!closes) continue
    const failed = name === 'PostToolUseFailure'
    call.block = closeBlock(call.block, payload.tool_input ?? {}, {
      response: payload.tool_response,
      error: failed ? textOr(payload.error, 'failed') : undefined,
      interrupted: payload['is_interrupt'] === true,
      durationMs: payload.duration_ms,
    })
    // Counted when the event came: of a long payload the record has only a part.
    if ('detail' in event && isRecord(event.detail) && typeof event.detail['lines_added'] === 'number') {
      call.block.lines_added = event.detail['lines_added']
      call.block.lines_removed = Number(event.detail['lines_removed'])
    }
  }
  return [...calls.values()]
}

/**
 * One list out of both sources: the hook's block wins unless it was never closed, calls only one side knows are
 * added. Ordered by the transcript's times where it knows the call: hook events are stored when they are read.
 */
export function mergeToolCalls(
  fromHooks: readonly ToolCall[],
  fromTranscript: readonly ToolCall[],
): ToolCall[] {
  const merged = new Map(fromTranscript.map((call) => [call.id, call]))
  for (const call of fromHooks) {
    const other = merged.get(call.id)
    const open = call.block.error === NEVER_FINISHED
    merged.set(call.id, other ? { id: call.id, at: other.at, block: open ? other.block : call.block } : call)
  }
  return [...merged.values()].sort((a, b) => a.at - b.at)
}

/** The block of a call that has begun; it counts as failed until `closeBlock` says otherwise. */
export function openBlock(tool: string, input: Record<string, unknown>, dir: string | null): ToolBlock {
  const kind = Object.hasOwn(KINDS, tool) ? (KINDS[tool] ?? 'other') : 'other'
  const path = input['file_path'] ?? input['notebook_path']
  const hasPath = kind === 'read' || kind === 'write' || kind === 'edit'
  return {
    tool: clip(tool, SUMMARY_MAX),
    kind,
    path: hasPath && typeof path === 'string' ? clip(within(path, dir), CLIP) : null,
    lines_added: null,
    lines_removed: null,
    command:
      kind === 'command' && typeof input['command'] === 'string' ? clipWords(input['command'], CLIP) : null,
    exit_code: null,
    summary: kind === 'other' ? summaryOf(input) : null,
    ok: false,
    error: NEVER_FINISHED,
    duration_ms: null,
  }
}

/**
 * The same block, ended. A command in the background has no exit code yet and is ok. A command whose exit
 * code 1 is no error (`grep` without a match, `diff` with one) gets 1 and is ok.
 */
export function closeBlock(block: ToolBlock, input: Record<string, unknown>, ending: ToolEnding): ToolBlock {
  const response = isRecord(ending.response) ? ending.response : {}
  const wasInterrupted = ending.interrupted === true || response['interrupted'] === true
  const error = ending.error ?? textOr(response['error'], null) ?? (wasInterrupted ? 'interrupted' : null)
  const ended = {
    ...block,
    ok: error === null,
    error: error === null ? null : clipWords(error, CLIP),
    duration_ms: ending.durationMs ?? block.duration_ms,
  }
  if (block.kind === 'command') ended.exit_code = endedExitCode(ending)
  if ((block.kind === 'write' || block.kind === 'edit') && error === null) {
    const [added, removed] = linesChanged(response, input)
    ended.lines_added = added
    ended.lines_removed = removed
  }
  return ended
}

/** The exit code of a command that ended; null where nobody knows one: interrupted, or in the background. */
export function endedExitCode(ending: ToolEnding): number | null {
  const response = isRecord(ending.response) ? ending.response : {}
  if (ending.interrupted === true || response['interrupted'] === true) return null
  const error = ending.error ?? textOr(response['error'], null)
  return error === null ? exitCodeOf(response) : exitCodeIn(error)
}

function within(path: string, dir: string | null): string {
  if (dir === null || dir === '') return path
  const root = dir.endsWith('/') ? dir : `${dir}/`
  return path.length > root.length && path.startsWith(root) ? path.slice(root.length) : path
}

function exitCodeOf(response: Record<string, unknown>): number | null {
  if (typeof response['backgroundTaskId'] === 'string') return null
  return typeof response['returnCodeInterpretation'] === 'string' ? 1 : 0
}

function exitCodeIn(error: string): number | null {
  const match = /^(?:Error: )?Exit code (\d{1,3})\b/.exec(error)
  return match ? Number(match[1]) : null
}

/** Lines added and removed by a file tool, by its response; null where that does not say. */
export function linesChanged(
  response: Record<string, unknown>,
  input: Record<string, unknown>,
): [added: number | null, removed: number | null] {
  if (response['type'] === 'create') return [countLines(response['content'] ?? input['content']), 0]
  if (typeof response['new_source'] === 'string') return cellLines(response)
  const patch = response['structuredPatch']
  if (!Array.isArray(patch)) return [null, null]
  const lines = patch.flatMap((hunk: unknown) =>
    isRecord(hunk) && Array.isArray(hunk['lines']) ? (hunk['lines'] as unknown[]) : [],
  )
  const starting = (sign: string) =>
    lines.filter((line) => typeof line === 'string' && line.startsWith(sign)).length
  return [starting('+'), starting('-')]
}

/** A notebook cell's lines; Claude Code gives no patch for it, so a changed cell counts as a whole. */
function cellLines(response: Record<string, unknown>): [number | null, number | null] {
  const mode = response['edit_mode']
  const added = countLines(response['new_source'])
  const removed = countLines(response['old_source'] ?? '')
  if (mode === 'insert') return [added, 0]
  return mode === 'delete' ? [0, removed] : [added, removed]
}

function countLines(text: unknown): number | null {
  if (typeof text !== 'string') return null
  if (text === '') return 0
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
}

/** What a person would name a call by, in order of preference. */
const TELLING = ['description', 'pattern', 'query', 'url', 'skill', 'path', 'prompt', 'question']

function summaryOf(input: Record<string, unknown>): string {
  const telling = TELLING.map((key) => input[key]).find((value) => typeof value === 'string' && value !== '')
  const text = typeof telling === 'string' ? telling : JSON.stringify(input)
  return clipWords(text.slice(0, 2000).replace(/\s+/g, ' ').trim(), SUMMARY_MAX)
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' && value !== '' ? value : otherwise
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
