import type { TaskQuery } from '../core/task/task-list.ts'
import { PROMPT_SHOWN_CHARS, type ListedTask, type TaskStatus } from '../core/task/task.ts'
import { toListedTask, type ListedRow } from './sqlite-rows.ts'
import { WITH_STATUS, type QueueDatabase } from './sqlite-statements.ts'

/** Each has all that a list of such tasks is chosen by, so that no row is read that is not shown. */
const BY_STATUS: Record<TaskStatus, string> = {
  queued: 'tasks_queued',
  running: 'tasks_running',
  succeeded: 'tasks_succeeded',
  failed: 'tasks_ended_badly',
  cancelled: 'tasks_ended_badly',
  dead: 'tasks_ended_badly',
}

type Picked = { id: string; key: number | null }
type Params = {
  system: string
  projects: string
  project: string
  key: number | null
  id: string
  limit: number
}

/**
 * Makes the lists of the embedded queue. First the ids are chosen, from an index alone; then the rows are read: a
 * prompt may have 100 KiB and a result more, and the columns that are wanted lie behind them.
 */
export function createTaskLists(db: QueueDatabase, system: string): (query: TaskQuery) => ListedTask[] {
  const read = db.prepare<{ ids: string }, ListedRow>(
    `SELECT id, project, substr(prompt, 1, ${PROMPT_SHOWN_CHARS}) AS prompt, role, model, priority, timeout_s,
       permission_mode, allowed_tools, disallowed_tools, dedupe_key, depends_on, labels, max_tokens, max_cost_usd,
       in_place, source, only_worker, status, attempt, worker, failures, lost_leases, scheduled_at, resume_worker,
       resume_until, claude_session_id, cancel_requested, lease_expires_at, error, created_at, started_at, finished_at
     FROM tasks WHERE id IN (SELECT value FROM json_each(:ids))`,
  )

  const pick = (query: TaskQuery): Picked[] => {
    const { projects = null, after = null, limit } = query
    const [project = ''] = projects ?? []
    const params: Params = {
      system,
      projects: JSON.stringify(projects),
      project,
      key: after?.key ?? null,
      id: after?.id ?? '',
      limit,
    }
    return db.prepare<Params, Picked>(pickStatement(query)).all(params)
  }

  return (query) => {
    const { projects, status, sort = '-created_at', limit } = query
    if (projects?.length === 0) return []
    // The index of projects has the order of ids within each: one look for each, and the first of all of them.
    const apart = projects !== undefined && status === undefined && sort.endsWith('created_at')
    const picked = apart
      ? projects.flatMap((project) => pick({ ...query, projects: [project] }))
      : pick(query)
    if (apart) picked.sort((a, b) => (a.id < b.id === sort.startsWith('-') ? 1 : -1))
    const ids = picked.slice(0, limit).map(({ id }) => id)
    const rows = new Map(read.all({ ids: JSON.stringify(ids) }).map((row) => [row.id, row]))
    return ids.flatMap((id) => {
      const row = rows.get(id)
      return row === undefined ? [] : [toListedTask(row)]
    })
  }
}

/** One statement for each combination, with the index that serves it. */
function pickStatement({ status, projects, sort = '-created_at', after }: TaskQuery): string {
  const by = sort.replace('-', '')
  const descending = sort.startsWith('-')
  const key = { created_at: null, priority: 'priority', finished_at: 'finished_at' }[by] ?? null
  const index = indexFor(by, status, projects !== undefined)
  const than = descending ? '<' : '>'
  const direction = descending ? 'DESC' : 'ASC'
  const conditions = [
    'system = :system',
    by === 'priority' ? WITH_STATUS.queued : '',
    by === 'finished_at' ? 'finished_at IS NOT NULL' : '',
    status === undefined ? '' : WITH_STATUS[status],
    projects === undefined
      ? ''
      : projects.length === 1
        ? 'project = :project'
        : 'project IN (SELECT value FROM json_each(:projects))',
    after === undefined ? '' : key === null ? `id ${than} :id` : `(${key}, id) ${than} (:key, :id)`,
  ].filter((condition) => condition !== '')
  return `SELECT id, ${key ?? 'NULL'} AS key FROM tasks ${index === null ? '' : `INDEXED BY ${index}`}
    WHERE ${conditions.join(' AND ')}
    ORDER BY ${key === null ? '' : `${key} ${direction}, `}id ${direction} LIMIT :limit`
}

/** The index whose order is the wanted one, or that holds few others; null: that of the ids. */
function indexFor(by: string, status: TaskStatus | undefined, ofProjects: boolean): string | null {
  if (by === 'priority') return 'tasks_queued'
  if (by === 'finished_at') return 'tasks_finished'
  if (status !== undefined) return BY_STATUS[status]
  return ofProjects ? 'tasks_by_project' : null
}
