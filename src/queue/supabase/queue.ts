import { boundedResult } from '../../core/task/bounded-result.ts'
import { CcmError } from '../../core/errors.ts'
import { checkNewTask } from '../../core/task/new-task.ts'
import type { Lease, Queue, Report, RetryReply } from '../../core/task/queue.ts'
import { resumeAgain } from '../../core/task/resume.ts'
import type { NewTask, Task } from '../../core/task/task.ts'
import type { Call } from './client.ts'
import { createRegistration } from './registration.ts'
import * as read from './rows.ts'
import { storable } from './storable.ts'

/** What a worker tells of itself when it registers; shown in the table `workers`. */
export type WorkerInfo = {
  host: string
  version: string
  capacity: number
  roles: string[] | null
  labels: string[]
  /** Local directories by project. */
  projects: Record<string, string>
  /** With what limits a project begins that the queue does not know yet; left out: with none. */
  limits?: Record<string, { max_running: number | null; paused: boolean }>
}

export type SupabaseQueueOptions = {
  call: Call
  /** Id of the row in `systems`, which must exist. */
  system: string
  worker: string
  info?: () => WorkerInfo
  /** Makes the key by which an insert that is sent twice is known; unique. */
  newKey: () => string
  leaseMs?: number
  graceMs?: number
}

export type SupabaseQueue = Queue & {
  /** `requestKey`: sent again with the same, it adds no second task. */
  insert: (task: NewTask, requestKey?: string) => Promise<{ task: Task; inserted: boolean }>
  /** Likewise, and the task gets this id, unless another has it by then: `inserted` with the id in the answer. */
  handOver: (task: NewTask, id: string, requestKey: string) => Promise<{ task: Task; inserted: boolean }>
  /** Tells `info` anew, and makes the projects in it known to the queue. */
  describe: () => Promise<void>
}

const PRUNED_AT_ONCE = 1000
const REAPED_AT_ONCE = 100
/** A hundred years: the database can add more to no time. */
const LONGEST_MS = 100 * 365 * 86_400_000

/**
 * The queue in a Supabase project, shared with any number of workers. Times are the database's. Throws what
 * `createSqliteQueue` throws, and SUPABASE_UNREACHABLE (nobody knows whether it was done) or SUPABASE_REFUSED (it was
 * not). After a claim whose answer got lost the next claim first gives out what that one took.
 */
export function createSupabaseQueue(options: SupabaseQueueOptions): SupabaseQueue {
  const { call, system, worker, info, newKey, leaseMs = 10 * 60_000, graceMs = 60_000 } = options
  const p_system = system
  const described = () => (info === undefined ? '{}' : JSON.stringify(info()))
  const { register, asWorker } = createRegistration({ call, system, worker, info: described })
  /** Attempts that this process was told of; what the database has beyond them came with a lost answer. */
  const told = new Set<string>()
  let claimWasLost = false

  const tasks = read.parseList(read.parseTask)
  const tell = (given: Task[]): Task[] => {
    for (const task of given) told.add(keyOf(leaseOf(task)))
    return given
  }

  const mine = async (): Promise<Task[]> => asWorker('tasks_mine', {}, tasks)

  const finishMany: Queue['finishMany'] = async (reports) => {
    if (reports.length === 0) return []
    const sent = inOrder(reports)
    const replies = await asWorker(
      'task_finish_many',
      reportParameters(sent),
      read.parseList(read.parseFinishReply),
    )
    for (const report of reports) told.delete(keyOf(report))
    const replyTo = new Map(replies.map((reply, index) => [sent[index], reply]))
    return reports.flatMap((report) => replyTo.get(report) ?? [])
  }

  const heartbeat: Queue['heartbeat'] = async (leases) => {
    const sent = inOrder(leases)
    const parameters = {
      p_tasks: sent.map(({ taskId }) => taskId),
      p_attempts: sent.map(({ attempt }) => attempt),
      p_lease_ms: leaseMs,
    }
    const replies = await asWorker('tasks_heartbeat', parameters, read.parseList(read.parseLeaseReply))
    for (const reply of replies) if (!reply.ok) told.delete(keyOf(reply))
    return replies
  }

  /**
   * What a claim took whose answer never came: at most `limit` of it, the rest goes back to the queue. Their leases began
   * with that claim, which may be long ago; whoever gets them here counts from now.
   */
  const recover = async (limit: number): Promise<Task[]> => {
    const lost = (await mine()).filter((task) => !told.has(keyOf(leaseOf(task))))
    await finishMany(lost.slice(limit).map(released))
    const kept = lost.slice(0, limit)
    const replies = kept.length === 0 ? [] : await heartbeat(kept.map(leaseOf))
    claimWasLost = false
    const ours = new Set(replies.filter(({ ok }) => ok).map(keyOf))
    return tell(kept.filter((task) => ours.has(keyOf(leaseOf(task)))))
  }

  return {
    register,

    describe: async () => {
      if (info !== undefined) await asWorker('worker_describe', { p_info: described() }, () => null)
    },

    insert: async (task, requestKey = newKey()) => {
      checkNewTask(task)
      const parameters = { p_system, ...taskParameters(task), p_request_key: requestKey }
      return call('task_insert', parameters, read.parseInserted)
    },
    handOver: async (task, id, requestKey) => {
      const parameters = { p_system, p_id: id, ...taskParameters(task), p_request_key: requestKey }
      return call('task_hand_over', parameters, read.parseInserted)
    },

    get: async (id) => (await call('task_get', { p_system, p_task: id }, tasks))[0] ?? null,

    list: async ({ status, projects, sort = '-created_at', after, limit }) => {
      const p_after_key = after?.key ?? null
      const p_after_id = after?.id ?? null
      const filter = { p_status: status ?? null, p_projects: projects ?? null, p_limit: limit }
      const parameters = { p_system, ...filter, p_sort: sort, p_after_key, p_after_id }
      return call('tasks_listed', parameters, read.parseList(read.parseListedTask))
    },

    idsByPrefix: async (prefix, projects) => {
      const parameters = { p_system, p_prefix: prefix, p_projects: projects }
      return call('tasks_by_prefix', parameters, read.parseList(read.parseText))
    },

    count: async (status) => call('tasks_count', { p_system, p_status: status }, read.parseCount),

    dependencies: async (id) =>
      call('task_dependencies', { p_system, p_task: id }, read.parseList(read.parseDependency)),

    configureProject: async ({ name, maxRunning, paused }) => {
      if (maxRunning !== null && !(Number.isInteger(maxRunning) && maxRunning > 0)) {
        throw new CcmError(
          'BAD_INPUT',
          `max_running of project ${name} must be a whole number above 0, or none.`,
        )
      }
      const p_max_running = maxRunning
      await call(
        'configure_project',
        { p_system, p_project: name, p_max_running, p_paused: paused },
        () => null,
      )
    },

    claim: async (limit, { projects, roles, labels, except = [] }) => {
      if (claimWasLost) {
        const recovered = await recover(Math.max(0, limit))
        if (recovered.length > 0) return recovered
      }
      const parameters = {
        p_limit: limit,
        p_lease_ms: leaseMs,
        p_projects: projects,
        p_roles: roles,
        p_labels: labels,
        p_except: except,
      }
      try {
        return tell(await asWorker('tasks_claim', parameters, tasks))
      } catch (error) {
        claimWasLost = error instanceof CcmError && error.code === 'SUPABASE_UNREACHABLE'
        throw error
      }
    },

    heartbeat,

    finish: async (report) => {
      const [reply] = await finishMany([report])
      if (reply === undefined) throw new CcmError('INTERNAL', 'The queue answered a report with nothing.')
      return reply
    },
    finishMany,

    cancel: async (id, reason) =>
      call(
        'task_cancel',
        { p_system, p_task: id, p_reason: reason },
        read.parseWord(['cancelled', 'requested', 'already_final', 'unknown']),
      ),

    mine: async () => tell(await mine()),

    reap: async () => call('tasks_reap', { p_system, p_grace_ms: graceMs, p_limit: REAPED_AT_ONCE }, tasks),

    retry: async (id) => call('task_retry', { p_system, p_task: id }, parseRetryReply),

    prune: async (olderThanMs) =>
      call(
        'tasks_prune',
        { p_system, p_older_than_ms: olderThanMs, p_limit: PRUNED_AT_ONCE },
        read.parseCount,
      ),
  }
}

