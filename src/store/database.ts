import { chmodSync, closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Clock } from '../core/clock.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import { migrate } from './migrations.ts'
import { isDamage, toDatabaseError } from './sqlite-errors.ts'

/** Named parameters of a statement, `:name` in its text. */
type Params = Record<string, string | number | null>

/** One prepared statement. Errors of SQLite arrive as CcmError (DISK_FULL, DATABASE_UNUSABLE). */
type Statement<P extends Params, Row> = {
  /** Returns the number of rows changed. */
  run: (params: P) => number
  get: (params: P) => Row | undefined
  all: (params: P) => Row[]
}

/** The one local database. Every call is synchronous and, outside `transaction`, atomic by itself. */
export type Database = {
  file: string
  /** What opening found and did about it, one sentence each. */
  notices: readonly string[]
  /** Prepares once per text; `Row` is trusted, so it must match the columns. */
  prepare: <P extends Params, Row = never>(sql: string) => Statement<P, Row>
  /** Runs `work` under the write lock and commits, or rolls all of it back when it throws. Never async. */
  transaction: <T>(work: () => T) => T
  /** False once the path no longer leads to the open file: what is written then is lost. */
  isStillThere: () => boolean
  close: () => void
}

/**
 * Opens the database at `file`, creating it (0600) and its folder (0700) where needed, and migrates it.
 * A damaged or emptied file is set aside as `<file>.corrupt-<time>` and a new one opened: see `notices`.
 * The caller holds the home lock. Throws CcmError: DATABASE_TOO_NEW, DATABASE_UNUSABLE, DISK_FULL.
 */
export function openDatabase(options: { file: string; migrationsDir: string; clock: Clock }): Database {
  const file = resolve(options.file)
  const notices: string[] = []
  const setAside = (why: string): void => {
    const aside = `${file}.corrupt-${new Date(options.clock()).toISOString().replaceAll(/[-:]/g, '')}`
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix)
    }
    notices.push(`The database ${file} was unusable (${why}); it was moved to ${aside} and a new one begun.`)
  }

  let native: Sqlite
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    // SQLite opens an empty file happily, as if nothing had ever been in it.
    if (existsSync(file) && statSync(file).size === 0) setAside('the file was empty')
    try {
      native = connect(file, setAside)
    } catch (error) {
      if (!isDamage(error)) throw error
      native = connect(file, setAside)
    }
  } catch (error) {
    throw toDatabaseError(error, file)
  }
  try {
    native.pragma('journal_mode = WAL')
    native.pragma('synchronous = FULL')
    native.pragma('foreign_keys = ON')
    migrate(native, options.migrationsDir, file)
  } catch (error) {
    native.close()
    throw toDatabaseError(error, file)
  }
  return wrap(native, file, notices)
}

/**
 * Opens and checks the whole file: 0.1 s for 200 MB. A damaged one is set aside before this throws. The file
 * must be created before SQLite has it open: closing any descriptor of it drops this process's locks on it.
 */
function connect(file: string, setAside: (why: string) => void): Sqlite {
  if (existsSync(file)) chmodSync(file, 0o600)
  else closeSync(openSync(file, 'wx', 0o600))
  // The time a write may wait for another process; it blocks the event loop.
  const native = new Sqlite(file, { timeout: 200 })
  try {
    const answer = native.pragma('quick_check(1)', { simple: true })
    if (answer !== 'ok') throw Object.assign(new Error(String(answer)), { code: 'SQLITE_CORRUPT' })
    return native
  } catch (error) {
    // Moved while it is open: closing makes SQLite delete the log, which may hold the last good rows.
    if (isDamage(error)) setAside(messageOf(error))
    native.close()
    throw error
  }
}

function wrap(native: Sqlite, file: string, notices: readonly string[]): Database {
  const identity = identityOf(file)
  const statements = new Map<string, Statement<Params, unknown>>()
  const guarded = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw toDatabaseError(error, file)
    }
  }
  const inTransaction = native.transaction((work: () => unknown) => work())

  const prepare = (sql: string): Statement<Params, unknown> => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = guarded(() => native.prepare(sql))
    const made = {
      run: (params: Params) => guarded(() => statement.run(params).changes),
      get: (params: Params) => guarded(() => statement.get(params)),
      all: (params: Params) => guarded(() => statement.all(params)),
    }
    statements.set(sql, made)
    return made
  }

  return {
    file,
    notices,
    prepare: prepare as Database['prepare'],
    transaction: <T>(work: () => T): T => {
      // Refused before it starts: what follows its first await would run outside the transaction.
      if (work.constructor.name === 'AsyncFunction') {
        throw new CcmError('INTERNAL', 'A transaction cannot be an async function.')
      }
      return guarded(() => inTransaction.immediate(work) as T)
    },
    isStillThere: () => identity !== null && identityOf(file) === identity,
    close: () => {
      native.close()
    },
  }
}

function identityOf(file: string): string | null {
  const found = statSync(file, { throwIfNoEntry: false })
  return found === undefined ? null : `${found.dev}:${found.ino}`
}
