import { chmod, lstat, mkdir } from 'node:fs/promises'
import { CcmError, messageOf } from '../core/errors.ts'

/** macOS allows 104 bytes with the final NUL, Linux 108. */
const SOCKET_PATH_MAX_BYTES = 103

/** Throws BAD_CONFIG when no system call would take the path as that of a socket. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (bytes <= SOCKET_PATH_MAX_BYTES) return
  throw new CcmError(
    'BAD_CONFIG',
    `The path of the tmux socket has ${bytes} bytes (${path}); systems allow ${SOCKET_PATH_MAX_BYTES}.`,
    { remedy: 'Set CCM_HOME to a folder with a shorter path.' },
  )
}

/** Makes the folder with mode 0700; throws BAD_CONFIG when it is not ours alone. */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined) await chmod(folder, 0o700)
  } catch (error) {
    throw new CcmError('BAD_CONFIG', `The folder ${folder} cannot be created: ${messageOf(error)}.`, {
      cause: error,
    })
  }
  const found = await lstat(folder)
  if (!found.isDirectory()) {
    throw new CcmError('BAD_CONFIG', `${folder} is not a folder of its own (a link or a file).`)
  }
  if (found.uid !== process.getuid?.()) {
    throw new CcmError('BAD_CONFIG', `The folder ${folder} belongs to another user.`)
  }
  if ((found.mode & 0o077) !== 0) {
    throw new CcmError(
      'BAD_CONFIG',
      `Others may enter the folder ${folder}, and thereby type into the agents.`,
      {
        remedy: `Run: chmod 700 '${folder}'`,
      },
    )
  }
}
