import { deepEqual, equal, ok } from 'node:assert/strict'
import { CcmError } from '../../src/core/errors.ts'
import type { FinishReply, Outcome, Queue, Report } from '../../src/core/queue.ts'
import { TASK_STATUSES, isFinal, type Task } from '../../src/core/task.ts'
import { GRACE_MS, from, newTask, reportOf, type QueueStore } from './bench.ts'

export const PROJECTS = ['x', 'y']

/**
 * What each step of a history carries. `who` and `which` count from the newest, modulo what there is: processes
 * (also replaced ones), claims ever made, tasks.
 */
type Fields = {
  insert: { who: number; project: string; priority: number; dedupeKey: 'k' | null }
  claim: { who: number; limit: number }
  heartbeat: { who: number; which: number }
  finish: { who: number; which: number; outcome: Outcome; retryAfterMs: number | null }
  resend: { which: number }
  cancel: { who: number; which: number }
  advance: { ms: number }
  reap: { who: number }
  restart: { worker: string }
}
type Name = keyof Fields
export type Step<K extends Name = Name> = { [P in K]: { do: P } & Fields[P] }[K]

type Process = { worker: string; queue: Queue }

/**
 * Plays a history of two workers, whose replaced processes go on writing, against a model that knows only
 * which claims are valid. After every step the whole store is read and compared with what it was before; at
 * the end one healthy worker brings every task to its one end. Throws where a promise is broken.
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
  let inserted = 0
  let before = new Map<string, Task>()

  const isNewest = (process: Process): boolean => newest.get(process.worker) === process
  const isValid = (process: Process, claim: Task): boolean =>
    isNewest(process) && process.worker === claim.worker && valid.get(claim.id)?.attempt === claim.attempt

  /** The answer to a fenced call; null when it was refused, which must happen to replaced processes only. */
  const fenced = async <T>(process: Process, call: Promise<T>): Promise<T | null> => {
    const answer = await call.catch((error: unknown) => nullFor('STALE_LEASE', error))
    equal(answer !== null, isNewest(process), 'exactly the replaced processes are refused')
    return answer
  }

  /** Each answers whether the step may have changed a row. */
  const acts: { [K in Name]: (step: Step<K>) => Promise<boolean> } = {
    insert: async ({ who, project, priority, dedupeKey }) => {
      const alive = [...before.values()].find((task) => task.dedupeKey === 'k' && !isFinal(task.status))
      const asked = newTask({ project, priority, dedupeKey })
      const reply = await pick(processes, who)
        .queue.insert(asked)
        .catch((error: unknown) => nullFor('QUEUE_FULL', error))
      if (dedupeKey !== null && alive !== undefined) deepEqual(reply, { task: alive, inserted: false })
      if (reply?.inserted === true) inserted += 1
      return reply?.inserted === true
    },
    claim: async ({ who, limit }) => {
      const process = pick(processes, who)
      const claimed = (await fenced(process, process.queue.claim(limit, from(PROJECTS)))) ?? []
      const now = await store.now()
      for (const task of claimed) {
        const old = before.get(task.id)
        ok(!valid.has(task.id), 'a claimed task has no other valid attempt')
        equal(task.attempt, (old?.attempt ?? 0) + 1, 'a claim is the next attempt')
        ok((old?.scheduledAt ?? 0) <= now, 'no task starts before its time')
        valid.set(task.id, task)
        claims.push(task)
      }
      return claimed.length > 0
    },
    heartbeat: async ({ who, which }) => {
      if (claims.length === 0) return false
      const process = pick(processes, who)
      const claim = pick(claims, which)
      const expected = isValid(process, claim)
      const lease = { taskId: claim.id, attempt: claim.attempt }
      const replies = await fenced(process, process.queue.heartbeat([lease]))
      equal(replies?.[0]?.ok ?? false, expected, 'a heartbeat is good for the valid attempt only')
      return expected
    },
    finish: async ({ who, which, outcome, retryAfterMs }) => {
      if (claims.length === 0) return false
      const process = pick(processes, who)
      const claim = pick(claims, which)
      const expected = isValid(process, claim)
      const report = reportOf(claim, outcome, { retryAfterMs })
      const reply = await fenced(process, process.queue.finish(report))
      equal(reply !== null && isStatus(reply), expected, 'a report is taken for the valid attempt only')
      if (!expected) return false
      valid.delete(claim.id)
      taken.push({ worker: process.worker, report })
      return true
    },
    resend: async ({ which }) => {
      if (taken.length === 0) return false
      const { worker, report } = pick(taken, which)
      equal(await newest.get(worker)?.queue.finish(report), 'duplicate')
      return false
    },
    cancel: async ({ who, which }) => {
      if (before.size === 0) return false
      const task = pick([...before.values()], which)
      await pick(processes, who).queue.cancel(task.id, 'Asked.')
      return !isFinal(task.status)
    },
    advance: async ({ ms }) => {
      await store.advance(ms)
      return false
    },
    reap: async ({ who }) => {
      const now = await store.now()
      const due = [...before.values()].filter(
        (task) => task.status === 'running' && (task.leaseExpiresAt ?? 0) + GRACE_MS <= now,
      )
      const moved = await pick(processes, who).queue.reap()
      deepEqual(moved.map(({ id }) => id).sort(), due.map(({ id }) => id).sort(), 'exactly what is due')
      for (const { id } of moved) valid.delete(id)
      return moved.length > 0
    },
    restart: async ({ worker }) => {
      await start(worker)
      return false
    },
  }
  const act = <K extends Name>(step: Step<K>): Promise<boolean> => acts[step.do](step)

  const check = async (mayChange: boolean): Promise<void> => {
    const tasks = await reader.list({ limit: 10_000 })
    const after = new Map(tasks.map((task) => [task.id, task]))
    equal(after.size, inserted, 'no task is lost and none appears')
    if (!mayChange) deepEqual(after, before, 'a refused step changes nothing')
    for (const task of tasks) {
      const old = before.get(task.id)
      ok(task.attempt >= (old?.attempt ?? 0), 'an attempt only goes up')
      if (old !== undefined && isFinal(old.status)) deepEqual(task, old, 'a final task stays as it is')
      ok(isFinal(task.status) || (task.failures < 3 && task.lostLeases < 3), 'the budgets are kept')
      const running = task.status === 'running' ? [task.attempt, task.worker] : []
      const claim = valid.get(task.id)
      deepEqual(running, claim === undefined ? [] : [claim.attempt, claim.worker], 'one valid attempt')
    }
    before = after
  }

  for (const step of steps) await check(await act(step))

  const last = await start('a')
  const who = 0
  // Three lost leases at most, and no wait is longer than an hour.
  for (let round = 0; round < 3; round += 1) {
    await store.advance(3_600_000)
    await check(await act({ do: 'reap', who }))
    const known = claims.length
    await check(await act({ do: 'claim', who, limit: 1_000 }))
    for (const claim of claims.slice(known)) {
      equal(await last.queue.finish(reportOf(claim, 'succeeded')), 'succeeded')
      valid.delete(claim.id)
    }
    await check(true)
  }
  deepEqual(
    [...before.values()].filter((task) => !isFinal(task.status)),
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
