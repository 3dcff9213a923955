import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import Sqlite from 'better-sqlite3'
import { CcmError } from '../core/errors.ts'
import { codeOf, isDamage, toDatabaseError } from './sqlite-errors.ts'

/** The proof that this process is the only daemon of its home. */
export type HomeLock = {
  /** Idempotent. The end of the process, however it comes, releases too. */
  release: () => void
}

/**
 * Takes the lock at `file` (its folder exists) and writes our pid to `<file>.pid`. The lock belongs to the
 * process, not to the files: whatever a dead daemon left behind never blocks the next one. Waits up to 200 ms;
 * throws CcmError LOCKED, which names the holder's pid.
 */
export function acquireHomeLock(file: string): HomeLock {
  const path = resolve(file)
  const pidFile = `${path}.pid`
  const native = open(path)
  try {
    native.pragma('locking_mode = EXCLUSIVE')
    // Left open on purpose: nothing is ever written, so no journal can stay behind after a SIGKILL.
    native.exec('BEGIN EXCLUSIVE')
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 })
  } catch (error) {
    native.close()
    if (isDamage(error)) {
      throw new CcmError('DATABASE_UNUSABLE', `The lock file ${path} holds something else.`, {
        remedy: `Delete ${path}; a running daemon never writes to it.`,
        cause: error,
      })
    }
    if (!codeOf(error).startsWith('SQLITE_BUSY')) throw toDatabaseError(error, path)
    const pid = readPid(pidFile)
    throw new CcmError(
      'LOCKED',
      pid === null
        ? `Another ccm daemon holds ${path}.`
        : `Another ccm daemon is running here: process ${pid} holds ${path}.`,
      {
        remedy: 'Stop it with `ccm stop`, or set CCM_HOME to another folder for a second one.',
        cause: error,
      },
    )
  }
  let held = true
  return {
    release: () => {
      if (!held) return
      held = false
      rmSync(pidFile, { force: true })
      native.close()
    },
  }
}

function open(path: string): Sqlite {
  try {
    return new Sqlite(path, { timeout: 200 })
  } catch (error) {
    throw toDatabaseError(error, path)
  }
}

function readPid(pidFile: string): number | null {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8'))
    return Number.isInteger(pid) && pid > 0 ? pid : null
  } catch {
    return null
  }
}
