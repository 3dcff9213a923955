import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import { newTaskFaults } from '../core/task/new-task.ts'
import type { ProjectLimits, Queue } from '../core/task/queue.ts'
import type { NewTask, Task, TaskStatus } from '../core/task/task.ts'
import { claimOrder, type Line } from './claim-order.ts'
import { createTaskLists } from './sqlite-list.ts'
import { createEndings, ENDED } from './sqlite-ending.ts'
import { newRow, toTask, type TaskRow } from './sqlite-rows.ts'
import { prepareStatements, type QueueDatabase } from './sqlite-statements.ts'
import { nextTaskId } from './task-id.ts'

/** Rooms come free as agents end; a new try costs little. */
const RETRY_WHEN_FULL_MS = 30_000
/** A webhook may be delivered again for days. */
const KEY_KEPT_MS = 7 * 86_400_000
/** About 20 ms of deleting. */
const PRUNED_AT_ONCE = 1000

/** What the embedded queue is built from. `worker` is this daemon's name, `system` its fleet's. */
export type SqliteQueueOptions = {
  db: QueueDatabase
  system: string
  worker: string
  clock: Clock
  /** Numbers from 0 up to 1. */
  random: () => number
  /** How long a claim or a heartbeat holds; 10 minutes when left out. */
  leaseMs?: number
  /** How long after its end a lease may still be renewed before `reap` takes it; 1 minute when left out. */
  graceMs?: number
  /** How many tasks may be queued at once; 100 when left out. */
  maxQueued?: number
}

/**
 * The queue on the local database. claim, heartbeat, finish and mine throw CcmError STALE_LEASE once another
 * process has registered as the same worker, so that a report is never taken for delivered: it stays in the
 * outbox that the new process reads. insert throws BAD_INPUT or QUEUE_FULL.
 */
