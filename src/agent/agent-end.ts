import type { StateChange } from '../core/agent/attempt.ts'
import { hadWholeTime, neverBegan } from '../core/agent/deadline.ts'
import { clipWords } from '../core/clip.ts'
import { resetTimeIn } from '../core/task/limit.ts'
import { readEnding, type Markers } from '../core/record/marker.ts'
import type { Outcome } from '../core/task/queue.ts'
import type { TurnEnd } from '../core/agent/view.ts'
import type { Look } from './look.ts'
import { NO_ROOM } from './start-script.ts'

/** Why an attempt is over, before its processes are ended and its result is collected. */
export type AgentEnd = {
  outcome: Outcome
  /** `done`, `agent_error`, `unmarked`, `timeout`, `crash`, `lost`, `cancelled`, `drain`, or an API error's kind. */
  kind: string
  /** One sentence; null for success. */
  error: string | null
  /** The agent's last message, marker and all. */
  message: string
  retryAfterMs: number | null
  /** Of a usage limit: when it ends (ms since 1970), and the API's own name of it. */
  limit?: { until: number; type: string | null }
}

/**
 * How a turn ended, as the transcript has it: read where a hook is missing or does not say enough. `prompt` is the
 * newest text that the agent was sent, '' where none is found; it was written at `promptAt` (ms since 1970, 0: unknown).
 */
export type TranscriptEnd = { prompt: string; promptAt: number } & (
  | { kind: 'stop'; message: string }
  | {
      kind: 'failure'
      error: string
      message: string
      outcome: Outcome
      limitedUntil: number | null
      limitType: string | null
    }
  | { kind: 'open' }
)

/** An end that was read from what an agent left: the move it makes, and what the attempt comes to. */
export type ReadEnd<Cue> = { cue: Cue; reason: string; evidence: string; end: AgentEnd }

/** After a usage limit whose end nobody told. */
const LIMIT_PAUSE_MS = 5 * 60_000

/** What is known when only the screen told of a limit. */
export const LIMITED = {
  kind: 'failure',
  error: 'usage_limit',
  message: 'The usage limit is reached.',
} as const

/**
 * What a last message means: the end of the attempt, a question to people, or nothing yet (`unmarked`), where the agent
 * may be asked once more.
 */
export function meaningOf(
  message: string,
  markers: Markers & { unmarked: 'fail' | 'succeed' },
  mayAskAgain: boolean,
): ReadEnd<'done' | 'failed'> | { asks: string } | 'unmarked' {
  const ending = readEnding(message, markers)
  if (ending.kind === 'done') return endOfDone(message)
  if (ending.kind === 'error')
    return failedFor('agent_error', ending.reason || 'The agent gave no reason.', message)
  if (ending.kind === 'asks') return { asks: `It asks: ${lastLine(message)}` }
  if (mayAskAgain) return 'unmarked'
  if (markers.unmarked === 'succeed') return endOfDone(message, 'unmarked')
  const why = `The agent ended without ${markers.done} or ${markers.error}, also when asked.`
  return failedFor('unmarked', why, message)
}

/** The end of an agent that did what it was told. */
export function endOfDone(message: string, kind = 'done'): ReadEnd<'done'> {
  const end = { outcome: 'succeeded' as const, kind, error: null, message, retryAfterMs: null }
  return { cue: 'done', reason: 'It said that the task is done.', evidence: message, end }
}

function failedFor(kind: string, error: string, message: string): ReadEnd<'failed'> {
  const end = { outcome: 'failed_permanent' as const, kind, error, message, retryAfterMs: null }
  return { cue: 'failed', reason: error, evidence: message, end }
}

/**
 * The end of an agent whose time is up; `error` says which. One that never began is tried again: the machine may have
 * been too busy, or its disk full. One that had its whole time may have worked and not been heard.
 */
export function endOfTime(
  error: string,
  { message, screen, hasBegun }: { message: string; screen: string; hasBegun: boolean },
): ReadEnd<'deadline'> {
  const outcome = hasBegun || hadWholeTime(error) ? ('failed_permanent' as const) : ('failed' as const)
  const end = { outcome, kind: 'timeout', error, message, retryAfterMs: null }
  return { cue: 'deadline', reason: error, evidence: screen, end }
}

