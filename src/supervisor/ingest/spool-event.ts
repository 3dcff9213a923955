import { hash } from 'node:crypto'
import { messageOf } from '../../core/errors.ts'
import type { HookPayload } from '../../core/agent/hook-event.ts'
import { columnsOf, type EventColumns } from '../../core/record/hook-kind.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { Redactor } from '../../core/redact.ts'
import { createSkimmer } from '../../core/record/skim-json.ts'
import type { NewHookEvent } from '../../store/hook-events.ts'
import type { OriginCheck } from './event-origin.ts'
import { WHOLE_MAX_BYTES, type SpoolText } from './spool.ts'

/** What is stored of a payload; the agent's watcher gets all of it. */
const STORED_MAX_BYTES = 64 * 1024
const STORED = { text: 4096, total: 24 * 1024 }

/** Clocks of one machine differ by less; a file dated later than this was dated by hand. */
const FUTURE_MS = 2000

const sha256 = (text: string): string => hash('sha256', text, 'hex')

/**
 * An event from what its file held. Total: what is no JSON object becomes an `Unreadable` event with the start of
 * the text. `payload` is as it came, for the state machine; `record` is redacted and at most 64 KiB.
 */
export function toNewEvent(
  lease: Lease,
  file: { name: string; at: number },
  read: SpoolText,
  context: { redactor: Redactor; now: number; suspect: OriginCheck },
): NewHookEvent {
  const { redactor, now } = context
  const { payload, isObject } = parsePayload(read)
  const isFuture = file.at > now + FUTURE_MS
  const at = Math.round(isFuture ? now : file.at)
  const isWhole = read.size <= WHOLE_MAX_BYTES
  const holds = redactor.mayHold(read.text)
  const columns = columnsOf(payload, at, isWhole ? sha256 : null)
  const redacted = holds || !isObject ? JSON.stringify(redactor.value(payload)) : read.text
  const text = isWhole && redacted.length <= STORED_MAX_BYTES / 3 ? redacted : bounded(redacted)
  const truncated = text !== redacted || !isWhole
  return {
    taskId: lease.taskId,
    attempt: lease.attempt,
    fileName: `${lease.taskId}.${lease.attempt}/${file.name}`,
    claudeSessionId: typeof payload.session_id === 'string' ? payload.session_id : null,
    hookEventName: typeof payload.hook_event_name === 'string' ? payload.hook_event_name : 'Unreadable',
    at,
    payload,
    record: {
      text,
      columns: holds ? redactedColumns(columns, redactor) : columns,
      size: read.size,
      truncated,
      sha256: truncated ? (read.sha256 ?? sha256(read.text)) : null,
      suspect: context.suspect(payload) ?? (isFuture ? 'future-time' : null),
    },
  }
}

function bounded(json: string): string {
  const bytes = Buffer.from(json)
  if (bytes.length <= STORED_MAX_BYTES) return json
  const skimmer = createSkimmer(STORED)
  skimmer.push(bytes)
  return Buffer.from(skimmer.end()).toString('utf8') || '{}'
}

function redactedColumns(columns: EventColumns, redactor: Redactor): EventColumns {
  const { path, detail, tool } = columns
  return {
    ...columns,
    tool: tool === null ? null : redactor.text(tool),
    path: path === null ? null : redactor.text(path),
    detail: detail === null ? null : redactor.value(detail),
  }
}

function parsePayload({ text, size }: SpoolText): { payload: HookPayload; isObject: boolean } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { payload: value as HookPayload, isObject: true }
    return unreadable('The payload is not an object.', text)
  } catch (error) {
    return unreadable(`${messageOf(error)} (${size} bytes)`.slice(0, 300), text)
  }
}

function unreadable(why: string, text: string): { payload: HookPayload; isObject: boolean } {
  return { payload: { ccm_error: why, ccm_text: text.slice(0, 1000) }, isObject: false }
}
