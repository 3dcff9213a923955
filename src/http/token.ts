import { randomBytes } from 'node:crypto'
import { closeSync, lstatSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { CcmError } from '../core/errors.ts'

/** A token and, when the file was not as it should be, a sentence about what was done. */
export type Token = { token: string; notice: string | null }

const BYTES = 32
const FORM = /^[A-Za-z0-9_-]{43}$/

/**
 * Reads the API's token, or makes one: 32 random bytes as base64url in a file only its owner can read. A token
 * that others could read, or that is no token, is replaced. A file that is a link, a folder or another user's
 * is refused (BAD_CONFIG).
 */
export function readOrCreateToken(file: string): Token {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const found = lstatSync(file, { throwIfNoEntry: false })
  if (found === undefined) return { token: create(file), notice: null }
  const mine = process.getuid === undefined || found.uid === process.getuid()
  if (!found.isFile() || !mine) {
    const fault = found.isFile() ? 'belongs to another user' : 'is not a plain file'
    throw new CcmError('BAD_CONFIG', `The token file ${file} ${fault}.`, {
      remedy: 'Remove it and start again: a new one is made.',
    })
  }
  if ((found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0')
    return {
      token: create(file),
      notice: `Other users could read the token file ${file} (mode ${mode}), so it has a new token.`,
    }
  }
  const token = readFileSync(file, 'utf8').trim()
  if (FORM.test(token)) return { token, notice: null }
  return { token: create(file), notice: `The token file ${file} held no token, so it has a new one.` }
}

/** Writes beside and renames: a reader sees the old token or the new one, never half of one. */
function create(file: string): string {
  const token = randomBytes(BYTES).toString('base64url')
  const beside = `${file}.${randomBytes(6).toString('hex')}`
  const handle = openSync(beside, 'wx', 0o600)
  try {
    writeSync(handle, `${token}\n`)
  } finally {
    closeSync(handle)
  }
  renameSync(beside, file)
  return token
}
