import { CALLS_MAX, FILES_MAX, waitsOf, type Timeline } from '../core/record/timeline.ts'
import type { Database } from './database.ts'

/** What the agents of a task spent their time on, from the stored rows. */
export function createTimelines(db: Database): (taskId: string, now: number) => Timeline {
  // All but the longest calls comes from the index hook_events_ended alone: no payload is read.
  const ENDED = `hook_events INDEXED BY hook_events_ended
     WHERE task_id = :taskId AND phase IN ('tool_use_complete', 'tool_use_error')`
  const tools = db.prepare<{ taskId: string }, { tool: string | null; calls: number; total: number | null }>(
    `SELECT tool, count(*) AS calls, sum(duration_ms) AS total FROM ${ENDED} GROUP BY tool`,
  )
  const failed = db.prepare<{ taskId: string }, { tool: string | null; failed: number }>(
    `SELECT tool, count(*) AS failed FROM ${ENDED} AND phase = 'tool_use_error' GROUP BY tool`,
  )
  const files = db.prepare<
    { taskId: string; limit: number },
    { path: string; reads: number; edits: number; writes: number; count: number }
  >(
    `SELECT path, sum(kind = 'file_read') AS reads, sum(kind = 'file_edit') AS edits,
       sum(kind = 'file_write') AS writes, count(*) OVER () AS count
     FROM ${ENDED} AND kind IN ('file_read', 'file_edit', 'file_write') AND path IS NOT NULL
     GROUP BY path ORDER BY count(*) DESC, path LIMIT :limit`,
  )
  const longest = db.prepare<
    { taskId: string; limit: number },
    {
      id: number
      tool: string | null
      what: string | null
      started: number
      duration_ms: number
      phase: string
    }
  >(
    `SELECT e.id, e.tool, coalesce(e.detail ->> '$.command', e.path, e.payload ->> '$.tool_input.description') AS what,
       e.started, e.duration_ms, e.phase
     FROM (SELECT id FROM ${ENDED} AND duration_ms IS NOT NULL ORDER BY duration_ms DESC LIMIT :limit) l
     JOIN hook_events e ON e.id = l.id ORDER BY e.duration_ms DESC, e.id`,
  )
  const changes = db.prepare<{ taskId: string }, { at: number; to: string; attempt: number; reason: string }>(
    'SELECT at, to_state AS "to", attempt, reason FROM state_changes WHERE task_id = :taskId ORDER BY id',
  )
  const lost = db.prepare<{ taskId: string }, { lost: number }>(
    `SELECT coalesce(sum(payload ->> '$.lost'), 0) AS lost FROM hook_events INDEXED BY hook_events_odd
     WHERE kind IN ('unknown', 'unreadable', 'events_lost') AND kind = 'events_lost' AND task_id = :taskId
       AND suspect IS NULL`,
  )

  return (taskId, now) => {
    const failures = new Map(failed.all({ taskId }).map((row) => [row.tool, row.failed]))
    const touched = files.all({ taskId, limit: FILES_MAX })
    return {
      tools: tools
        .all({ taskId })
        .map(({ tool, calls, total }) => ({
          tool: tool ?? 'unknown',
          calls,
          failed: failures.get(tool) ?? 0,
          totalMs: total ?? 0,
        }))
        .toSorted((a, b) => b.totalMs - a.totalMs || b.calls - a.calls),
      files: touched.map(({ path, reads, edits, writes }) => ({ path, reads, edits, writes })),
      fileCount: touched[0]?.count ?? 0,
      longest: longest.all({ taskId, limit: CALLS_MAX }).map((row) => ({
        id: row.id,
        tool: row.tool ?? 'unknown',
        what: row.what,
        startedAt: row.started,
        durationMs: row.duration_ms,
        failed: row.phase === 'tool_use_error',
      })),
      ...waitsOf(changes.all({ taskId }), now),
      lostEvents: lost.get({ taskId })?.lost ?? 0,
    }
  }
}
