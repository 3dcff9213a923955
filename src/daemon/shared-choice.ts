import { hostname, uptime } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { Subscription } from '../queue/supabase/subscription.ts'
import type { WorkerInfo } from '../queue/supabase/queue.ts'
import { createAcceptedTasks } from '../store/accepted-tasks.ts'
import { createNotedCancels } from '../store/noted-cancels.ts'
import type { Notes } from '../store/notes.ts'
import { createSharedLog } from '../store/shared-log.ts'
import { createSharedTasks } from '../store/shared-tasks.ts'
import { createArrivals } from '../supervisor/shared/arrivals.ts'
import { createCached } from '../supervisor/loops/cached.ts'
import { createFence } from '../supervisor/shared/fence.ts'
import { createHandOver } from '../supervisor/shared/hand-over.ts'
import { isAway, isKeyRefused } from '../supervisor/shared/away.ts'
import { createSharedQueue, ownTask } from '../supervisor/shared/shared-queue.ts'
import { createTeller, type Teller } from '../supervisor/shared/teller.ts'
import type { ChoiceDeps, ChosenQueue } from './chosen-queue.ts'
import { createSharedTemplates } from './shared-templates.ts'

/** A project that is silent for longer is joined in the background. */
const FIRST_ANSWER_MS = 5000
/** How often the queue is told what happened, where nothing happens. */
const TELL_MS = 20_000
/** Each tells of itself once in 30 s. */
const WORKERS_MS = 5000