function keyOf({ taskId, attempt }: Lease): string {
  return `${taskId}/${attempt}`
}

function leaseOf({ id, attempt }: Task): Lease {
  return { taskId: id, attempt }
}

/** The database locks their rows as they come: two calls that meet then wait for each other, and not both for ever. */
function inOrder<T extends Lease>(leases: readonly T[]): T[] {
  return leases.toSorted((a, b) => Number(a.taskId > b.taskId) - Number(a.taskId < b.taskId))
}

function released(task: Task): Report {
  return {
    ...leaseOf(task),
    outcome: 'released',
    result: null,
    error: 'The answer to its claim got lost.',
    retryAfterMs: 0,
    resume: resumeAgain(task, 0),
  }
}

function parseRetryReply(value: unknown): RetryReply {
  const said = read.parseText(value)
  const [, refused] = /^refused: (.+)$/s.exec(said) ?? []
  return refused === undefined
    ? read.parseWord(['queued', 'queued_already', 'running', 'succeeded', 'unknown'])(said)
    : { refused }
}

function reportParameters(reports: Report[]): Record<string, unknown> {
  const ms = (value: number | undefined | null): number | null =>
    value === null || value === undefined ? null : Math.min(Math.max(0, Math.round(value)), LONGEST_MS)
  return {
    p_tasks: reports.map(({ taskId }) => taskId),
    p_attempts: reports.map(({ attempt }) => attempt),
    p_outcomes: reports.map(({ outcome }) => outcome),
    p_results: reports.map(({ result }) =>
      result === null ? null : JSON.stringify(storable(boundedResult(result))),
    ),
    p_errors: reports.map(({ error }) => error),
    p_retry_after_ms: reports.map(({ retryAfterMs }) => ms(retryAfterMs)),
    p_resume_sessions: reports.map(({ resume }) => resume?.claudeSessionId ?? null),
    p_resume_for_ms: reports.map(({ resume }) => ms(resume?.forMs)),
  }
}

function taskParameters(task: NewTask): Record<string, unknown> {
  return {
    p_project: task.project,
    p_prompt: task.prompt,
    p_role: task.role,
    p_model: task.model,
    p_priority: task.priority,
    p_timeout_s: task.timeoutS,
    p_permission_mode: task.permissionMode,
    p_allowed_tools: task.allowedTools,
    p_disallowed_tools: task.disallowedTools,
    p_dedupe_key: task.dedupeKey,
    p_depends_on: task.dependsOn,
    p_scheduled_at: task.scheduledAt,
    p_labels: task.labels,
    p_max_tokens: task.maxTokens,
    p_max_cost_usd: task.maxCostUsd,
    p_in_place: task.inPlace,
    p_source: task.source,
    p_only_worker: task.onlyWorker,
  }
}
