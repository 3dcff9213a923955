import type { HookEventJson } from '../protocol/hook-event.ts'
import type { StateChangeJson } from '../protocol/state-change.ts'
import { showDuration } from './duration.ts'
import { oneLine } from './printable.ts'
import type { Paint } from './terminal.ts'

/** A tool call in one line, as in `Bash npm test`: the tool with the part of its input that tells calls apart. */
export function toolCall(event: HookEventJson): string {
  const input = event.tool_input ?? {}
  const telling = [
    'command',
    'file_path',
    'notebook_path',
    'pattern',
    'url',
    'query',
    'path',
    'description',
    'skill',
  ]
  const key = telling.find((name) => typeof input[name] === 'string')
  const what = key === undefined ? questionOf(input) : String(input[key])
  return `${oneLine(event.tool_name ?? 'tool')}${what === '' ? '' : ` ${oneLine(what, 160)}`}`
}

/**
 * What a hook event adds to the live view, or null when it says nothing new there: a line for each tool
 * call, one for a call that failed or took over two seconds.
 */
export function liveLine(event: HookEventJson, paint: Paint): string | null {
  switch (event.hook_event_name) {
    case 'PreToolUse':
      return `${paint.cyan('●')} ${toolCall(event)}`
    case 'PostToolUse': {
      const took = event.duration_ms ?? 0
      return took < 2000
        ? null
        : paint.dim(`  ${oneLine(event.tool_name ?? 'tool')} took ${showDuration(took)}`)
    }
    case 'PostToolUseFailure':
      return paint.red(
        `  ${oneLine(event.tool_name ?? 'tool')} failed: ${oneLine(event.error ?? 'no reason given', 160)}`,
      )
    case 'StopFailure':
      return paint.red(
        `  API error: ${oneLine(event.error ?? 'unknown')} ${oneLine(event.last_assistant_message ?? '', 160)}`,
      )
    default:
      return null
  }
}

/** One hook event in one line, for `ccm events`. */
export function eventLine(event: HookEventJson, paint: Paint): string {
  const detail =
    event.tool_name === undefined
      ? (event.last_assistant_message ?? event.prompt ?? event.message ?? event.reason ?? event.source ?? '')
      : toolCall(event)
  return `${paint.dim(clockTime(event.at))}  ${oneLine(event.hook_event_name).padEnd(20)} ${oneLine(detail, 160)}`.trimEnd()
}

/** One step of a chain in two lines: what changed, and what proved it. */
export function changeLines(change: StateChangeJson, paint: Paint): string[] {
  const head = `${paint.dim(clockTime(change.at))}  ${change.from} -> ${paint.bold(change.to)}  ${oneLine(change.cue)} (${change.source})  ${oneLine(change.reason)}`
  const proof = oneLine(change.evidence, 300)
  return proof === '' ? [head] : [head, paint.dim(`              ${proof}`)]
}

/** The time of day of an ISO time, local, with milliseconds. */
function clockTime(iso: string): string {
  const at = new Date(iso)
  const two = (value: number, digits = 2) => String(value).padStart(digits, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`
}

function questionOf(input: Record<string, unknown>): string {
  const questions = input.questions
  if (!Array.isArray(questions)) return ''
  const first: unknown = questions[0]
  return typeof first === 'object' && first !== null && 'question' in first ? String(first.question) : ''
}