/** Opens the queue in Supabase, as `chooseQueue` promises. */
export async function chooseShared(
  deps: ChoiceDeps,
  settings: NonNullable<Config['supabase']>,
  secretKey: string,
): Promise<ChosenQueue> {
  const { config, logger, projects } = deps
  // Loaded where it is configured only: it is 400 kB of code.
  const { createSupabase } = await import('../queue/supabase/client.ts')
  const { createLink } = await import('../queue/supabase/link.ts')
  const { createSupabaseQueue } = await import('../queue/supabase/queue.ts')
  const listeners = new Set<(word: 'ok' | 'down', why: string) => void>()
  let why = ''
  const { createSubscription } = await import('../queue/supabase/subscription.ts')
  const { createSharedRecords } = await import('../queue/supabase/records.ts')
  const { listTemplateRows, TEMPLATES_MAX } = await import('../queue/supabase/templates.ts')
  const { listProjectLimits, listWorkers } = await import('../queue/supabase/workers.ts')
  const { call, client, connect } = createSupabase({ url: settings.url, secretKey })
  const link = createLink(call, (word, err) => {
    if (word === 'ok') {
      logger.info('Supabase answers again')
      handOver.hurry()
    } else logger.warn({ err }, 'Supabase does not answer; agents go on')
    why = isKeyRefused(err) ? sentenceOf(err) : 'Supabase does not answer.'
    for (const listener of listeners) listener(word, why)
  })
  const { system } = settings
  const { labels, roles, maxConcurrent } = config.agents
  const worker = settings.worker ?? workerName(deps.notes)
  const info = (): WorkerInfo => {
    const trusted = projects.list().filter((project) => project.trusted)
    return {
      host: hostname(),
      version: deps.version,
      capacity: maxConcurrent,
      roles,
      labels,
      projects: Object.fromEntries(trusted.map(({ name, dir }) => [name, dir])),
      limits: Object.fromEntries(
        trusted.map(({ name, maxRunning, paused }) => [name, { max_running: maxRunning, paused }]),
      ),
    }
  }
  const remote = createSupabaseQueue({
    call: link.call,
    system,
    worker,
    info,
    newKey: () => crypto.randomUUID(),
    leaseMs: config.queue.leaseMs,
  })
  const kept = createSharedTasks(deps.db, deps.clock)
  const fence = createFence({
    leaseMs: config.queue.leaseMs,
    uptimeMs: () => uptime() * 1000,
    fileOf: ({ taskId, attempt }) => join(config.home, 'attempts', `${taskId}.${attempt}`, 'deadline'),
    logger,
  })
  let subscription: Subscription | null = null
  // Each claim changes a row, which a channel that works tells of.
  const arrivals = createArrivals((sentAt) => subscription?.expectChange(sentAt))
  const isDown = () => link.word() === 'down'
  const handOver = createHandOver({
    store: createAcceptedTasks(deps.db, deps.clock()),
    cancels: createNotedCancels(deps.db),
    remote,
    onHanded: ownTask(kept, arrivals),
    isDown,
    maxWaiting: () => config.queue.maxQueued,
    clock: deps.clock,
    random: Math.random,
    logger,
  })
  const queue = createSharedQueue({
    queue: remote,
    kept,
    handOver,
    fence,
    arrivals,
    limitOf: deps.limitOf,
    isDown,
    clock: () => uptime() * 1000,
    logger,
  })
  const workers = createCached({
    read: async () => ({ at: uptime() * 1000, listed: await listWorkers(link.call, system) }),
    maxAgeMs: WORKERS_MS,
    mayBeOld: isAway,
    clock: () => uptime() * 1000,
  })
  const templates = createSharedTemplates({
    read: () => listTemplateRows(client, { system, secretKey, limit: TEMPLATES_MAX + 1 }),
    max: TEMPLATES_MAX,
    isDown,
    system: `${settings.url} ${system}`,
    notes: deps.notes,
    clock: deps.clock,
    uptime: () => uptime() * 1000,
    logger,
  })
  let teller: Teller | null = null
  let limitsReadAt: number | null = null
  const register = once(async () => void (await remote.register()))
  const late = new Promise<void>((resolve) => setTimeout(resolve, FIRST_ANSWER_MS).unref())
  await Promise.race([register(), late]).catch((error: unknown) => {
    if (!isAway(error) || isKeyRefused(error)) throw error
  })
  return {
    queue,
    seen: queue.seen,
    system,
    worker,
    shared: {
      register,
      describe: () => remote.describe(),
      async limits() {
        const limits = await listProjectLimits(link.call, system)
        limitsReadAt = deps.clock()
        return limits
      },
      waitsHere: handOver.waits,
      cancelWaits: (taskId) => queue.cancelWaits(taskId),
      claimed: (lease) => kept.claimed(lease),
      fence,
    },
    supabase: link.word,
    onSupabase: (listener) => {
      listeners.add(listener)
      if (link.word() === 'down') listener('down', why)
    },
    begin({ wake, hintCancel, changed, refused, agents, subscribe }, pulse) {
      handOver.begin({ changed, refused }, pulse)
      templates.begin()
      const watched = pulse === undefined ? {} : { pulse }
      subscription = createSubscription({
        ...watched,
        connect,
        system,
        onReady: wake,
        onTask({ id, status, isNew, cancelRequested }) {
          if (isNew) arrivals.announce(id)
          if (status === 'queued') wake()
          else if (status === 'running' && cancelRequested) hintCancel(id)
        },
        clock: () => uptime() * 1000,
        random: Math.random,
        logger,
      })
      const log = createSharedLog(deps.db)
      const remote = createSharedRecords(client, { system, worker, secretKey })
      teller = createTeller({
        ...watched,
        log,
        notes: deps.notes,
        remote,
        running: () => agents().length,
        queued: () => queue.count('queued'),
        keepMs: config.queue.keepMs,
        everyMs: TELL_MS,
        clock: deps.clock,
        logger,
      })
      subscribe(({ kind }) => kind !== 'hook' && teller?.nudge())
    },
    state: () => ({
      system,
      supabase: link.word(),
      realtime: subscription?.state() ?? 'connecting',
      ...(subscription?.counts() ?? { events: 0, readies: 0, channels: 0, clients: 0 }),
      ...arrivals.counts(),
      limitsReadAt,
      templates: templates.state(),
    }),
    async workers() {
      const { at, listed } = (isDown() ? workers.last() : null) ?? (await workers.get())
      const agoMs = uptime() * 1000 - at
      return listed.map((one) => ({ ...one, silentMs: one.silentMs + agoMs }))
    },
    templates: templates.list,
    async close() {
      templates.close()
      await subscription?.close()
      await handOver.close()
      await teller?.close()
    },
  }
}

/** The host, and a few letters that tell two homes of one host apart. */
function workerName(notes: Notes): string {
  const noted = notes.read('worker_suffix')
  const suffix = typeof noted === 'string' ? noted : crypto.randomUUID().slice(0, 4)
  if (noted !== suffix) notes.write('worker_suffix', suffix)
  return `${hostname().slice(0, 150)}-${suffix}`
}

function sentenceOf(error: unknown): string {
  return `${messageOf(error)} ${error instanceof CcmError ? (error.remedy ?? '') : ''}`.trim()
}

/** Runs `work` until it has succeeded once; calls that come meanwhile wait for the one that runs. */
function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => {
    running ??= work().catch((error: unknown) => {
      running = null
      throw error
    })
    return running
  }
}
