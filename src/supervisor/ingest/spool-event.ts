import { hash } from 'node:crypto'
import { clip } from '../../core/clip.ts'
import { toHookPayload, type HookPayload } from '../../core/agent/hook-event.ts'
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

/** Of what is no JSON. */
const UNREADABLE_CHARS = 1000
const UNREADABLE_LOOKED_AT = 8000

/** Claude Code's own names and ids are far shorter. */
const NAME_CHARS = 200

/** SQLite reads no JSON of more than 1000 levels: one such payload would end every search and count over all of them. */
const DEPTH_MAX = 200

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
  const { payload, isObject } = parsePayload(read, redactor)
  const isFuture = file.at > now + FUTURE_MS
  const at = Math.max(0, Math.round(isFuture ? now : file.at))
  const isWhole = read.size <= WHOLE_MAX_BYTES
  const columns = columnsOf(payload, at, isWhole ? sha256 : null)
  const isClean = isObject && !isDeeperThan(DEPTH_MAX, payload) && !redactor.mayHold(read.text)
  const clean = isClean ? payload : redactor.value(payload)
  const redacted = isClean ? read.text : JSON.stringify(clean)
  const text = isWhole && redacted.length <= STORED_MAX_BYTES / 3 ? redacted : bounded(redacted)
  const truncated = text !== redacted || !isWhole
  return {
    taskId: lease.taskId,
    attempt: lease.attempt,
    fileName: `${lease.taskId}.${lease.attempt}/${file.name}`,
    claudeSessionId: nameIn(clean.session_id),
    hookEventName: nameIn(clean.hook_event_name) ?? 'Unreadable',
    at,
    payload,
    record: {
      text,
      columns: isClean ? columns : withTextsOf(clean, columns, at),
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

/** Texts of what is redacted, as of one that was cut first half a secret could be left; numbers and hashes of the whole. */
function withTextsOf(clean: HookPayload, whole: EventColumns, at: number): EventColumns {
  const { agentId, tool, toolUseId, path, detail } = columnsOf(clean, at, null)
  const hasTexts = whole.detail !== null && 'command' in whole.detail
  return { ...whole, agentId, tool, toolUseId, path, detail: hasTexts ? detail : whole.detail }
}

/** What is that deep the redactor ends. */
function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((part) => isDeeperThan(levels - 1, part))
}

function nameIn(value: unknown): string | null {
  return typeof value === 'string' ? clip(value, NAME_CHARS) : null
}

function parsePayload(
  { text, size }: SpoolText,
  redactor: Redactor,
): { payload: HookPayload; isObject: boolean } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { payload: toHookPayload(value), isObject: true }
    return unreadable('The payload is not an object.', text, redactor)
  } catch {
    // Not the parser's own words: they quote the text around the fault, where half a secret may stand.
    return unreadable(`The payload is no JSON (${size} bytes).`, text, redactor)
  }
}

function unreadable(
  why: string,
  text: string,
  redactor: Redactor,
): { payload: HookPayload; isObject: boolean } {
  // Redacted before it is cut: half a secret is not known again.
  const start = clip(redactor.text(text.slice(0, UNREADABLE_LOOKED_AT)), UNREADABLE_CHARS)
  return { payload: { ccm_error: why, ccm_text: start }, isObject: false }
}
