import type { Logger } from 'pino'
import { backoffMs } from '../../core/backoff.ts'
import type { Clock } from '../../core/clock.ts'
import type { InboxEntry, Origin } from '../../core/outside/inbox.ts'
import type { Queue } from '../../core/task/queue.ts'
import { replyText, type Told } from '../../core/outside/reply.ts'
import type { Redactor } from '../../core/redact.ts'
import type { InboxStore } from '../../store/inbox.ts'

/** Sends one message about a request; `mayExist`: an earlier try may have arrived without a note of it. */
export type Teller = (
  entry: InboxEntry,
  text: string,
  mayExist: boolean,
  signal: AbortSignal,
) => Promise<Told>

/** Tells whoever asked from outside what became of it. */
export type Replies = {
  nudge: () => void
  /** The state of a task has changed. */
  onTask: (taskId: string) => void
  close: () => Promise<void>
}

const SEND_MS = 15_000
const LOOK_MS = 5000
/** With the backoff of 5 s to 1 h that is about half a day. */
const TRIES_MAX = 20

/**
 * Brings each request's newest state to its sender, until it arrived or is given up. The try is counted before it
 * is made, so that after a crash the message is looked for and not sent twice.
 */
export function createReplies(deps: {
  store: InboxStore
  queue: Pick<Queue, 'get'>
  tellers: Partial<Record<Origin['kind'], Teller>>
  redactor: Redactor
  clock: Clock
  random: () => number
  logger: Logger
}): Replies {
  const { store, queue, tellers, redactor, clock, logger } = deps
  const leave = new AbortController()
  /** Tasks that changed since their state was read. */
  const changed = new Set<number>()
  let running: Promise<void> = Promise.resolve()
  const timer = setInterval(nudge, LOOK_MS).unref()

  async function tellAll(): Promise<void> {
    for (const entry of store.dueTells(clock(), 100)) {
      if (leave.signal.aborted) return
      await tell(entry)
    }
  }

  async function tell(entry: InboxEntry): Promise<void> {
    const teller = tellers[entry.origin.kind]
    if (teller === undefined) return store.tellLater(entry.id, null)
    changed.delete(entry.id)
    const task = entry.taskId === null ? null : await queue.get(entry.taskId)
    const text = redactor.text(replyText(entry, task))
    if (text === entry.told) return store.tellLater(entry.id, changed.has(entry.id) ? clock() : null)
    store.beginTell(entry.id)
    const signal = AbortSignal.any([leave.signal, AbortSignal.timeout(SEND_MS)])
    const said = await teller(entry, text, entry.tellTries > 0, signal)
    if ('ref' in said) {
      store.told(entry.id, text, said.ref)
      if (changed.has(entry.id)) store.wantTell(entry.id, clock())
      return
    }
    if (leave.signal.aborted) return
    const over = said.hopeless || entry.tellTries + 1 >= TRIES_MAX
    const waitMs = Math.max(backoffMs(entry.tellTries, deps.random), said.retryAfterMs ?? 0)
    store.tellLater(entry.id, over ? null : clock() + waitMs)
    logger.warn(
      { code: 'REPLY_NOT_SENT', err: { message: said.failed } },
      over ? 'an answer to outside was given up' : 'an answer to outside was not delivered',
    )
  }

  function nudge(): void {
    if (leave.signal.aborted) return
    running = running.then(tellAll).catch((err: unknown) => {
      logger.error({ err }, 'answers to outside could not be sent; they are tried again')
    })
  }

  return {
    nudge,
    onTask(taskId) {
      const entry = store.ofTask(taskId)
      if (entry === null || tellers[entry.origin.kind] === undefined) return
      changed.add(entry.id)
      store.wantTell(entry.id, clock())
      nudge()
    },
    async close() {
      clearInterval(timer)
      leave.abort()
      await running
    },
  }
}
