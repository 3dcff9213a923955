import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type Sqlite from 'better-sqlite3'
import { syncFolder } from './sync.ts'

/**
 * Puts the database that `native` has open back at `file`, from which it was deleted or replaced, and closes
 * `native`. The open file has all rows as long as this process lives, so a whole copy of it is made first; only
 * then does anything at the path change. A crash at any point leaves either a whole copy (`.rescue`, which
 * `takeRescued` finds at the next start) or the path as it was. Answers what happened, as a sentence.
 */
export function rescue(native: Sqlite, file: string, at: number): string {
  const part = `${file}.rescue-part`
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  rmSync(part, { force: true })
  // VACUUM takes an empty file as it is: private.
  closeSync(openSync(part, 'wx', 0o600))
  // On the disk when this returns.
  native.prepare('VACUUM INTO :part').run({ part })
  // Before anything else: whoever comes after a crash finds it by this name only.
  renameSync(part, `${file}.rescue`)
  // Before the new file is open: it removes its log by name.
  native.close()
  const aside = takeRescued(file, at)
  return aside !== null
    ? `Another file stood in place of the database ${file}; it was moved to ${aside}, and the database put back.`
    : `The database ${file} was deleted while it was in use; it was put back with all its rows.`
}

/** Moves a rescued copy to its place, where there is one; answers where it moved the file that stood there, if any did. */
export function takeRescued(file: string, at: number): string | null {
  if (!existsSync(`${file}.rescue`)) return null
  const aside = existsSync(file)
    ? `${file}.foreign-${new Date(at).toISOString().replaceAll(/[-:]/g, '')}`
    : null
  if (aside !== null) renameSync(file, aside)
  // The log of the file that is gone: it would be read into the copy.
  for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
  renameSync(`${file}.rescue`, file)
  syncFolder(dirname(file))
  return aside
}
