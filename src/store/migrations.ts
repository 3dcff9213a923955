import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type Sqlite from 'better-sqlite3'
import { CcmError } from '../core/errors.ts'

/**
 * Brings a database to the newest version in `folder`: files `0001-name.sql`, `0002-name.sql`, without gaps,
 * each in one transaction together with its number in user_version. Never goes back: a database from a newer
 * ccm is refused with DATABASE_TOO_NEW, untouched.
 */
export function migrate(native: Sqlite, folder: string, file: string): void {
  const migrations = readMigrations(folder)
  const version = versionOf(native)
  if (version > migrations.length) {
    throw new CcmError(
      'DATABASE_TOO_NEW',
      `The database ${file} has version ${version}; this ccm knows versions up to ${migrations.length}.`,
      { remedy: 'Start the newer ccm that wrote it, or set CCM_HOME to another folder.' },
    )
  }
  for (const { number, name } of migrations.slice(version)) {
    const sql = readFileSync(join(folder, name), 'utf8')
    native
      .transaction(() => {
        native.exec(sql)
        native.pragma(`user_version = ${number}`)
      })
      .immediate()
  }
}

/** The newest version that the migrations in `folder` lead to. */
export function newestVersion(folder: string): number {
  return readMigrations(folder).length
}

function readMigrations(folder: string): { number: number; name: string }[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql'))
  const migrations = names.sort().map((name) => ({ name, number: Number(/^(\d{4})-/.exec(name)?.[1]) }))
  const wrong = migrations.find(({ number }, index) => number !== index + 1)
  if (wrong !== undefined || migrations.length === 0) {
    throw new CcmError(
      'INTERNAL',
      `The migrations in ${folder} are not numbered 0001, 0002, … (${wrong?.name ?? 'there is none'}).`,
    )
  }
  return migrations
}

function versionOf(native: Sqlite): number {
  return Number(native.pragma('user_version', { simple: true }))
}
