import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../core/clock.ts'
import { openDatabase, type Database } from './database.ts'

/** For tests: a folder that `using` removes, with a file name for a database in it. */
export function temporaryHome(): { file: string; folder: string; [Symbol.dispose]: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-store-'))
  return {
    folder,
    file: join(folder, 'home', 'ccm.db'),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** For tests: opens `file` with the migrations of this checkout. */
export function openForTest(
  file: string,
  clock: Clock = () => 1_000,
  onFull: () => void = () => undefined,
): Database {
  const migrationsDir = fileURLToPath(new URL('../../migrations/sqlite', import.meta.url))
  return openDatabase({ file, migrationsDir, clock, onFull })
}
