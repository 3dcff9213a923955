import { execFile } from 'node:child_process'
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CcmError } from '../core/errors.ts'

/**
 * Where a secret comes from: written in the config, a variable of the daemon's environment, a file only its
 * owner can read, a systemd credential (LoadCredential=), or what a program prints (`op`, `pass`, `vault`).
 */
export type SecretSource =
  string | { env: string } | { file: string } | { credential: string } | { command: string[] }

const COMMAND_TIMEOUT_MS = 15_000
const SECRET_MAX_BYTES = 64 * 1024

/**
 * The secret without the line end of a file or a program; null where none is configured (an empty text). Throws
 * BAD_CONFIG that names `key` and the source, never the secret.
 */
export async function readSecret(
  key: string,
  source: SecretSource,
  env: Record<string, string | undefined>,
): Promise<string | null> {
  if (typeof source === 'string') return source === '' ? null : source
  const fault = (why: string, remedy?: string) =>
    new CcmError('BAD_CONFIG', `The secret ${key} ${why}.`, remedy === undefined ? {} : { remedy })
  const secret = (await textOf(source, env, fault)).replace(/\r?\n$/, '')
  if (secret === '') throw fault('is empty where it should come from')
  if (/[\0\r\n]/.test(secret)) throw fault('has more than one line')
  return secret
}

async function textOf(
  source: Exclude<SecretSource, string>,
  env: Record<string, string | undefined>,
  fault: (why: string, remedy?: string) => CcmError,
): Promise<string> {
  if ('env' in source) {
    const value = env[source.env]
    if (value === undefined) throw fault(`should be in the variable ${source.env}, which is not set`)
    return value
  }
  if ('file' in source) return readPrivateFile(source.file, fault)
  if ('credential' in source) {
    const folder = env['CREDENTIALS_DIRECTORY']
    if (folder === undefined)
      throw fault(
        'should be a systemd credential, and this is no service with one',
        'Add LoadCredential= to it.',
      )
    if (!/^[\w.-]+$/.test(source.credential) || source.credential.startsWith('.'))
      throw fault('names no credential')
    return readPrivateFile(join(folder, source.credential), fault)
  }
  const [program = '', ...args] = source.command
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: SECRET_MAX_BYTES,
    })
    return stdout
  } catch (error) {
    // Neither its arguments nor what it printed: both may hold the secret.
    const code = (error as { code?: unknown }).code
    const why = (error as { killed?: boolean }).killed === true ? 'took too long' : `failed (${String(code)})`
    throw fault(`should come from ${program}, which ${why}`)
  }
}

/** Reads a file that belongs to this user and nobody else can read; a link's target counts. */
function readPrivateFile(file: string, fault: (why: string, remedy?: string) => CcmError): string {
  let handle: number
  try {
    // Nonblocking: a pipe without a writer must not hold the start.
    handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw fault(`should be in ${file}, which cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  try {
    const { mode, uid, size } = fstatSync(handle)
    const loose = (mode & 0o077) !== 0
    const foreign = process.getuid !== undefined && uid !== process.getuid() && uid !== 0
    if (loose || foreign) {
      const why = loose
        ? `other users may read (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`
        : 'belongs to another user'
      throw fault(`is in ${file}, which ${why}`, `chmod 600 ${file}`)
    }
    if (size > SECRET_MAX_BYTES) throw fault(`is in ${file}, which is larger than 64 KiB`)
    return readFileSync(handle, 'utf8')
  } finally {
    closeSync(handle)
  }
}