export function createSqliteQueue(options: SqliteQueueOptions): Queue {
  const { db, system, worker, clock, random } = options
  const { leaseMs = 10 * 60_000, graceMs = 60_000, maxQueued = 100 } = options
  const sql = prepareStatements(db)
  const lists = createTaskLists(db, system)
  const endings = createEndings({ sql, system, worker, clock, random })
  let epoch: number | null = null

  /** One atomic write; its thrown error becomes a rejection. Reads go without: they work on a full disk too. */
  const step = async <T>(work: () => T): Promise<T> => db.transaction(work)
  /** A step that only the newest process of this worker may take. */
  const fencedStep = async <T>(work: (epoch: number) => T): Promise<T> =>
    db.transaction(() => {
      const newest = sql.epochOf.get({ system, worker })?.epoch
      if (epoch === null || newest !== epoch) {
        throw new CcmError(
          'STALE_LEASE',
          epoch === null
            ? `Worker ${worker} has not registered with the queue yet.`
            : `Another process has registered as worker ${worker} since; this one may not write any more.`,
        )
      }
      return work(epoch)
    })

  const rowOf = (id: string): TaskRow | null => sql.get.get({ system, id }) ?? null
  const taskOf = (id: string): Task | null => {
    const row = rowOf(id)
    return row === null ? null : toTask(row)
  }
  const countOf = (status: TaskStatus): number => sql.count(status).get({ system })?.n ?? 0

  /** Why a new task cannot wait for these, a sentence for each. */
  const dependencyFaults = (task: NewTask): string[] =>
    [...new Set(task.dependsOn)].flatMap((id) => {
      const status = rowOf(id)?.status
      if (status === undefined) return [`It depends on task ${id}, which does not exist.`]
      const ended = ENDED[status]
      return ended === undefined ? [] : [`It depends on task ${id}, which ${ended}: it could never start.`]
    })

  return {
    register: () =>
      step(() => {
        epoch = sql.register.get({ system, worker, now: clock() })?.epoch ?? null
        if (epoch === null) throw new CcmError('INTERNAL', 'SQLite returned no row for an insert.')
        return epoch
      }),

    insert: (task) =>
      step(() => {
        refuse(newTaskFaults(task))
        const alive =
          task.dedupeKey === null ? undefined : sql.alive.get({ system, dedupeKey: task.dedupeKey })
        if (alive !== undefined) return { task: toTask(alive), inserted: false }
        refuse(dependencyFaults(task))
        if (countOf('queued') >= maxQueued) {
          throw new CcmError('QUEUE_FULL', `The queue is full: ${maxQueued} tasks are waiting.`, {
            remedy: 'Try again when some have started, cancel some, or raise the bound of queued tasks.',
            retryAfterMs: RETRY_WHEN_FULL_MS,
          })
        }
        const now = clock()
        const id = nextTaskId(now, random, sql.newestId.get({})?.id ?? null)
        const row = newRow(id, system, task, now)
        sql.insert.run(row)
        for (const dependsOn of new Set(task.dependsOn)) sql.addDependency.run({ id, dependsOn })
        return { task: toTask(row), inserted: true }
      }),

    get: async (id) => taskOf(id),

    list: async (query) => lists(query),

    idsByPrefix: async (prefix, projects) => {
      const found =
        projects === null
          ? sql.idsByPrefix.all({ system, prefix })
          : projects.flatMap((project) => sql.idsByPrefixOf.all({ system, project, prefix }))
      const ids = found.map(({ id }) => id).toSorted()
      return ids.slice(0, 2)
    },

    count: async (status) => countOf(status),

    dependencies: async (id) =>
      rowOf(id) === null
        ? []
        : sql.dependencies
            .all({ id })
            .flatMap((one) =>
              one.status === null ? [] : [{ id: one.id, status: one.status as TaskStatus }],
            ),

    configureProject: ({ name, maxRunning, paused }: ProjectLimits) =>
      step(() => {
        if (maxRunning !== null && !(Number.isInteger(maxRunning) && maxRunning > 0)) {
          refuse([`max_running of project ${name} must be a whole number above 0, or none.`])
        }
        sql.configureProject.run({ system, project: name, maxRunning, paused: Number(paused) })
      }),

    claim: (limit, filter) =>
      fencedStep((epoch) => {
        const now = clock()
        const { roles, labels, except = [] } = filter
        const claimable = sql.claimable({
          roles: roles !== null,
          labels: labels.length > 0,
          except: except.length > 0,
        })
        const lists = {
          roles: JSON.stringify(roles ?? []),
          labels: JSON.stringify(labels),
          except: JSON.stringify(except),
        }
        const known = new Map(sql.projects.all({ system }).map((project) => [project.project, project]))
        const lines = [...new Set(filter.projects)].flatMap((project): Line[] => {
          const { turn = 0, max_running: most = null, paused = 0 } = known.get(project) ?? {}
          const room = most === null ? limit : most - (sql.countRunning.get({ system, project })?.n ?? 0)
          return paused === 1 ? [] : [{ project, turn, room }]
        })
        const { ids, turns } = claimOrder({
          lines,
          newestTurn: Math.max(0, ...[...known.values()].map(({ turn }) => turn)),
          limit,
          read: (projects, skip, count) =>
            claimable.all({ ...lists, system, worker, now, skip, count, projects: JSON.stringify(projects) }),
        })
        for (const [project, turn] of turns) sql.takeTurn.run({ system, project, turn })
        if (ids.length === 0) return []
        const taken = JSON.stringify(ids)
        const rows = sql.claim.all({ ids: taken, worker, now, expiresAt: now + leaseMs })
        sql.openAttempts.run({ ids: taken, worker, epoch, now })
        const byId = new Map(rows.map((row) => [row.id, row]))
        return ids.flatMap((id) => {
          const row = byId.get(id)
          return row === undefined ? [] : [toTask(row)]
        })
      }),

    heartbeat: (leases) =>
      fencedStep(() => {
        const expiresAt = clock() + leaseMs
        return leases.map(({ taskId, attempt }) => {
          const row = sql.renew.get({ system, id: taskId, attempt, worker, expiresAt })
          return row === undefined
            ? { taskId, attempt, ok: false, cancel: false, expiresAt: null }
            : { taskId, attempt, ok: true, cancel: row.cancel_requested === 1, expiresAt }
        })
      }),

    finish: (report) => fencedStep(() => endings.finish(report)),
    finishMany: (reports) => fencedStep(() => reports.map(endings.finish)),

    cancel: (id, reason) =>
      step(() => {
        const status = rowOf(id)?.status
        if (status === undefined) return 'unknown'
        if (status === 'cancelled') return 'cancelled'
        if (status !== 'queued' && status !== 'running') return 'already_final'
        const why = reason.trim() === '' ? 'Cancelled.' : reason
        if (status === 'running') {
          sql.requestCancel.run({ id, reason: why })
          return 'requested'
        }
        sql.cancelQueued.run({ id, reason: why, now: clock() })
        endings.cancelDependents(id, 'cancelled')
        return 'cancelled'
      }),

    mine: () => fencedStep(() => sql.mine.all({ system, worker }).map(toTask)),

    reap: () =>
      step(() =>
        sql.expired.all({ system, before: clock() - graceMs }).flatMap((row) => {
          endings.lose(row)
          return taskOf(row.id) ?? []
        }),
      ),

    retry: (id) =>
      step(() => {
        const row = rowOf(id)
        if (row === null) return 'unknown'
        if (row.status === 'queued') return 'queued_already'
        if (row.status === 'running' || row.status === 'succeeded') return row.status
        const alive =
          row.dedupe_key === null ? undefined : sql.alive.get({ system, dedupeKey: row.dedupe_key })
        if (alive !== undefined)
          return { refused: `Task ${alive.id} has the same key and is ${alive.status}.` }
        for (const dependency of sql.dependencies.all({ id })) {
          const ended = dependency.status === null ? 'is not kept any more' : ENDED[dependency.status]
          if (ended !== undefined) {
            return { refused: `It depends on task ${dependency.id}, which ${ended}: it could never start.` }
          }
        }
        sql.retry.run({ id, now: clock() })
        return 'queued'
      }),

    prune: (olderThanMs) =>
      step(() => {
        const now = clock()
        const pruned = sql.prune.all({
          system,
          before: now - olderThanMs,
          keyedBefore: now - Math.max(olderThanMs, KEY_KEPT_MS),
          limit: PRUNED_AT_ONCE,
        })
        for (const { id, status } of pruned) if (status === 'succeeded') sql.dropMetEdges.run({ id })
        return pruned.length
      }),
  }
}

function refuse(faults: string[]): void {
  if (faults.length > 0) throw new CcmError('BAD_INPUT', faults.join(' '))
}
