import { z } from 'zod'
import type { Timeline } from '../core/record/timeline.ts'
import { paged } from './list.ts'
import { at, toIso } from './time.ts'

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
  ...paged(['-id'], { limit: 20, max: 200 }),
})

/** One event that a search found. `snippet` is text of an agent: to be made safe where it is shown. */
export const SearchHitJson = z
  .object({
    id: z.int(),
    task_id: z.string(),
    attempt: z.int(),
    at,
    project: z.string().nullable(),
    kind: z.string(),
    tool: z.string().nullable(),
    snippet: z.string(),
  })
  .meta({ id: 'SearchHit' })
export type SearchHitJson = z.output<typeof SearchHitJson>

/** `GET /api/tasks/:id/timeline`. Times are ISO 8601, durations ms. */
export const TimelineJson = z
  .object({
    tools: z.array(z.object({ tool: z.string(), calls: z.int(), failed: z.int(), total_ms: z.number() })),
    files: z.array(z.object({ path: z.string(), reads: z.int(), edits: z.int(), writes: z.int() })),
    /** How many files there are in all; `files` has the most touched ones. */
    file_count: z.int(),
    longest: z.array(
      z.object({
        id: z.int(),
        tool: z.string(),
        what: z.string().nullable(),
        started_at: at,
        duration_ms: z.number(),
        failed: z.boolean(),
      }),
    ),
    waits: z.array(z.object({ started_at: at, ended_at: at.nullable(), reason: z.string() })),
    waited_ms: z.number(),
    /** Hook events that could not be written, as far as is known: the rest lacks them. */
    lost_events: z.int(),
  })
  .meta({ id: 'Timeline' })
export type TimelineJson = z.output<typeof TimelineJson>

export function toTimelineJson(timeline: Timeline): TimelineJson {
  const { tools, files, fileCount, longest, waits, waitedMs, lostEvents } = timeline
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
    lost_events: lostEvents,
  }
}
