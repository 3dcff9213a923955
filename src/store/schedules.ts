import { CcmError } from '../core/errors.ts'
import type { MissedPolicy, RunOutcome, Schedule, ScheduleRun, ScheduledTask } from '../core/task/schedule.ts'
import type { Database } from './database.ts'

/** Runs that are kept of each schedule; a clock is not set back by more than that. */
const RUNS_KEPT = 1000

/** The schedules of this machine. */
export type Schedules = {
  /** Throws CONFLICT when the name is taken. */
  add: (schedule: Omit<Schedule, 'id'>) => Schedule
  /** By name. */
  list: () => Schedule[]
  byName: (name: string) => Schedule | null
  /** Paused or not; times up to `settledUntil` are dealt with. False: there is no such schedule. */
  setPaused: (id: number, paused: boolean, settledUntil: number) => boolean
  setSettled: (id: number, settledUntil: number) => void
  remove: (id: number) => void
  /** Notes what became of a time and that all up to it are dealt with; false when it was noted before. */
  settle: (id: number, run: ScheduleRun, settledUntil: number) => boolean
  /** What became of this time, or null. */
  run: (id: number, dueAt: number) => ScheduleRun | null
  /** Newest first. */
  runs: (id: number, limit: number) => ScheduleRun[]
  /** The newest task that was queued; null when there was none. */
  lastTaskId: (id: number) => string | null
}

type Row = {
  id: number
  name: string
  project: string
  cron: string
  time_zone: string
  missed: string
  overlap: number
  paused: number
  task: string
  created_at: number
  settled_until: number
}
type RunRow = { due_at: number; outcome: string; task_id: string | null; reason: string | null }

/** Schedules on the local database. */
export function createSchedules(db: Database): Schedules {
  const insert = db.prepare<Omit<Row, 'id'>, Row>(
    `INSERT INTO schedules
       (name, project, cron, time_zone, missed, overlap, paused, task, created_at, settled_until)
     VALUES (:name, :project, :cron, :time_zone, :missed, :overlap, :paused, :task, :created_at, :settled_until)
     RETURNING *`,
  )
  const list = db.prepare<Record<string, never>, Row>('SELECT * FROM schedules ORDER BY name')
  const byName = db.prepare<{ name: string }, Row>('SELECT * FROM schedules WHERE name = :name')
  const pause = db.prepare<{ id: number; paused: number; at: number }>(
    'UPDATE schedules SET paused = :paused, settled_until = :at WHERE id = :id',
  )
  const settled = db.prepare<{ id: number; at: number }>(
    'UPDATE schedules SET settled_until = :at WHERE id = :id',
  )
  const remove = db.prepare<{ id: number }>('DELETE FROM schedules WHERE id = :id')
  const note = db.prepare<RunRow & { id: number }>(
    `INSERT INTO schedule_runs (schedule_id, due_at, outcome, task_id, reason)
     SELECT id, :due_at, :outcome, :task_id, :reason FROM schedules WHERE id = :id
     ON CONFLICT (schedule_id, due_at) DO NOTHING`,
  )
  const forget = db.prepare<{ id: number; kept: number }>(
    `DELETE FROM schedule_runs WHERE schedule_id = :id AND due_at <
       (SELECT min(due_at) FROM
         (SELECT due_at FROM schedule_runs WHERE schedule_id = :id ORDER BY due_at DESC LIMIT :kept))`,
  )
  const run = db.prepare<{ id: number; due: number }, RunRow>(
    'SELECT * FROM schedule_runs WHERE schedule_id = :id AND due_at = :due',
  )
  const runs = db.prepare<{ id: number; limit: number }, RunRow>(
    'SELECT * FROM schedule_runs WHERE schedule_id = :id ORDER BY due_at DESC LIMIT :limit',
  )
  const lastTask = db.prepare<{ id: number }, { task_id: string }>(
    `SELECT task_id FROM schedule_runs
     WHERE schedule_id = :id AND task_id IS NOT NULL ORDER BY due_at DESC LIMIT 1`,
  )

  return {
    add: (schedule) =>
      db.transaction(() => {
        if (byName.get({ name: schedule.name }) !== undefined) {
          throw new CcmError('CONFLICT', `There is a schedule ${schedule.name} already.`, {
            remedy: `Give it another --name, or remove that one: ccm schedule remove ${schedule.name}`,
          })
        }
        const row = insert.get({
          name: schedule.name,
          project: schedule.project,
          cron: schedule.cron,
          time_zone: schedule.timeZone,
          missed: schedule.missed,
          overlap: Number(schedule.overlap),
          paused: Number(schedule.paused),
          task: JSON.stringify(schedule.task),
          created_at: schedule.createdAt,
          settled_until: schedule.settledUntil,
        })
        if (row === undefined) throw new CcmError('INTERNAL', 'SQLite returned no row for an insert.')
        return toSchedule(row)
      }),
    list: () => list.all({}).map(toSchedule),
    byName: (name) => {
      const row = byName.get({ name })
      return row === undefined ? null : toSchedule(row)
    },
    setPaused: (id, paused, at) => pause.run({ id, paused: Number(paused), at }) > 0,
    setSettled: (id, at) => void settled.run({ id, at }),
    remove: (id) => void remove.run({ id }),
    settle: (id, { dueAt, outcome, taskId, reason }, settledUntil) =>
      db.transaction(() => {
        const noted = note.run({ id, due_at: dueAt, outcome, task_id: taskId, reason }) > 0
        settled.run({ id, at: settledUntil })
        forget.run({ id, kept: RUNS_KEPT })
        return noted
      }),
    run: (id, due) => {
      const row = run.get({ id, due })
      return row === undefined ? null : toRun(row)
    },
    runs: (id, limit) => runs.all({ id, limit }).map(toRun),
    lastTaskId: (id) => lastTask.get({ id })?.task_id ?? null,
  }
}

function toSchedule(row: Row): Schedule {
  return {
    id: row.id,
    name: row.name,
    project: row.project,
    cron: row.cron,
    timeZone: row.time_zone,
    missed: row.missed as MissedPolicy,
    overlap: row.overlap === 1,
    paused: row.paused === 1,
    task: JSON.parse(row.task) as ScheduledTask,
    createdAt: row.created_at,
    settledUntil: row.settled_until,
  }
}

function toRun(row: RunRow): ScheduleRun {
  return { dueAt: row.due_at, outcome: row.outcome as RunOutcome, taskId: row.task_id, reason: row.reason }
}
