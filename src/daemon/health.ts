import type { Clock } from '../core/clock.ts'
import type { HealthPart, HealthReply } from '../http/deps.ts'
import type { Beats } from '../supervisor/loops/beats.ts'

/** What /health looks at. Functions that throw or reject count as bad. */
type HealthDeps = {
  /** Whether the file of the database is still the one that is open. */
  database: () => boolean
  /** Whether tmux answers. */
  tmux: () => Promise<boolean>
  beats: Pick<Beats, 'silent'>
  loopMs: number
  /** What keeps the daemon from claiming, by its kind; null: nothing. */
  held: () => string | null
  /** `ok`, or how the disk is. */
  disk: () => string
  /** Whether the shared queue answers; null: there is none. */
  supabase: (() => Promise<boolean>) | null
  clock: Clock
}

/** What was found is told again for so long: anyone may ask, and nobody can make work by asking. */
const PING_MS = 1000
const PING_LIMIT_MS = 2000

/** How the daemon is, for anyone who asks: words and ages, nothing of this machine. */
export function createHealth(deps: HealthDeps): (part: HealthPart) => Promise<HealthReply> {
  const { clock, beats, loopMs } = deps
  const tmux = createPing(deps.tmux, clock)
  const supabase = deps.supabase === null ? null : createPing(deps.supabase, clock)

  const pinged = async (ping: ReturnType<typeof createPing>): Promise<HealthReply> => {
    const { isWell, at } = await ping()
    return { status: isWell ? 'ok' : 'failing', age_ms: Math.max(0, clock() - at) }
  }
  return async (part) => {
    if (part === 'tmux') return pinged(tmux)
    if (part === 'supabase') return supabase === null ? { status: 'disabled' } : pinged(supabase)
    const parts = {
      database: attempt(deps.database) ? 'ok' : 'gone',
      tmux: (await tmux()).isWell ? 'ok' : 'down',
      loops: beats.silent(loopMs).length === 0 ? 'ok' : 'silent',
    }
    // These two are no fault that a restart would mend: it serves, and says why it claims nothing.
    const rest = { claims: deps.held() ?? 'ok', disk: deps.disk() }
    const isWell = (words: Record<string, string>) => Object.values(words).every((word) => word === 'ok')
    const status = !isWell(parts) ? 'failing' : isWell(rest) ? 'ok' : 'degraded'
    return { status, ...parts, ...rest }
  }
}

/** Asks at most once a second, and once at a time; what does not answer in time is not well. */
function createPing(
  ask: () => Promise<boolean>,
  clock: Clock,
): () => Promise<{ isWell: boolean; at: number }> {
  let last: Promise<{ isWell: boolean; at: number }> | undefined
  let askedAt = -Infinity
  const now = async () => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, PING_LIMIT_MS, false)))
    const isWell = await Promise.race([ask().catch(() => false), late])
    clearTimeout(timer)
    return { isWell, at: clock() }
  }
  return () => {
    const age = clock() - askedAt
    // A clock that was set back must not freeze what was found.
    if (last === undefined || age >= PING_MS || age < 0) {
      askedAt = clock()
      last = now()
    }
    return last
  }
}

function attempt(look: () => boolean): boolean {
  try {
    return look()
  } catch {
    return false
  }
}
