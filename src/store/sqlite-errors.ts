import { CcmError, messageOf } from '../core/errors.ts'

/** SQLite's or the file system's code of a thrown value, such as `SQLITE_FULL` or `ENOSPC`; '' for others. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error)) return ''
  return typeof error.code === 'string' ? error.code : ''
}

/** True when the file holds something else than a sound SQLite database. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT')
}

/**
 * Turns an error of SQLite or of the file system into a CcmError that a person can act on; everything else,
 * also a violated constraint, comes back as it is.
 */
export function toDatabaseError(error: unknown, file: string): unknown {
  if (error instanceof CcmError) return error
  const code = codeOf(error)
  const cause = error
  if (code === 'SQLITE_FULL' || code === 'ENOSPC' || code === 'EDQUOT') {
    return new CcmError('DISK_FULL', `The disk of ${file} is full, so nothing can be recorded.`, {
      remedy: 'Free some space on that disk; work goes on by itself.',
      cause,
    })
  }
  if (isDamage(error)) {
    return new CcmError('DATABASE_UNUSABLE', `The database ${file} is damaged (${messageOf(error)}).`, {
      remedy: 'Restart the daemon: it sets the damaged file aside and opens a new one.',
      cause,
    })
  }
  if (code.startsWith('SQLITE_READONLY') || code === 'EROFS') {
    return new CcmError('DATABASE_UNUSABLE', `The database ${file} cannot be written: it is read-only.`, {
      remedy: 'Make the file and its folder writable for this user, or set CCM_HOME to a folder that is.',
      cause,
    })
  }
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new CcmError('DATABASE_UNUSABLE', `Another program holds the database ${file} locked.`, {
      remedy: 'End the program that has the file open.',
      cause,
    })
  }
  if (/^SQLITE_(CANTOPEN|IOERR|PERM|AUTH)|^E[A-Z]+$/.test(code)) {
    return new CcmError('DATABASE_UNUSABLE', `The database ${file} cannot be used: ${messageOf(error)}.`, {
      remedy: 'Check that its folder exists and that this user may write there, or set CCM_HOME to another.',
      cause,
    })
  }
  return error
}
