import { retryAfterMsOf } from '../../core/retry-after.ts'

/** Waits; rejects as soon as the signal is aborted. */
export type Wait = (ms: number, signal?: AbortSignal) => Promise<unknown>

export type PatientFetchOptions = {
  fetch: typeof fetch
  wait: Wait
  /** Numbers from 0 up to 1. */
  random: () => number
  /** Of one try; 10 s when left out. */
  timeoutMs?: number
  /** How often a call is sent at most; 4 when left out. */
  tries?: number
}

/** Calls that change nothing more when they are sent again; of the others an answer that got lost is not known. */
const REPEATABLE = new Set([
  'configure_project',
  'configure_system',
  'worker_register',
  'worker_describe',
  'task_insert',
  'task_hand_over',
  'tasks_heartbeat',
  'task_finish',
  'task_finish_many',
  'tasks_mine',
  'task_cancel',
  'task_get',
  'tasks_listed',
  'workers_listed',
  'projects_listed',
  'records_prune',
  'tasks_count',
  'tasks_by_prefix',
  'task_dependencies',
  'queue_version',
])

const LONGEST_WAIT_MS = 30_000
/** Renewals of leases wait as well: after 7.5 min without one agents are ended. */
const LONGEST_QUIET_MS = 120_000
/** The connection was never made, so nothing was sent. */
const UNSENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

/**
 * A fetch that gives each try `timeoutMs` and tries again where that is safe: a call that may be repeated, one that
 * was never sent, or one too many (429). A 503 may come after the database has done what was asked, and then lost the
 * connection. Waits 250 ms, doubled each time, +-50 %. What Retry-After asks
 * for counts for every call, and that is added to it, so that those who were put off together do not come back together.
 * A call waits for up to 30 s of it; with more to come, at most 2 min, an answer is given as it is and other calls throw.
 * Throws what the last try threw.
 */
export function createPatientFetch(options: PatientFetchOptions): typeof fetch {
  const { wait, random, timeoutMs = 10_000, tries = 4 } = options
  let quietUntil = 0

  async function untilWanted(backoffMs: number, signal: AbortSignal | undefined): Promise<void> {
    const quietMs = quietUntil - performance.now()
    if (quietMs > LONGEST_WAIT_MS)
      throw new Error(`it asked to be left alone for ${Math.ceil(quietMs / 1000)} s more`)
    if (quietMs > 0) await wait(quietMs + backoffMs, signal)
  }

  return async (input, init) => {
    const outer = init?.signal ?? undefined
    const repeatable = isRepeatable(input, init)
    for (let tried = 1; ; tried += 1) {
      const backoffMs = 250 * 2 ** (tried - 1) * (0.5 + random())
      await untilWanted(backoffMs, outer)
      const limit = AbortSignal.timeout(timeoutMs)
      const signal = outer === undefined ? limit : AbortSignal.any([outer, limit])
      try {
        const response = await options.fetch(input, { ...init, signal })
        const putsOff = response.status === 429 || response.status === 503
        const askedMs = putsOff ? retryAfterMsOf(response.headers, Date.now()) : null
        if (askedMs !== null)
          quietUntil = Math.max(quietUntil, performance.now() + Math.min(askedMs, LONGEST_QUIET_MS))
        const isLong = askedMs !== null && askedMs > LONGEST_WAIT_MS
        if (tried >= tries || isLong || !(await mayTryAgain(response, repeatable))) return response
        await response.body?.cancel()
        if (askedMs === null) await wait(backoffMs, outer)
      } catch (error) {
        if (outer?.aborted === true || tried >= tries || !(repeatable || wasUnsent(error))) throw error
        await wait(backoffMs, outer)
      }
    }
  }
}

function isRepeatable(input: Parameters<typeof fetch>[0], init: RequestInit | undefined): boolean {
  if ((init?.method ?? 'GET') === 'GET') return true
  const url = input instanceof Request ? input.url : String(input)
  return REPEATABLE.has(/\/rpc\/(\w+)$/.exec(new URL(url).pathname)?.[1] ?? '')
}

async function mayTryAgain(response: Response, repeatable: boolean): Promise<boolean> {
  const { status } = response
  if (status < 500 && status !== 429) return false
  // The database's own refusals are answers: a full queue, a stale worker.
  if (status === 429 && /"PT429"/.test(await response.clone().text())) return false
  return repeatable || status === 429
}

function wasUnsent(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string' && UNSENT.has(cause.code)) return true
  }
  return false
}
