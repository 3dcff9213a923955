import { setTimeout as sleep } from 'node:timers/promises'
import type { SupabaseClient } from '@supabase/supabase-js'
import type { Logger } from 'pino'
import { CcmError } from '../../core/errors.ts'
import type { Queue } from '../../core/task/queue.ts'
import { PLAIN_TASK } from '../../core/task/task.ts'
import { createSupabase, type Supabase, type SupabaseAccess } from './client.ts'
import { createSupabaseQueue } from './queue.ts'
import { createSubscription } from './subscription.ts'

const READY_MS = 12_000
/** Its worker and project in the database: always the same, so that trials leave one row and no more. */
const TRIAL = 'ccm-check'

/** Somebody else's trial of the same system makes one fail; with as many tries one of them is alone. */
const TRIES = 5

/** What a trial told: how long it took from the insert to the claim, and by what the task was found. */
type Tried = { claimedMs: number; by: 'event' | 'looking' }

/**
 * Inserts a task, hears of it, claims it and finishes it, all as a worker of its own, and removes it again. Throws
 * CcmError for what does not work. Two machines that are set up at once are the same worker: it is tried again.
 */
export async function tryTask(access: SupabaseAccess, logger: Logger): Promise<Tried> {
  const { url, secretKey, system } = access
  const supabase = createSupabase({ url, secretKey })
  const queue = createSupabaseQueue({
    call: supabase.call,
    system,
    worker: TRIAL,
    info: () => ({ host: '', version: '', capacity: 0, roles: null, labels: [], projects: { [TRIAL]: '/' } }),
    newKey: () => crypto.randomUUID(),
  })
  await using subscription = await subscribe(supabase, system, logger, () => undefined)
  const inserted: string[] = []
  for (let tried = 1; ; tried += 1) {
    try {
      await queue.register()
      await subscription.ready
      const result = await tryOnce(queue, subscription.next, (id) => inserted.push(id))
      await removeTrial(supabase.client, system, inserted)
      return result
    } catch (error) {
      // Another process is the worker now, or has removed the project or the task.
      const isOthers = error instanceof CcmError && OTHERS.has(error.code)
      if (!isOthers || tried === TRIES) throw error
      await sleep(500 + Math.random() * 3000)
    }
  }
}

const OTHERS = new Set(['STALE_LEASE', 'BAD_INPUT', 'NOT_FOUND'])

async function tryOnce(
  queue: Queue,
  next: () => Promise<void>,
  onInserted: (taskId: string) => void,
): Promise<Tried> {
  const insertedAt = performance.now()
  const heard = next()
  const { task } = await queue.insert({ ...NOTHING, project: TRIAL, onlyWorker: TRIAL })
  onInserted(task.id)
  const by = await Promise.race([
    heard.then(() => 'event' as const),
    new Promise<'looking'>((resolve) => setTimeout(resolve, 2000, 'looking')),
  ])
  await queue.claim(100, { projects: [TRIAL], roles: null, labels: [] })
  const claimedMs = performance.now() - insertedAt
  // Also what a trial claimed that was interrupted by this one: it runs, and nobody else ends it.
  for (const { id, attempt } of await queue.mine())
    await queue.finish({
      taskId: id,
      attempt,
      outcome: 'succeeded',
      result: null,
      error: null,
      retryAfterMs: null,
      resume: null,
    })
  const ended = await queue.get(task.id)
  if (ended === null) throw new CcmError('NOT_FOUND', 'The task of the trial was deleted by somebody else.')
  if (ended.status !== 'succeeded') {
    throw new CcmError('SUPABASE_REFUSED', `The task of the trial is ${ended.status} and not succeeded.`, {
      remedy: 'Look at its row in the table tasks.',
    })
  }
  return { claimedMs, by }
}

/** What stays behind is one worker, and what belongs to a trial that is under way. */
async function removeTrial(client: SupabaseClient, system: string, taskIds: string[]): Promise<void> {
  const tasks = () => client.from('tasks').delete().eq('system_id', system).eq('project', TRIAL)
  for (let tried = 1; tried <= TRIES; tried += 1) {
    const { error } = await tasks().in('id', taskIds)
    if (error === null) break
    // Another trial runs one of them at the moment.
    await sleep(500)
  }
  // Of trials that broke off.
  await tasks().lt('created_at', new Date(Date.now() - 600_000).toISOString())
  await client.from('projects').delete().eq('system_id', system).eq('name', TRIAL)
}

/** Listens for tasks of a system: `ready` tells whether it works, within 12 s; `next` resolves with the next one. */
export async function subscribe(
  supabase: Supabase,
  system: string,
  logger: Logger,
  onTrouble: (why: string) => void,
) {
  const ready = Promise.withResolvers<boolean>()
  let next = Promise.withResolvers<void>()
  const limit = setTimeout(() => ready.resolve(false), READY_MS)
  const subscription = createSubscription({
    connect: supabase.connect,
    system,
    onReady: () => ready.resolve(true),
    onTask: () => {
      next.resolve()
      next = Promise.withResolvers<void>()
    },
    onTrouble(why) {
      onTrouble(why)
      // The database's own refusal will be the same the next time.
      if (why.startsWith('system:') || why.includes('RealtimeDisabled')) ready.resolve(false)
    },
    clock: () => performance.now(),
    random: Math.random,
    logger,
  })
  return {
    ready: ready.promise,
    next: async () => next.promise,
    [Symbol.asyncDispose]: async () => {
      clearTimeout(limit)
      await subscription.close()
    },
  }
}

const NOTHING = {
  prompt: 'A trial of ccm supabase init.',
  ...PLAIN_TASK,
  priority: 100,
  source: 'cli',
}
