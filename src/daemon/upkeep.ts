import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import type { Database } from '../store/database.ts'
import { createDiskGuard, recordDisk, type DiskGuard } from '../supervisor/upkeep/disk-guard.ts'
import { createExpirer } from '../supervisor/upkeep/expire.ts'
import { createIndexer, type Indexer } from '../supervisor/upkeep/indexer.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import { keepMending } from './open-store.ts'
import type { Stores } from './stores.ts'

/** What keeps a home in order beside the work: room on its disk, old records, the database's place, the search index. */
export type Upkeep = { disk: DiskGuard; indexer: Indexer; close: () => Promise<void> }

export function startUpkeep(of: {
  config: Pick<Config, 'home' | 'store'>
  db: Database
  stores: Pick<Stores, 'attempts' | 'auditLog' | 'expiry' | 'search'>
  supervisor: Pick<Supervisor, 'pause' | 'lift' | 'recorder' | 'subscribe'>
  clock: Clock
  logger: Logger
}): Upkeep {
  const { config, db, stores, supervisor, clock, logger } = of
  const { home } = config
  const { ballastBytes, keepMs, keepAuditMs, maxBytes } = config.store
  const { attempts, auditLog, expiry, search } = stores
  const disk = createDiskGuard({
    home,
    ballastBytes,
    hold: supervisor.pause,
    lift: supervisor.lift,
    turned: recordDisk(supervisor.recorder),
    logger,
  })
  const expirer = createExpirer({
    db,
    expiry,
    pruneAudit: (rows) => auditLog.prune(clock() - keepAuditMs, rows),
    tidy: search.tidy,
    attempts,
    home,
    keepMs,
    maxBytes,
    clock,
    logger,
  })
  const mending = keepMending(db, supervisor.recorder, logger)
  const indexer = createIndexer({ search, logger })
  indexer.nudge()
  supervisor.subscribe(({ kind }) => kind === 'hook' && indexer.nudge())

  return {
    disk,
    indexer,
    async close() {
      await indexer.close()
      await expirer.close()
      await disk.close()
      mending.close()
    },
  }
}
