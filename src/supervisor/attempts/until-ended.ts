import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { messageOf } from '../../core/errors.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { TmuxServer } from '../../tmux/server.ts'
import { endHalfStarted } from './start-window.ts'

/** Doubled each time, up to the second. */
const END_AGAIN_MS = 1000
const END_AGAIN_MOST_MS = 60_000

/**
 * Ends what is left of an attempt and resolves when nothing is: an attempt is not over before its processes are. What
 * cannot be looked at for lack of descriptors, or is held in the kernel where no signal reaches it, is tried again, and
 * by the next daemon where this one ends meanwhile. `agent.left` says so, for people are told of it. Never rejects.
 */
export async function untilEnded(
  { tmux, logger }: { tmux: TmuxServer; logger: Logger },
  agent: { attempt: Lease; left: string | null },
): Promise<void> {
  const { taskId, attempt } = agent.attempt
  for (let waitMs = END_AGAIN_MS; ; waitMs = Math.min(2 * waitMs, END_AGAIN_MOST_MS)) {
    agent.left = await leftOf(endHalfStarted(tmux, agent.attempt))
    if (agent.left === null) return
    const about = { err: { message: agent.left }, taskId, attempt }
    logger.error(about, `processes of an agent are left; it is tried again in ${waitMs / 1000} s`)
    await sleep(waitMs, undefined, { ref: false })
  }
}

/** What a try to end processes came to: null where none is left, else why, as a sentence. Never rejects. */
export async function leftOf(ending: Promise<number[]>): Promise<string | null> {
  try {
    const pids = await ending
    return pids.length === 0 ? null : `These do not die: ${pids.join(' ')}.`
  } catch (error) {
    return `They cannot be looked at: ${messageOf(error)}`
  }
}
