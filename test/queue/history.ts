import { deepEqual, equal, ok } from 'node:assert/strict'
import { CcmError } from '../../src/core/errors.ts'
import type { FinishReply, Outcome, Queue, Report } from '../../src/core/task/queue.ts'
import { TASK_STATUSES, isFinal, type Task } from '../../src/core/task/task.ts'
import { GRACE_MS, from, newTask, reportOf, type QueueStore } from './bench.ts'
import {
  claimOutcome,
  insertOutcome,
  isHopeless,
  pruneOutcome,
  retryOutcome,
  standingOf,
  type Model,
} from './model.ts'

export const PROJECTS = ['x', 'y']

/**
 * What each step of a history carries. `who` and `which` count from the newest, modulo what there is: processes
 * (also replaced ones), claims ever made, tasks.
 */
type Fields = {
  insert: {
    who: number
    project: string
    priority: number
    dedupeKey: 'k' | null
    /** Which tasks it depends on. */
    after: number[]
    delayMs: number
    labels: string[]
    onlyWorker: string | null
  }
  claim: { who: number; limit: number; labels: string[] }
  heartbeat: { who: number; which: number }
  finish: { who: number; which: number; outcome: Outcome; retryAfterMs: number | null; resumes: boolean }
  resend: { which: number }
  cancel: { who: number; which: number }
  advance: { ms: number }
  reap: { who: number }
  restart: { worker: string }
  retry: { who: number; which: number }
  configure: { who: number; project: string; maxRunning: number | null; paused: boolean }
  prune: { who: number; olderThanMs: number }
}
type Name = keyof Fields
export type Step<K extends Name = Name> = { [P in K]: { do: P } & Fields[P] }[K]

type Process = { worker: string; queue: Queue }

/**
 * Plays a history of two workers, whose replaced processes go on writing, against a model of the rules. After
 * every step the whole store is read and compared with what it was before; at the end two healthy workers bring
 * every task to its one end. Throws where a promise is broken.
 */
