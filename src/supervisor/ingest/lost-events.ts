import { readFileSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../core/clock.ts'
import type { HookPayload } from '../../core/agent/hook-event.ts'
import type { Lease } from '../../core/task/queue.ts'
import type { HookEvents } from '../../store/hook-events.ts'

/** What the script of an attempt could not keep, and counted in files: one byte an event. */
export type LostEvents = {
  /** Stores what was not counted before as an event of its own; `unfinished` when nothing writes any more. */
  count: (unfinished: number) => void
  forgetFiles: () => Promise<void>
}

export function createLostEvents(options: {
  lease: Lease
  files: readonly string[]
  hookEvents: HookEvents
  clock: Clock
  logger: Logger
}): LostEvents {
  const { files, hookEvents, clock, logger } = options
  const { taskId, attempt } = options.lease
  let known = hookEvents.lostOf({ taskId, attempt })
  /** Bytes in the files, at the last look. */
  let knownSize = 0
  return {
    count(unfinished) {
      const size = files.reduce((sum, file) => sum + sizeOf(file), unfinished)
      if (size === knownSize) return
      // One byte each was there from the start, and is none of the script's.
      const counted = unfinished + files.reduce((sum, file) => sum + textOf(file).split('.').length - 1, 0)
      if (counted <= known) {
        knownSize = size
        return
      }
      const payload: HookPayload = {
        hook_event_name: 'CcmEventsLost',
        lost: counted - known,
        lost_in_all: counted,
      }
      const event = {
        taskId,
        attempt,
        claudeSessionId: null,
        hookEventName: 'CcmEventsLost',
        at: clock(),
        payload,
      }
      hookEvents.insertBatch([{ ...event, fileName: `${taskId}.${attempt}/lost.${counted}` }])
      // Only now: what the disk does not take is counted at the next look.
      known = counted
      knownSize = size
      logger.warn({ taskId, attempt, code: 'EVENTS_LOST' }, 'hook events could not be written to their spool')
    },
    async forgetFiles() {
      for (const file of files) await rm(file, { force: true })
    },
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
