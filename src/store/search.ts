import { readSearchQuery, snippetOf } from '../core/record/search-query.ts'
import type { EventKind } from '../core/record/hook-kind.ts'
import type { Database } from './database.ts'

/** An event that a search found. */
export type SearchHit = {
  id: number
  taskId: string
  attempt: number
  at: number
  /** Null where the task is gone. */
  project: string | null
  kind: EventKind
  tool: string | null
  /** About 160 characters of what was found, as they were stored: not safe to print yet. */
  snippet: string
}

export type SearchFilter = {
  text: string
  project: string | null
  since: number | null
  /** Only events with a smaller id, to page on. */
  before: number | null
  limit: number
}

/** Full-text search over prompts, commands, messages and heads of outputs of all stored events. */
export type Search = {
  /** Takes the next events into the index, a few ms of them, in one commit; false when it has all. */
  index: () => boolean
  /** Merges a few pages of the index, at most 5 ms; false when nothing is left to merge. Removed events free their pages so. */
  tidy: () => boolean
  /** Newest first. [] also for a text without any word. */
  find: (filter: SearchFilter) => SearchHit[]
}

type Row = Omit<SearchHit, 'taskId' | 'snippet'> & { task_id: string; text: string | null }

/** Events of one commit of the index: 25 µs each, measured. */
const INDEX_AT_ONCE = 64
/** Pages that are merged in it: as many as it makes due, so that the parts of the index never become many. */
const MERGE_WITH_INDEX = 24
/** Up to 0.7 ms a page where many of its events were removed. */
const MERGE_AT_ONCE = 8

/** Of a task in a shared queue this machine knows the project by its claims. */
const projectOf = (taskId: string): string =>
  `coalesce(t.project, (SELECT s.task ->> 'project' FROM shared_tasks s
     WHERE s.task_id = ${taskId} ORDER BY s.attempt DESC LIMIT 1))`

/** Search on the local database. */
export function createSearch(db: Database): Search {
  const find = db.prepare<
    {
      match: string
      project: string | null
      since: number | null
      sinceId: number
      before: number
      limit: number
    },
    Row
  >(
    `SELECT e.id, e.task_id, e.attempt, e.at, ${projectOf('e.task_id')} AS project, e.kind, e.tool, x.text
     FROM event_search s
     JOIN hook_events e ON e.id = s.rowid
     JOIN event_texts x ON x.id = e.id
     LEFT JOIN tasks t ON t.id = e.task_id
     WHERE event_search MATCH :match AND s.rowid >= :sinceId AND s.rowid < :before
       AND (:since IS NULL OR e.at >= :since) AND (:project IS NULL OR ${projectOf('e.task_id')} = :project)
     ORDER BY s.rowid DESC LIMIT :limit`,
  )
  // Ids are given in the order of storing, not of happening: the lowest one that may count.
  const firstSince = db.prepare<{ since: number }, { id: number | null }>(
    'SELECT min(id) AS id FROM hook_events INDEXED BY hook_events_at WHERE at >= :since',
  )

  const next = db.prepare<{ after: number; limit: number }, { id: number }>(
    'SELECT id FROM hook_events WHERE id > :after ORDER BY id LIMIT :limit',
  )
  const fill = db.prepare<{ after: number; last: number }>(
    `INSERT INTO event_search (rowid, text, project)
     SELECT x.id, x.text, ${projectOf('x.task_id')} FROM event_texts x LEFT JOIN tasks t ON t.id = x.task_id
     WHERE x.id > :after AND x.id <= :last AND x.text <> ''`,
  )
  const merge = db.prepare<{ pages: number }>(
    "INSERT INTO event_search (event_search, rank) VALUES ('merge', :pages)",
  )
  const written = db.prepare<Record<string, never>, { rows: number }>('SELECT total_changes() AS rows')
  const reached = db.prepare<Record<string, never>, { value: string }>(
    "SELECT value FROM meta WHERE key = 'search_indexed'",
  )
  const reach = db.prepare<{ value: string }>(
    `INSERT INTO meta (key, value) VALUES ('search_indexed', :value)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
  )

  return {
    index: () =>
      db.transaction(() => {
        const after = Number(reached.get({})?.value ?? 0)
        const ids = next.all({ after, limit: INDEX_AT_ONCE })
        const last = ids.at(-1)?.id
        if (last === undefined) return false
        fill.run({ after, last })
        merge.run({ pages: MERGE_WITH_INDEX })
        reach.run({ value: String(last) })
        return ids.length === INDEX_AT_ONCE
      }),
    tidy: () =>
      db.transaction(() => {
        const before = written.get({})?.rows ?? 0
        merge.run({ pages: MERGE_AT_ONCE })
        // The statement counts as one row itself.
        return (written.get({})?.rows ?? 0) - before > 1
      }),
    find({ text, project, since, before, limit }) {
      const query = readSearchQuery(text)
      if (query === null) return []
      const sinceId = since === null ? 0 : firstSince.get({ since })?.id
      if (sinceId === null || sinceId === undefined) return []
      const inText = `{text} : (${query.match})`
      const own = project === null ? null : readSearchQuery(`"${project}"`)
      const match = own === null ? inText : `(${inText}) AND ({project} : ${own.match})`
      const within = { since, sinceId, before: before ?? Number.MAX_SAFE_INTEGER }
      return find.all({ match, project, ...within, limit }).map(({ task_id, text: found, ...row }) => ({
        ...row,
        taskId: task_id,
        snippet: snippetOf(found ?? '', query.words),
      }))
    },
  }
}
