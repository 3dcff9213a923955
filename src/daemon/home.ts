import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CcmError, messageOf } from '../core/errors.ts'
import { tmuxFolder } from './tmux-host.ts'

/** Makes the folder of all state; throws BAD_CONFIG where it cannot be made. */
export function createHome(home: string): void {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new CcmError(
      'BAD_CONFIG',
      `The folder of all state, ${home}, cannot be made: ${messageOf(error)}.`,
      {
        remedy: 'Set CCM_HOME to a folder that can be written.',
        cause: error,
      },
    )
  }
}

/** Beside the tmux folder where the home is too deep for a socket. */
export function socketIn(home: string, name: string): string {
  const inHome = join(home, name)
  return Buffer.byteLength(inHome) <= 100 ? inHome : join(tmuxFolder(home), name)
}

/** Beside it and renamed: a reader sees all of it or nothing. */
export function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.part`, text, { mode: 0o600 })
  renameSync(`${file}.part`, file)
}
