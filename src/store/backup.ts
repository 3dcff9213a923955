import { syncFolder } from './sync.ts'
import { closeSync, existsSync, linkSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import { newestVersion } from './migrations.ts'
import { isDamage, toDatabaseError } from './sqlite-errors.ts'

const PAGES_AT_ONCE = 2000

/**
 * Writes a consistent copy of the database at `from`, in use or not, to the new file `to` (0600); it is checked and on
 * the disk when this resolves. `onProgress` hears of the copied share, 0 to 1. Throws NOT_FOUND, CONFLICT where `to`
 * exists, DISK_FULL, DATABASE_UNUSABLE.
 */
export async function backUp(options: {
  from: string
  to: string
  onProgress?: (share: number) => void
}): Promise<{ file: string; bytes: number }> {
  const from = resolve(options.from)
  const to = resolve(options.to)
  if (!existsSync(from)) throw new CcmError('NOT_FOUND', `There is no database ${from} yet.`)
  if (existsSync(to)) throw new CcmError('CONFLICT', `${to} exists already; a backup never overwrites.`)
  const part = `${to}.part`
  try {
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 })
    rmSync(part, { force: true })
    closeSync(openSync(part, 'wx', 0o600))
    await copy(from, part, options.onProgress)
    assertSound(part)
    // SQLite has brought the file to the disk, but not its name.
    renameSync(part, to)
    syncFolder(dirname(to))
  } catch (error) {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(part + suffix, { force: true })
    throw toDatabaseError(error, isDamage(error) ? from : to)
  }
  return { file: to, bytes: statSync(to).size }
}

async function copy(from: string, to: string, onProgress?: (share: number) => void): Promise<void> {
  const native = new Sqlite(from, { timeout: 2000 })
  try {
    native.pragma('query_only = 1')
    // One snapshot for all steps: else each write of the daemon would begin the copy again.
    native.exec('BEGIN')
    native.prepare('SELECT count(*) AS n FROM sqlite_schema').get()
    await native.backup(to, {
      progress: ({ totalPages, remainingPages }) => {
        onProgress?.(totalPages === 0 ? 1 : 1 - remainingPages / totalPages)
        return PAGES_AT_ONCE
      },
    })
    native.exec('COMMIT')
  } finally {
    native.close()
  }
}

/** Also makes it one file: a copy comes with the journal mode of its original. */
function assertSound(file: string): number {
  const native = new Sqlite(file, { timeout: 2000 })
  try {
    native.pragma('journal_mode = DELETE')
    const answer = native.pragma('integrity_check(1)', { simple: true })
    if (answer !== 'ok') throw Object.assign(new Error(String(answer)), { code: 'SQLITE_CORRUPT' })
    return Number(native.pragma('user_version', { simple: true }))
  } finally {
    native.close()
  }
}

/**
 * Puts the backup `from` in the place of the database `file`; the caller holds the home lock. The backup itself stays
 * as it is, and the present database beside it as `<file>.before-restore-<time>`. At every moment the path leads to
 * the old database or to the new one. Throws NOT_FOUND, DATABASE_UNUSABLE for a backup that is damaged or not
 * ccm's, DATABASE_TOO_NEW, DISK_FULL; then nothing has changed.
 */
export async function restore(options: {
  from: string
  file: string
  migrationsDir: string
  clock: Clock
}): Promise<{ aside: string | null }> {
  const from = resolve(options.from)
  const file = resolve(options.file)
  if (!existsSync(from)) throw new CcmError('NOT_FOUND', `There is no file ${from}.`)
  const part = `${file}.restore-part`
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(part + suffix, { force: true })
    closeSync(openSync(part, 'wx', 0o600))
    await copy(from, part)
    assertOurs(part, from, options.migrationsDir)
    const aside = setPresentAside(file, options.clock())
    renameSync(part, file)
    syncFolder(dirname(file))
    return { aside }
  } catch (error) {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(part + suffix, { force: true })
    throw toDatabaseError(error, from)
  }
}

function assertOurs(part: string, from: string, migrationsDir: string): void {
  const version = assertSound(part)
  const newest = newestVersion(migrationsDir)
  if (version > newest) {
    throw new CcmError(
      'DATABASE_TOO_NEW',
      `The backup ${from} has version ${version}; this ccm knows versions up to ${newest}.`,
      { remedy: 'Restore it with the ccm that wrote it, or a newer one.' },
    )
  }
  const native = new Sqlite(part)
  try {
    const tables = native
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('meta', 'tasks', 'attempts')",
      )
      .all()
    if (version < 1 || tables.length < 3)
      throw new CcmError('DATABASE_UNUSABLE', `${from} is no database of ccm.`, {
        remedy: 'Give it a file that `ccm backup` wrote.',
      })
  } finally {
    native.close()
  }
}

/** A second name for the present database, whose log is first written into it where that is possible. */
function setPresentAside(file: string, at: number): string | null {
  if (!existsSync(file)) return null
  const aside = `${file}.before-restore-${new Date(at).toISOString().replaceAll(/[-:]/g, '')}`
  try {
    const native = new Sqlite(file, { timeout: 2000 })
    try {
      native.pragma('wal_checkpoint(TRUNCATE)')
    } finally {
      native.close()
    }
  } catch (error) {
    // It is to be replaced because it is damaged, most likely.
    if (!isDamage(error)) throw error
  }
  linkSync(file, aside)
  for (const suffix of ['-wal', '-shm']) {
    if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix)
  }
  return aside
}