export async function playHistory(store: QueueStore, steps: Step[]): Promise<void> {
  const processes: Process[] = []
  const newest = new Map<string, Process>()
  const start = async (worker: string): Promise<Process> => {
    const process = { worker, queue: store.worker(worker) }
    await process.queue.register()
    processes.push(process)
    newest.set(worker, process)
    return process
  }
  await start('a')
  await start('b')
  const reader = store.worker('reader')

  const claims: Task[] = []
  const valid = new Map<string, Task>()
  const taken: { worker: string; report: Report }[] = []
  const model: Model = { tasks: new Map(), limits: new Map(), turns: new Map(), gone: new Map() }
  let inserted = 0
  let retried: string | null = null

  const isNewest = (process: Process): boolean => newest.get(process.worker) === process
  const isValid = (process: Process, claim: Task): boolean =>
    isNewest(process) && process.worker === claim.worker && valid.get(claim.id)?.attempt === claim.attempt

  /** The answer to a fenced call; null when it was refused, which must happen to replaced processes only. */
  const fenced = async <T>(process: Process, call: Promise<T>): Promise<T | null> => {
    const answer = await call.catch((error: unknown) => nullFor('STALE_LEASE', error))
    equal(answer !== null, isNewest(process), 'exactly the replaced processes are refused')
    return answer
  }

  /** Each answers the tasks whose rows it may have changed, besides those that depend on them. */
  const acts: { [K in Name]: (step: Step<K>) => Promise<string[]> } = {
    insert: async ({ who, after, delayMs, project, priority, dedupeKey, labels, onlyWorker }) => {
      const all = [...model.tasks.keys()]
      const dependsOn = all.length === 0 ? [] : after.map((index) => pick(all, index))
      const asked = newTask({
        project,
        priority,
        dedupeKey,
        labels,
        onlyWorker,
        dependsOn,
        scheduledAt: (await store.now()) + delayMs,
      })
      const expected = insertOutcome(model, asked)
      const reply = await pick(processes, who)
        .queue.insert(asked)
        .catch((error: unknown) => (error instanceof CcmError ? error.code : Promise.reject(error)))
      if (typeof reply === 'string') equal(reply, expected, 'a refusal has its reason')
      else if (typeof expected === 'object' && expected !== null) {
        deepEqual(reply, { task: expected.alive, inserted: false }, 'a key that is alive is joined')
      } else {
        equal(expected, null, 'nothing is added that is to be refused')
        equal(reply.inserted, true)
        inserted += 1
        return [reply.task.id]
      }
      return []
    },
    claim: async ({ who, limit, labels }) => {
      const process = pick(processes, who)
      const now = await store.now()
      const { worker } = process
      const expected = isNewest(process)
        ? claimOutcome(model, { worker, limit, labels, now, projects: PROJECTS })
        : []
      const claimed = (await fenced(process, process.queue.claim(limit, from(PROJECTS, { labels })))) ?? []
      deepEqual(
        claimed.map(({ id }) => id),
        expected,
        'a claim takes exactly what it may, in its order',
      )
      for (const task of claimed) {
        const old = model.tasks.get(task.id)
        ok(!valid.has(task.id), 'a claimed task has no other valid attempt')
        equal(task.attempt, (old?.attempt ?? 0) + 1, 'a claim is the next attempt')
        equal(
          task.claudeSessionId,
          old?.resumeWorker === worker ? old.claudeSessionId : null,
          'its own session',
        )
        valid.set(task.id, task)
        claims.push(task)
      }
      return claimed.map(({ id }) => id)
    },
    heartbeat: async ({ who, which }) => {
      if (claims.length === 0) return []
      const process = pick(processes, who)
      const claim = pick(claims, which)
      const expected = isValid(process, claim)
      const lease = { taskId: claim.id, attempt: claim.attempt }
      const replies = await fenced(process, process.queue.heartbeat([lease]))
      equal(replies?.[0]?.ok ?? false, expected, 'a heartbeat is good for the valid attempt only')
      return expected ? [claim.id] : []
    },
    finish: async ({ who, which, outcome, retryAfterMs, resumes }) => {
      if (claims.length === 0) return []
      const process = pick(processes, who)
      const claim = pick(claims, which)
      const expected = isValid(process, claim)
      const report = reportOf(claim, outcome, {
        retryAfterMs,
        resume: resumes ? { claudeSessionId: 'c0ffee', forMs: 60_000 } : null,
      })
      const reply = await fenced(process, process.queue.finish(report))
      equal(reply !== null && isStatus(reply), expected, 'a report is taken for the valid attempt only')
      if (!expected) return []
      valid.delete(claim.id)
      taken.push({ worker: process.worker, report })
      return [claim.id]
    },
    resend: async ({ which }) => {
      if (taken.length === 0) return []
      const { worker, report } = pick(taken, which)
      const expected = model.gone.has(report.taskId) ? 'unknown' : 'duplicate'
      equal(await newest.get(worker)?.queue.finish(report), expected, 'a report may be sent for ever')
      return []
    },
    cancel: async ({ who, which }) => {
      if (model.tasks.size === 0) return []
      const task = pick([...model.tasks.values()], which)
      await pick(processes, who).queue.cancel(task.id, 'Asked.')
      return isFinal(task.status) ? [] : [task.id]
    },
    advance: async ({ ms }) => {
      await store.advance(ms)
      return []
    },
    reap: async ({ who }) => {
      const now = await store.now()
      const due = [...model.tasks.values()].filter(
        (task) => task.status === 'running' && (task.leaseExpiresAt ?? 0) + GRACE_MS <= now,
      )
      const moved = await pick(processes, who).queue.reap()
      deepEqual(moved.map(({ id }) => id).sort(), due.map(({ id }) => id).sort(), 'exactly what is due')
      for (const { id } of moved) valid.delete(id)
      return moved.map(({ id }) => id)
    },
    restart: async ({ worker }) => {
      await start(worker)
      return []
    },
    retry: async ({ who, which }) => {
      if (model.tasks.size === 0) return []
      const task = pick([...model.tasks.values()], which)
      const reply = await pick(processes, who).queue.retry(task.id)
      equal(typeof reply === 'object' ? 'refused' : reply, retryOutcome(model, task), 'what may be retried')
      retried = reply === 'queued' ? task.id : null
      return reply === 'queued' ? [task.id] : []
    },
    configure: async ({ who, project: name, maxRunning, paused }) => {
      await pick(processes, who).queue.configureProject({ name, maxRunning, paused })
      model.limits.set(name, { name, maxRunning, paused })
      return []
    },
    prune: async ({ who, olderThanMs }) => {
      const due = pruneOutcome(model, olderThanMs, await store.now())
      equal(await pick(processes, who).queue.prune(olderThanMs), due.length, 'exactly what is old is deleted')
      for (const id of due) {
        model.gone.set(id, model.tasks.get(id)?.status ?? 'dead')
        model.tasks.delete(id)
        inserted -= 1
      }
      return []
    },
  }
  const act = <K extends Name>(step: Step<K>): Promise<string[]> => acts[step.do](step)

  /** What has succeeded is met for good: a queue may forget it with its row, or keep its name. */
  const withoutGone = (task: Task): Task => ({
    ...task,
    dependsOn: task.dependsOn.filter((id) => model.gone.get(id) !== 'succeeded'),
  })

  const check = async (changed: string[]): Promise<void> => {
    const ids = (await reader.list({ limit: 10_000 })).map(({ id }) => id)
    const tasks = (await Promise.all(ids.map((id) => reader.get(id)))).filter((task) => task !== null)
    const before = model.tasks
    model.tasks = new Map(tasks.toReversed().map((task) => [task.id, task]))
    equal(model.tasks.size, inserted, 'no task is lost and none appears')
    for (const task of tasks) {
      const past = before.get(task.id)
      const old = past && withoutGone(past)
      ok(task.attempt >= (old?.attempt ?? 0), 'an attempt only goes up')
      const hopeless = task.dependsOn.some((id) => isHopeless(standingOf(model, id)))
      if (!changed.includes(task.id)) {
        // What it depends on ended without success in this very step, or nothing may have happened to it.
        if (hopeless && old?.status === 'queued') equal(task.status, 'cancelled', 'nothing waits for ever')
        else deepEqual(withoutGone(task), old, 'a step leaves everything else as it is')
      }
      ok(isFinal(task.status) || !hopeless, 'nothing lives on what ended without success')
      ok(
        task.status !== 'running' || task.dependsOn.every((id) => standingOf(model, id) === 'succeeded'),
        'nothing starts before what it depends on succeeded',
      )
      if (old !== undefined && isFinal(old.status) && retried !== task.id) {
        deepEqual(withoutGone(task), old, 'a final task stays as it is')
      }
      ok(isFinal(task.status) || (task.failures < 3 && task.lostLeases < 3), 'the budgets are kept')
      const running = task.status === 'running' ? [task.attempt, task.worker] : []
      const claim = valid.get(task.id)
      deepEqual(running, claim === undefined ? [] : [claim.attempt, claim.worker], 'one valid attempt')
    }
    retried = null
  }

  for (const step of steps) await check(await act(step))

  const last = [await start('a'), await start('b')]
  const who = 0
  for (const project of PROJECTS) {
    await check(await act({ do: 'configure', who, project, maxRunning: null, paused: false }))
  }
  // Three lost leases at most, no wait longer than an hour, and no chain longer than there are tasks.
  for (let round = 0; round < 3 + inserted; round += 1) {
    await store.advance(3_600_000)
    await check(await act({ do: 'reap', who }))
    for (const [index, { queue }] of last.toReversed().entries()) {
      const known = claims.length
      await check(await act({ do: 'claim', who: index, limit: 1_000, labels: ['gpu'] }))
      for (const claim of claims.slice(known)) {
        equal(await queue.finish(reportOf(claim, 'succeeded')), 'succeeded')
        valid.delete(claim.id)
        await check([claim.id])
      }
    }
    if ([...model.tasks.values()].every(({ status }) => isFinal(status))) break
  }
  deepEqual(
    [...model.tasks.values()].filter((task) => !isFinal(task.status)),
    [],
    'every task comes to an end',
  )
}

function pick<T>(from: readonly T[], index: number): T {
  const found = from.toReversed()[index % from.length]
  if (found === undefined) throw new Error('There is nothing to pick from.')
  return found
}

function isStatus(reply: FinishReply): boolean {
  return TASK_STATUSES.some((status) => status === reply)
}

function nullFor(code: string, error: unknown): null {
  if (error instanceof CcmError && error.code === code) return null
  throw error
}