/** The end of a turn that failed, by its transcript where that says more than the hook. */
export function endOfFailure(
  transcript: TranscriptEnd,
  turnEnd: TurnEnd & { kind: 'failure' },
  screen: string,
  now: number,
): ReadEnd<'failed' | 'limit'> & { message: string } {
  const failure =
    transcript.kind === 'failure'
      ? transcript
      : { ...turnEnd, outcome: 'failed' as const, limitedUntil: null, limitType: null }
  const { message, error: kind, limitType } = failure
  if (kind !== 'usage_limit') {
    const reason = message || `The API call failed (${kind}).`
    const error = message || kind
    const end = { outcome: failure.outcome, kind, error, message: '', retryAfterMs: null }
    return { cue: 'failed', reason, evidence: kind, end, message }
  }
  const told = failure.limitedUntil ?? resetTimeIn(`${message}\n${screen}`, now)
  const reset = told === null ? '' : ` until ${new Date(told).toISOString()}`
  const until = told ?? now + LIMIT_PAUSE_MS
  const retryAfterMs = Math.max(0, until - now)
  return {
    cue: 'limit',
    reason: `The usage limit is reached${reset}.`,
    evidence: message,
    end: {
      outcome: 'released',
      kind,
      error: message,
      message: '',
      retryAfterMs,
      limit: { until, type: limitType },
    },
    message,
  }
}

/** The end of an agent whose program or window is gone; `status` is what its start script left, null for nothing. */
export function endOfGone(
  { exists, serverGone }: Pick<Look, 'exists' | 'serverGone'>,
  status: number | null,
  known: { fenced: boolean; cause: string | null; screen: string },
): ReadEnd<'lost' | 'exited'> {
  const lost = (outcome: Outcome, kind: string, why: string): ReadEnd<'lost'> => ({
    cue: 'lost',
    reason: why,
    evidence: '',
    end: { outcome, kind, error: why, message: '', retryAfterMs: null },
  })
  // With the server, every program in its windows gets a hang-up: a status of 129, say, is not its own fault.
  if (!exists && (status === null || status === NO_ROOM || (serverGone && status > 128))) {
    return serverGone
      ? lost('released', 'lost', 'The tmux server ended, and the agent with it.')
      : lost('failed', 'lost', 'Its window is gone.')
  }
  if (known.fenced)
    return lost('released', 'lost_lease', 'Its lease was not renewed in time, so its guard ended it.')
  if (status === NO_ROOM)
    return lost(
      'released',
      'start',
      'The machine may start no more processes, so Claude Code was not started.',
    )
  const reason =
    known.cause ?? `Claude Code ended by itself${status === null ? '' : ` with status ${status}`}.`
  const text = known.screen.trim().split('\n').slice(-5).join('\n')
  const error = text === '' ? `${reason} It printed nothing.` : `${reason} Its last lines: ${text}`
  const kind = known.cause === null ? 'crash' : 'out_of_memory'
  const end = { outcome: 'failed' as const, kind, error, message: '', retryAfterMs: null }
  return { cue: 'exited', reason, evidence: text, end }
}

const FROM_OUTSIDE = ['cancelled', 'lost_lease', 'drain', 'budget'] as const

/** The end of an attempt that a person or the queue decided. */
export function endedBy(kind: (typeof FROM_OUTSIDE)[number], error: string): AgentEnd {
  const outcomes = { cancelled: 'cancelled', budget: 'failed_permanent' } as const
  const outcome = kind === 'cancelled' || kind === 'budget' ? outcomes[kind] : 'released'
  return { outcome, kind, error, message: '', retryAfterMs: kind === 'drain' ? 0 : null }
}

/**
 * The end that a daemon of before had decided when it ended itself: what the program's exit status tells is then that
 * daemon's own work. Null where these changes of the attempt, oldest first, tell of none.
 */
export function decidedEnd(
  changes: Pick<StateChange, 'from' | 'to' | 'cue' | 'reason' | 'evidence'>[],
): AgentEnd | null {
  for (const [index, { to, cue, reason, evidence }] of [...changes.entries()].toReversed()) {
    if (to === 'timeout') {
      // All states it was in tell that: a screen that nobody can name hides it.
      const hasBegun = changes
        .slice(0, index + 1)
        .some(({ from }) => !neverBegan({ state: from, prompts: 0 }))
      return endOfTime(reason, { message: '', screen: '', hasBegun }).end
    }
    const kind = FROM_OUTSIDE.find((one) => cue === 'ended' && one === evidence)
    if (kind !== undefined) return endedBy(kind, reason)
  }
  return null
}

function lastLine(message: string): string {
  const line = message.trim().split('\n').at(-1)?.trim() ?? ''
  return clipWords(line, 200)
}
