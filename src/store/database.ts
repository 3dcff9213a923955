import { chmodSync, closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import type { Clock } from '../core/clock.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import { migrate } from './migrations.ts'
import { rescue, takeRescued } from './rescue.ts'
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
  /**
   * An INSERT of one row with `?` for its values. Inserts rows in one commit, all or none, and answers the id of each,
   * null where ON CONFLICT left it out. A row of 21 columns takes two thirds of what it takes with names and RETURNING.
   */
  prepareInsert: (sql: string) => (rows: readonly (string | number | null)[][]) => (number | null)[]
  /** Runs `work` under the write lock and commits, or rolls all of it back when it throws. Never async. */
  transaction: <T>(work: () => T) => T
  /** False once the path no longer leads to the open file; the next write puts it back. */
  isStillThere: () => boolean
  /**
   * Puts a database that was deleted or replaced under us back at its path, with every row that was ever
   * written; what stands there instead is moved aside. Every write does so first. True when it had to: see
   * `notices`. Throws DISK_FULL or DATABASE_UNUSABLE when it cannot, and goes on with the open file.
   */
  mend: () => boolean
  /** Bytes in use, without pages that are free. */
  usedBytes: () => number
  /** Gives at most so many free pages back to the file system. */
  shrink: (pages: number) => void
  close: () => void
}

/** An older database is given its auto_vacuum by one VACUUM at its start, up to this size: half a second. */
const VACUUM_MAX_BYTES = 64 * 1024 * 1024

/**
 * Opens the database at `file`, creating it (0600) and its folder (0700) where needed, and migrates it.
 * A damaged or emptied file is set aside as `<file>.corrupt-<time>` and a new one opened: see `notices`.
 * The caller holds the home lock. Throws CcmError: DATABASE_TOO_NEW, DATABASE_UNUSABLE, DISK_FULL.
 */
export function openDatabase(options: {
  file: string
  migrationsDir: string
  clock: Clock
  /** Hears of every write that failed because the disk is full. */
  onFull?: () => void
}): Database {
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
    // Left by a crash in the middle of putting a deleted database back: see rescue.ts.
    const foreign = takeRescued(file, options.clock())
    if (foreign !== null)
      notices.push(`Another file stood in place of the database ${file}; it was moved to ${foreign}.`)
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
    setUp(native)
    migrate(native, options.migrationsDir, file)
    becomeShrinkable(native)
  } catch (error) {
    native.close()
    throw toDatabaseError(error, file)
  }
  return wrap(native, file, notices, options)
}

function setUp(native: Sqlite): void {
  // Of an empty file only: it counts before the first table.
  if (native.pragma('page_count', { simple: true }) === 0) native.pragma('auto_vacuum = INCREMENTAL')
  native.pragma('journal_mode = WAL')
  native.pragma('synchronous = FULL')
}

function becomeShrinkable(native: Sqlite): void {
  if (native.pragma('auto_vacuum', { simple: true }) !== 0) return
  const count = (name: string) => Number(native.pragma(name, { simple: true }))
  // A larger one uses its free pages again, and only never becomes smaller.
  if (count('page_count') * count('page_size') > VACUUM_MAX_BYTES) return
  try {
    native.pragma('auto_vacuum = INCREMENTAL')
    native.exec('VACUUM')
  } catch (error) {
    if (isDamage(error)) throw error
  }
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

function wrap(
  opened: Sqlite,
  file: string,
  notices: string[],
  { clock, onFull }: { clock: Clock; onFull?: () => void },
): Database {
  let native = opened
  let identity = identityOf(file)
  const statements = new Map<string, Statement<Params, unknown>>()
  /** Of the connection that is open now. */
  let prepared = new Map<string, Sqlite.Statement>()
  const guarded = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      const known = toDatabaseError(error, file)
      if (known instanceof CcmError && known.code === 'DISK_FULL') onFull?.()
      throw known
    }
  }
  let inTransaction = native.transaction((work: () => unknown) => work())

  const isStillThere = () => identity !== null && identityOf(file) === identity
  function mend(): boolean {
    if (isStillThere()) return false
    // Whoever comes after the end of the daemon finds its home gone, and has nothing to rescue it from.
    if (!native.open) throw new CcmError('INTERNAL', 'The database is closed.')
    notices.push(rescue(native, file, clock()))
    native = connectAgain(file)
    identity = identityOf(file)
    prepared = new Map()
    inTransaction = native.transaction((work: () => unknown) => work())
    return true
  }
  const current = (sql: string): Sqlite.Statement => {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    const statement = native.prepare(sql)
    prepared.set(sql, statement)
    return statement
  }
  // A look at the path takes 2 µs, a commit 130.
  const mended = (sql: string): Sqlite.Statement => {
    if (!native.inTransaction) mend()
    return current(sql)
  }

  const transaction = <T>(work: () => T): T => {
    // Refused before it starts: what follows its first await would run outside the transaction.
    if (work.constructor.name === 'AsyncFunction') {
      throw new CcmError('INTERNAL', 'A transaction cannot be an async function.')
    }
    return guarded(() => {
      if (!native.inTransaction) mend()
      return inTransaction.immediate(work) as T
    })
  }

  const prepare = (sql: string): Statement<Params, unknown> => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    guarded(() => current(sql))
    const made = {
      run: (params: Params) => guarded(() => mended(sql).run(params).changes),
      get: (params: Params) => guarded(() => mended(sql).get(params)),
      all: (params: Params) => guarded(() => mended(sql).all(params)),
    }
    statements.set(sql, made)
    return made
  }

  return {
    file,
    notices,
    prepare: prepare as Database['prepare'],
    prepareInsert: (sql) => {
      guarded(() => current(sql))
      return (rows) =>
        transaction(() => {
          const statement = current(sql)
          return rows.map((values) => {
            const { changes, lastInsertRowid } = statement.run(values)
            return changes === 0 ? null : Number(lastInsertRowid)
          })
        })
    },
    transaction,
    isStillThere,
    mend: () => guarded(mend),
    usedBytes: () => {
      const count = (name: string) => Number(native.pragma(name, { simple: true }))
      return (count('page_count') - count('freelist_count')) * count('page_size')
    },
    shrink: (pages) => guarded(() => void native.exec(`PRAGMA incremental_vacuum(${Math.floor(pages)})`)),
    close: () => {
      native.close()
    },
  }
}

function connectAgain(file: string): Sqlite {
  const native = new Sqlite(file, { timeout: 200 })
  setUp(native)
  return native
}

function identityOf(file: string): string | null {
  const found = statSync(file, { throwIfNoEntry: false })
  return found === undefined ? null : `${found.dev}:${found.ino}`
}

/** Words as SQLite's json_each reads them; null stays null. */
export function jsonList(words: readonly string[] | null): string | null {
  return words === null ? null : JSON.stringify(words)
}
