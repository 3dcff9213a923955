import { rm, unlink } from 'node:fs'
import type { Logger } from 'pino'
import type { Lease } from '../../core/task/queue.ts'
import type { Redactor } from '../../core/redact.ts'
import type { NewHookEvent } from '../../store/hook-events.ts'
import type { OriginCheck } from './event-origin.ts'
import { toNewEvent } from './spool-event.ts'
import { readLargeText, readSmallText, type SpoolText, type Waiting } from './spool.ts'

/** The event in a file that waits; null: there is none. Throws what may be otherwise at the next look. */
export async function readEvent(
  spool: Lease & { folder: string },
  file: Waiting,
  context: { redactor: Redactor; now: number; suspect: OriginCheck; logger: Logger },
): Promise<NewHookEvent | null> {
  if (!file.regular) {
    // A link or a pipe was not written by the script; reading it could show another file, or hang.
    context.logger.warn(
      { taskId: spool.taskId, code: 'ODD_SPOOL_FILE' },
      'something that is no file was in a spool',
    )
    return null
  }
  const path = `${spool.folder}/${file.name}`
  let read: SpoolText
  try {
    read = readSmallText(path) ?? (await readLargeText(path))
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    // Removed by somebody since: then there is nothing to store.
    if (code === 'ENOENT') return null
    // Whatever cannot be read now may be read at the next look, but these stay as they are and would block it.
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'ELOOP') throw err
    read = { text: '', size: file.size, sha256: null }
  }
  return toNewEvent(spool, file, read, context)
}

/**
 * Removes files whose events are stored. Never rejects: one that stays is stored once all the same. Beside the event
 * loop, as one unlink took 1.5 ms where the disk's journal was busy; with callbacks, as promises took a fifth of the whole
 * ingest's processor time.
 */
export function removeFiles(
  files: readonly { folder: string; file: Waiting }[],
  logger: Logger,
): Promise<void> {
  return new Promise((resolve) => {
    let left = files.length
    if (left === 0) resolve()
    const gone = (err: NodeJS.ErrnoException | null) => {
      if (err !== null && err.code !== 'ENOENT')
        logger.warn(
          { err, code: 'SPOOL_FILE_STAYS' },
          'a stored event stays in its spool; it is stored once all the same',
        )
      if (--left === 0) resolve()
    }
    for (const { folder, file } of files) {
      const path = `${folder}/${file.name}`
      if (file.regular) unlink(path, gone)
      else rm(path, { recursive: true }, gone)
    }
  })
}
