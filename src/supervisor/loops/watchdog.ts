import { readFileSync, rmSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { LOOPS, type Beats } from './beats.ts'

/** What the watchdog's thread is told. */
export type WatchdogOrder = {
  buffer: SharedArrayBuffer
  loops: readonly string[]
  /** How long the event loop, and any other loop, may be silent. */
  eventLoopMs: number
  loopMs: number
  /** Where a hang is recorded for the next start. */
  reportFile: string
}

/** A hang that ended a daemon. `stack` names what its main thread was in, innermost first; empty for other loops. */
export type Hang = { at: number; pid: number; loop: string; limitMs: number; stack: string[] }

const RESTART_MS = 1000

/**
 * Watches this process from a thread of its own and ends it by SIGKILL when its event loop, or one of the
 * watched loops, gives no sign of life within its limit. Who restarts it is another's business.
 */
export function startWatchdog(options: {
  beats: Beats
  eventLoopMs: number
  loopMs: number
  reportFile: string
  logger: Logger
}): { close: () => Promise<void> } {
  const { beats, eventLoopMs, loopMs, reportFile, logger } = options
  const workerData: WatchdogOrder = { buffer: beats.buffer, loops: LOOPS, eventLoopMs, loopMs, reportFile }
  let closed = false
  let worker = start()
  beats.beat('event loop')
  const timer = setInterval(() => beats.beat('event loop'), Math.min(1000, eventLoopMs / 10))

  function start(): Worker {
    const thread = new Worker(threadFile(), {
      workerData,
      // None of the daemon's secrets, and a heap as small as its work (measured: 2.6 MB).
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
    })
    thread.unref()
    thread.on('error', (err) => logger.error({ err }, 'the watchdog failed'))
    thread.on('exit', () => {
      if (!closed) setTimeout(() => (closed ? undefined : (worker = start())), RESTART_MS).unref()
    })
    return thread
  }

  return {
    async close() {
      closed = true
      clearInterval(timer)
      beats.rest('event loop')
      await worker.terminate()
    },
  }
}

/** The hang that ended a daemon before; null when none is recorded. It stays until `forgetHang`. */
export function readHang(reportFile: string): Hang | null {
  try {
    const found = JSON.parse(readFileSync(reportFile, 'utf8')) as Partial<Hang>
    const { at, pid, loop, limitMs } = found
    if (typeof at !== 'number' || typeof pid !== 'number' || typeof limitMs !== 'number') return null
    const stack = Array.isArray(found.stack) ? found.stack.map(String) : []
    return { at, pid, loop: String(loop), limitMs, stack }
  } catch {
    return null
  }
}

/** To be called once the hang is in the database: a daemon that dies before that leaves it to the next one. */
export function forgetHang(reportFile: string): void {
  rmSync(reportFile, { force: true })
}

/** A hang as one sentence. */
export function hangSentence({ at, pid, loop, limitMs, stack }: Hang): string {
  const where = stack.length === 0 ? '' : ` It was in: ${stack.slice(0, 3).join(' < ')}.`
  return `The daemon before (pid ${pid}) hung and was ended at ${new Date(at).toISOString()}: its ${loop} gave no sign of life for ${limitMs / 1000} s.${where}`
}

/** Beside this file in src, beside the bundle in dist. */
function threadFile(): URL {
  const name = import.meta.url.endsWith('.ts') ? './watchdog-thread.ts' : './watchdog.js'
  return new URL(name, import.meta.url)
}
