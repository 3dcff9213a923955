import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import { openDatabase, type Database } from '../store/database.ts'
import { giveUpBallast } from '../supervisor/upkeep/disk-guard.ts'
import type { Recorder } from '../supervisor/incidents/recorder.ts'

/** How often the path of the database is looked at. */
const MEND_MS = 2000

/** Opens the home's database; on a full disk the reserve of an earlier daemon is given up for it. */
export async function openStore(of: {
  home: string
  migrationsDir: string
  clock: Clock
  onFull: () => void
}): Promise<Database> {
  const { home, ...how } = of
  const open = () => openDatabase({ file: join(home, 'ccm.db'), ...how })
  try {
    return open()
  } catch (error) {
    // The reserve of an earlier daemon is for this.
    if (!(error instanceof CcmError && error.code === 'DISK_FULL' && giveUpBallast(home))) throw error
    return open()
  }
}

/** Puts the database back whenever its file was moved or deleted, and notes each time, also those of the start. */
export function keepMending(
  db: Database,
  recorder: Pick<Recorder, 'note'>,
  logger: Logger,
): { close: () => void } {
  let told = 0
  const timer = setInterval(() => {
    mendDatabase(db, logger)
    // A write may have put it back too, and the start what it found.
    for (const what of db.notices.slice(told))
      recorder.note({
        kind: 'database_moved',
        what,
        action: 'The database that is in its place now is used.',
      })
    told = db.notices.length
  }, MEND_MS).unref()
  return { close: () => clearInterval(timer) }
}

/** A write does it too; this is for the hours without one. */
function mendDatabase(db: Database, logger: Logger): void {
  try {
    if (db.mend()) logger.error({ code: 'DATABASE_MENDED' }, db.notices.at(-1) ?? 'the database was put back')
  } catch (err) {
    logger.error({ err }, 'the database is gone and cannot be put back')
  }
}
