import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { Redactor } from '../../core/redact.ts'
import type { NewHookEvent } from '../../store/hook-events.ts'
import type { OriginCheck } from './event-origin.ts'
import { readEvent } from './spool-file.ts'
import type { SpoolLine } from './spool-line.ts'
import type { Waiting } from './spool.ts'

export type Spool = Lease & {
  folder: string
  /** The session the attempt was started with; undefined: any session's events are its own. */
  claudeSessionId?: string
  /** Where the script counts what it could not keep, one byte an event. */
  lostFiles?: string[]
}

/** A spool that is read. */
export type Source = { spool: Spool; line: SpoolLine; suspect: OriginCheck }

/** What a group takes from one spool: its files, and the events in them; `failed` when not all could be read. */
export type Share<From extends Source> = {
  entry: From
  files: Waiting[]
  events: NewHookEvent[]
  failed: { err: unknown } | null
}

/** A group of large payloads ends sooner. */
export const GROUP_BYTES = 1024 * 1024
/** A spool that cannot be read is looked at again, and logged, so often. */
const SPOOL_RETRY_MS = 2000
/** Files are read for so long before others have a turn: on a busy machine a file may take a millisecond. */
const TURN_MS = 4

/**
 * At most `most` events of one spool, as far as there is `room` in the group. Never rejects: one spool that cannot be
 * read holds up no other, and what was read of it is stored.
 */
export async function readShare<From extends Source>(
  entry: From,
  most: number,
  room: { events: number; bytes: number },
  context: { redactor: Redactor; clock: Clock; logger: Logger; giveTurn: () => Promise<void> },
): Promise<Share<From>> {
  const { redactor, clock, logger, giveTurn } = context
  const { spool, line, suspect } = entry
  const share: Share<From> = { entry, files: [], events: [], failed: null }
  try {
    await line.refill()
    while (share.files.length < most && room.bytes >= 0) {
      const file = line.next()
      if (file === undefined) break
      const event = await readEvent(spool, file, { redactor, now: clock(), suspect, logger })
      share.files.push(file)
      if (event !== null) share.events.push(event)
      room.bytes -= Math.min(file.size, GROUP_BYTES)
      await giveTurn()
    }
  } catch (err) {
    logger.error({ err, taskId: spool.taskId }, 'a spool could not be read')
    line.reset(SPOOL_RETRY_MS)
    share.failed = { err }
  }
  room.events -= share.files.length
  return share
}

/** To be awaited between two files: others have a turn where it is due. `now` in ms of any origin. */
export function createTurns(now: () => number): () => Promise<void> {
  let from = now()
  return async () => {
    if (now() - from <= TURN_MS) return
    await nextTurn()
    from = now()
  }
}

/** No descriptors or memory now: others give theirs back. */
export function isPassing(err: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'].includes((err as NodeJS.ErrnoException).code ?? '')
}
