import { open } from 'node:fs/promises'
import { findTranscript } from '../../agent/result.ts'
import type { AgentEnd } from '../../agent/agent-end.ts'
import type { Attempt } from '../../core/agent/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Report } from '../../core/task/queue.ts'
import { isPoisoned, isWorthResuming, limitJitterMs, reserve, resumeAgain } from '../../core/task/resume.ts'
import type { Task } from '../../core/task/task.ts'
import type { Attempts } from '../../store/attempts.ts'
import type { HookEvents } from '../../store/hook-events.ts'

/** Events that Claude Code only reports after the model has answered. */
const ANSWERED = new Set(['PreToolUse', 'PostToolUse', 'PostToolUseFailure', 'PermissionRequest', 'Stop'])

/**
 * The attempt whose session a claimed task goes on with, or null for a fresh start: the queue kept the session for
 * us, and its transcript is where the same directory and config folder find it.
 */
export async function findResumable(
  task: Task,
  attempts: Attempts,
  next: Pick<Attempt, 'dir' | 'configDir'>,
): Promise<Attempt | null> {
  if (task.claudeSessionId === null) return null
  const last = attempts
    .ofTask(task.id)
    .findLast(
      ({ claudeSessionId, attempt }) => claudeSessionId === task.claudeSessionId && attempt < task.attempt,
    )
  if (last === undefined || last.dir !== next.dir || last.configDir !== next.configDir) return null
  return (await hasPrompt(last, null)) ? last : null
}

/** What an ended attempt means for its task: its end as it counts, and the session that the next one goes on with. */
export async function conclude(
  task: Task,
  attempt: Attempt,
  end: AgentEnd,
  deps: {
    hookEvents: HookEvents
    transcriptPath: string | null
    park: boolean
    clock: Clock
    random: () => number
  },
): Promise<{ end: AgentEnd; resume: Report['resume'] }> {
  if (end.kind === 'start') return { end, resume: resumeAgain(task, null) }
  const left = {
    kind: end.kind,
    resumed: attempt.resumed,
    progressed: hasAnswered(attempt, deps.hookEvents),
    hasTranscript: await hasPrompt(attempt, deps.transcriptPath),
  }
  const counted = isPoisoned(left) ? { ...end, outcome: 'failed' as const } : parked(end, deps)
  const resume = isWorthResuming({ ...left, outcome: counted.outcome })
    ? reserve(attempt.claudeSessionId, counted.retryAfterMs)
    : null
  return { end: counted, resume }
}

function parked(
  end: AgentEnd,
  { park, clock, random }: { park: boolean; clock: Clock; random: () => number },
): AgentEnd {
  if (end.kind !== 'usage_limit') return end
  // By the owner's wish; whatever is tried before the reset would fail the same way.
  if (!park) return { ...end, outcome: 'failed_permanent', retryAfterMs: null }
  // To end its processes took time.
  const waitMs = Math.max(0, (end.limit?.until ?? 0) - clock())
  return { ...end, retryAfterMs: waitMs + limitJitterMs(waitMs, random) }
}

function hasAnswered(attempt: Attempt, hookEvents: HookEvents): boolean {
  for (const { hookEventName } of hookEvents.ofAttempt(attempt)) if (ANSWERED.has(hookEventName)) return true
  return false
}

/**
 * A prompt stands within the first part of a transcript. A line that was cut off by a kill is no fault: Claude Code
 * reads over it (measured on 2.1.328).
 */
async function hasPrompt(attempt: Attempt, known: string | null): Promise<boolean> {
  const { configDir, claudeSessionId: sessionId } = attempt
  try {
    const path = await findTranscript({ path: known, configDir, sessionId })
    if (path === null) return false
    await using file = await open(path, 'r')
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return /"type":\s*"user"/.test(buffer.toString('utf8', 0, bytesRead))
  } catch {
    return false
  }
}

const HEAD_BYTES = 1024 * 1024
