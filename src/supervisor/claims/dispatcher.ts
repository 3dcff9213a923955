import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { CcmError, messageOf } from '../../core/errors.ts'
import type { ClaimFilter, Queue } from '../../core/task/queue.ts'
import type { Task } from '../../core/task/task.ts'
import type { StartPulse } from '../loops/beats.ts'
import { isAway } from '../shared/away.ts'

/** Why nothing is claimed: a kind (`starting`, `replaced`, `slots`, `memory`, `claude`, `tmux`, `login`, `limit`, `breaker`) and a sentence. */
export type Hold = {
  kind: string
  sentence: string
  until: number | null
  /** Where it holds only one project's tasks, or only those of one family of models. */
  project?: string
  model?: string
}

/** Claims tasks while there is room for their agents. */
export type Dispatcher = {
  /** Looks for work soon; any number of calls cost one look. */
  nudge: () => void
  /** Claims nothing until then, a sweep from now at most; null: until `lift`. Of two holds of a kind the one that ends later counts. */
  hold: (hold: Hold) => void
  lift: (kind: string) => void
  holds: () => Hold[]
  /** No claim begins after this; resolves when the one that runs is over. */
  close: () => Promise<void>
}

/** Memory that one agent takes, measured: 137-165 MiB PSS, without its tools. */
const AGENT_MB = 250

export function createDispatcher(options: {
  queue: Queue
  /** Renews the leases of all agents of ours; throws when it cannot. */
  renew: () => Promise<void>
  /** What this worker can take now; `oneByOne`: each claim changes it. */
  filter: () => Promise<ClaimFilter & { oneByOne?: boolean }>
  /** From which of these projects tasks may be claimed, from which only one, and whether only one of all. */
  gate: (projects: string[]) => { allow: 'all' | 'probe' | 'none'; free: string[]; probes: string[] }
  /** A task was claimed; before it is started. */
  claimed: (task: Task) => void
  /** Each question to the queue goes over a network: a nudge asks for work at once, the rest waits for the sweep. */
  isShared?: boolean
  /** Agents that occupy a slot now. */
  occupied: () => number
  /** Agents that started so lately that their memory is not taken yet. */
  starting: () => number
  maxConcurrent: () => number
  minFreeMemoryMb: () => number
  /** Throws while agents cannot be started at all. */
  ready: () => Promise<void>
  start: (task: Task) => void
  /** The queue took this task back from a worker that was lost. */
  onReaped: (taskId: string) => void
  sweepMs: number
  clock: () => number
  logger: Logger
  freeMemoryMb?: () => number
  random?: () => number
  pulse?: StartPulse
}): Dispatcher {
  const { queue, clock, logger } = options
  const freeMemoryMb = options.freeMemoryMb ?? availableMemoryMb
  const held = new Map<string, Hold>()
  let wanted = false
  let running: Promise<void> = Promise.resolve()
  let closed = false
  let isDue = true
  let timer: NodeJS.Timeout
  sweepLater()
  const pulse = options.pulse?.('dispatcher', () => running)

  // Workers that were started together are not to ask together for ever.
  function sweepLater(): void {
    const jitter = options.isShared === true ? 0.8 + 0.2 * (options.random ?? Math.random)() : 1
    timer = setTimeout(() => {
      isDue = true
      nudge()
      sweepLater()
    }, options.sweepMs * jitter)
  }

  function nudge(): void {
    if (wanted || closed) return
    wanted = true
    running = running.then(async () => {
      wanted = false
      if (!closed && !held.has('starting'))
        await claimWhatFits().catch((err: unknown) => {
          // That it went away and came back is told once, by whoever watches it.
          if (isAway(err)) logger.debug({ err }, 'claiming failed')
          else logger.error({ err }, 'claiming failed')
        })
    })
  }

  async function claimWhatFits(): Promise<void> {
    // After a sleep, or hours without a daemon, our own leases are the ones that ran out: those first.
    if (isDue || options.isShared !== true) {
      await options.renew()
      for (const { id } of await queue.reap()) options.onReaped(id)
      isDue = false
    }
    for (;;) {
      for (const [kind, { until }] of held) if (until !== null && isOver(until)) held.delete(kind)
      const room = await measureRoom()
      if (room <= 0 || closed) return
      const { oneByOne = false, ...filter } = await options.filter()
      const { allow, free, probes } = options.gate(filter.projects)
      if (allow === 'none') return
      if (allow === 'probe') return void (await claim(1, { ...filter, projects: [...free, ...probes] }))
      let tried = 0
      for (const project of probes)
        if (tried < room) tried += await claim(1, { ...filter, projects: [project] })
      if (room - tried <= 0) return
      const left = oneByOne ? 1 : room - tried
      if ((await claim(left, { ...filter, projects: free })) < left) return
    }
  }

  /** One further ahead than any that is set here is of a clock that was set back since. */
  function isOver(until: number): boolean {
    return until <= clock() || until > clock() + options.sweepMs
  }

  async function claim(limit: number, filter: ClaimFilter): Promise<number> {
    const tasks = await queue.claim(limit, filter)
    for (const task of tasks) {
      try {
        options.claimed(task)
      } catch (err) {
        // It is ours: without an agent it would only wait for the end of its lease.
        logger.error({ err, taskId: task.id }, 'a claim could not be counted')
      }
      options.start(task)
    }
    return tasks.length
  }

  async function measureRoom(): Promise<number> {
    for (const kind of ['slots', 'memory']) held.delete(kind)
    if (held.size > 0) return 0
    const slots = options.maxConcurrent() - options.occupied()
    if (slots <= 0) {
      held.set('slots', {
        kind: 'slots',
        sentence: `All ${options.maxConcurrent()} agents are busy.`,
        until: null,
      })
      return 0
    }
    const spareMb = freeMemoryMb() - options.minFreeMemoryMb() - options.starting() * AGENT_MB
    const byMemory = Math.floor(spareMb / AGENT_MB)
    if (byMemory <= 0) {
      const sentence = `A further agent would leave less than ${options.minFreeMemoryMb()} MiB of memory free.`
      held.set('memory', { kind: 'memory', sentence, until: null })
      return 0
    }
    if (options.isShared !== true && (await queue.count('queued')) === 0) return 0
    try {
      await options.ready()
    } catch (error) {
      const kind = error instanceof CcmError && error.code.startsWith('TMUX') ? 'tmux' : 'claude'
      const remedy = error instanceof CcmError ? (error.remedy ?? '') : ''
      held.set(kind, {
        kind,
        sentence: `${messageOf(error)} ${remedy}`.trim(),
        until: clock() + options.sweepMs,
      })
      return 0
    }
    return Math.min(slots, byMemory)
  }

  return {
    nudge,
    hold(hold) {
      const until = held.get(hold.kind)?.until ?? 0
      // Of two limits the later one counts.
      if (hold.until === null || hold.until >= until) held.set(hold.kind, hold)
    },
    lift(kind) {
      if (held.delete(kind)) nudge()
    },
    holds: () => [...held.values()],
    async close() {
      closed = true
      clearTimeout(timer)
      pulse?.close()
      await running
    },
  }
}

/** What the kernel would give without swapping; elsewhere what Node says. */
function availableMemoryMb(): number {
  try {
    const kb = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
    if (kb !== undefined) return Math.min(Number(kb) / 1024, process.availableMemory() / 1024 / 1024)
  } catch {
    // Not Linux.
  }
  return process.availableMemory() / 1024 / 1024
}
