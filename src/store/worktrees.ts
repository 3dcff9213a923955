import type { Clock } from '../core/clock.ts'
import type { Worktree, WorktreePhase } from '../core/task/workspace.ts'
import type { Database } from './database.ts'

/** The local record of tasks' worktrees. */
export type Worktrees = {
  get: (taskId: string) => Worktree | null
  /** Stores it whole, with the time; answers it as stored. */
  put: (worktree: Worktree) => Worktree
  /** Those whose tree may be there, oldest task first. */
  there: () => Worktree[]
  /** Discarded ones that have not changed since. */
  discardedBefore: (at: number) => Worktree[]
  forget: (taskId: string) => void
}

type Row = { task_id: string; phase: string; facts: string; changed_at: number }
type Facts = Omit<Worktree, 'taskId' | 'phase' | 'changedAt'>

/** Worktrees on the local database. */
export function createWorktrees(db: Database, clock: Clock): Worktrees {
  const one = db.prepare<{ taskId: string }, Row>('SELECT * FROM worktrees WHERE task_id = :taskId')
  const there = db.prepare<Record<string, never>, Row>(
    `SELECT * FROM worktrees WHERE phase IN ('making', 'ready', 'committed', 'kept') ORDER BY task_id`,
  )
  const put = db.prepare<Row>(
    `INSERT INTO worktrees (task_id, phase, facts, changed_at) VALUES (:task_id, :phase, :facts, :changed_at)
     ON CONFLICT (task_id) DO UPDATE SET phase = :phase, facts = :facts, changed_at = :changed_at`,
  )
  const discarded = db.prepare<{ at: number }, Row>(
    `SELECT * FROM worktrees WHERE phase = 'discarded' AND changed_at < :at`,
  )
  const forget = db.prepare<{ taskId: string }>('DELETE FROM worktrees WHERE task_id = :taskId')

  return {
    get: (taskId) => {
      const row = one.get({ taskId })
      return row === undefined ? null : fromRow(row)
    },
    put: (worktree) => {
      const { taskId, phase, changedAt: _, ...facts } = worktree
      const changedAt = clock()
      const row = {
        task_id: taskId,
        phase,
        facts: JSON.stringify(facts satisfies Facts),
        changed_at: changedAt,
      }
      db.transaction(() => put.run(row))
      return { ...worktree, changedAt }
    },
    there: () => there.all({}).map(fromRow),
    discardedBefore: (at) => discarded.all({ at }).map(fromRow),
    forget: (taskId) => db.transaction(() => forget.run({ taskId })),
  }
}

function fromRow(row: Row): Worktree {
  return {
    ...(JSON.parse(row.facts) as Facts),
    taskId: row.task_id,
    phase: row.phase as WorktreePhase,
    changedAt: row.changed_at,
  }
}
