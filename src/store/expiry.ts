import type { Lease } from '../core/task/queue.ts'
import type { Database } from './database.ts'

/** An attempt whose record may go. */
export type Expired = Lease & { folder: string; configDir: string | null }

/** Where a walk through the events by their time stands. */
export type Place = { at: number; id: number }

/** Removes old records of attempts: events, changes of state, reports that were delivered. */
export type Expiry = {
  /**
   * Attempts that were settled before that time, oldest first: none of a task that is queued or running here, none
   * whose report is still to be delivered, none whose session the next attempt may go on with at `now`.
   */
  before: (settledBefore: number, now: number, limit: number) => Expired[]
  /** Removes at most so many rows of it in one commit, last of all the attempt itself; true when nothing is left. */
  removeSome: (lease: Lease, rows: number) => boolean
  /** True while any attempt of the task is recorded. */
  isKnown: (taskId: string) => boolean
  /**
   * Looks at so many events before that time, from a place on, and removes those that belong to no attempt. Answers the
   * place to go on from, null at the end. At once it took 160 ms where 200,000 belonged to attempts that stay.
   */
  removeStrays: (before: number, from: Place, rows: number) => Place | null
}

/** Expiry on the local database. */
export function createExpiry(db: Database): Expiry {
  const old = db.prepare<
    { before: number; now: number; limit: number },
    { task_id: string; attempt: number; folder: string; config_dir: string | null }
  >(
    `SELECT task_id, attempt, folder, config_dir FROM attempts a
     WHERE settled_at < :before
       AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = a.task_id AND t.status IN ('queued', 'running'))
       AND NOT EXISTS (SELECT 1 FROM outbox o
         WHERE o.task_id = a.task_id AND o.attempt = a.attempt
           AND (o.delivered_at IS NULL OR o.delivered_at + (o.report ->> '$.resume.forMs') > :now))
     ORDER BY settled_at LIMIT :limit`,
  )
  const events = db.prepare<Lease & { rows: number }>(
    `DELETE FROM hook_events WHERE id IN
       (SELECT id FROM hook_events WHERE task_id = :taskId AND attempt = :attempt LIMIT :rows)`,
  )
  const changes = db.prepare<Lease & { rows: number }>(
    `DELETE FROM state_changes WHERE id IN
       (SELECT id FROM state_changes WHERE task_id = :taskId AND attempt = :attempt LIMIT :rows)`,
  )
  const attempt = db.prepare<Lease>('DELETE FROM attempts WHERE task_id = :taskId AND attempt = :attempt')
  const known = db.prepare<{ taskId: string }, { known: number }>(
    'SELECT 1 AS known FROM attempts WHERE task_id = :taskId LIMIT 1',
  )
  const strays = db.prepare<Place & { before: number; rows: number }, Place & { known: number }>(
    `SELECT e.at, e.id,
       EXISTS (SELECT 1 FROM attempts a WHERE a.task_id = e.task_id AND a.attempt = e.attempt) AS known
     FROM hook_events e INDEXED BY hook_events_at
     WHERE e.at < :before AND (e.at, e.id) > (:at, :id) ORDER BY e.at, e.id LIMIT :rows`,
  )
  const event = db.prepare<{ id: number }>('DELETE FROM hook_events WHERE id = :id')

  return {
    before: (before, now, limit) =>
      old.all({ before, now, limit }).map((row) => ({
        taskId: row.task_id,
        attempt: row.attempt,
        folder: row.folder,
        configDir: row.config_dir,
      })),
    removeSome: (lease, rows) =>
      db.transaction(() => {
        const { taskId } = lease
        const one = { taskId, attempt: lease.attempt }
        if (events.run({ ...one, rows }) > 0 || changes.run({ ...one, rows }) > 0) return false
        attempt.run(one)
        return true
      }),
    isKnown: (taskId) => known.get({ taskId }) !== undefined,
    removeStrays: (before, { at, id }, rows) =>
      db.transaction(() => {
        const found = strays.all({ before, at, id, rows })
        for (const one of found) if (one.known === 0) event.run({ id: one.id })
        const last = found.at(-1)
        return last === undefined ? null : { at: last.at, id: last.id }
      }),
  }
}
