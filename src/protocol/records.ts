import { z } from 'zod'
import type { Timeline } from '../core/timeline.ts'

/** A time on the wire, ISO 8601 with a zone; becomes ms since 1970. */
const time = z.iso
  .datetime({ offset: true, error: 'must be a time such as 2030-01-31T07:30:00Z' })
  .transform((text) => Date.parse(text))
const word = z.string().regex(/^[\w.*:-]{1,200}$/, 'must be a word')

/** What narrows a list of events; all of it optional. `kind` is an event's kind or its phase. */
export const EVENT_FILTER = {
  name: z.string().min(1).max(100).optional(),
  kind: word.optional(),
  tool: word.optional(),
  since: time.optional(),
  until: time.optional(),
}

/** Query of `GET /api/search`: newest first. */
export const SearchQuery = z.strictObject({
  q: z.string().min(1).max(1000),
  project: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be 1 to 40 of a-z, 0-9 and -')
    .optional(),
  since: time.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(20),
})

/** One event that a search found. `snippet` is text of an agent: to be made safe where it is shown. */
export type SearchHitJson = {
  id: number
  task_id: string
  attempt: number
  at: string
  project: string | null
  kind: string
  tool: string | null
  snippet: string
}

/** `GET /api/tasks/:id/timeline`. Times are ISO 8601, durations ms. */
export type TimelineJson = {
  tools: { tool: string; calls: number; failed: number; total_ms: number }[]
  files: { path: string; reads: number; edits: number; writes: number }[]
  /** How many files there are in all; `files` has the most touched ones. */
  file_count: number
  longest: {
    id: number
    tool: string
    what: string | null
    started_at: string
    duration_ms: number
    failed: boolean
  }[]
  waits: { started_at: string; ended_at: string | null; reason: string }[]
  waited_ms: number
}

export function toTimelineJson(timeline: Timeline): TimelineJson {
  const { tools, files, fileCount, longest, waits, waitedMs } = timeline
  return {
    tools: tools.map(({ totalMs, ...tool }) => ({ ...tool, total_ms: totalMs })),
    files,
    file_count: fileCount,
    longest: longest.map(({ startedAt, durationMs, ...call }) => ({
      ...call,
      started_at: toIso(startedAt),
      duration_ms: durationMs,
    })),
    waits: waits.map(({ startedAt, endedAt, reason }) => ({
      started_at: toIso(startedAt),
      ended_at: endedAt === null ? null : toIso(endedAt),
      reason,
    })),
    waited_ms: waitedMs,
  }
}

function toIso(at: number): string {
  return new Date(at).toISOString()
}
