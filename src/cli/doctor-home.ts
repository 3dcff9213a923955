import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { inspectDatabase } from '../store/inspect.ts'
import { failed, note, ok, type Check } from './check.ts'

const SOCKET_PATH_MAX_BYTES = 103
const DISK_LOW_BYTES = 200 * 1024 * 1024
const DISK_SCARCE_BYTES = 1024 * 1024 * 1024

export function checkHome(home: string): Check[] {
  const found = statSync(home, { throwIfNoEntry: false })
  if (found === undefined) {
    const above = nearestFolder(home)
    return isWritable(above)
      ? [note('home', `${home} is made at the first start`)]
      : [
          failed(
            'home',
            `${home} cannot be made: ${above} is not writable`,
            'Set CCM_HOME to a folder of yours.',
          ),
        ]
  }
  if (!found.isDirectory()) return [failed('home', `${home} is not a folder`, 'Set CCM_HOME to a folder.')]
  const uid = process.getuid?.()
  if (uid !== undefined && found.uid !== uid) {
    return [
      failed(
        'home',
        `${home} belongs to user ${found.uid}, not to ${uid}`,
        'Set CCM_HOME to a folder of yours, or run ccm as its owner.',
      ),
    ]
  }
  if ((found.mode & 0o077) !== 0) {
    return [failed('home', `${home} can be entered by others (${octal(found.mode)})`, `chmod 700 ${home}`)]
  }
  return isWritable(home)
    ? [ok('home', home)]
    : [failed('home', `${home} is not writable`, `chmod u+rwx ${home}, or set CCM_HOME to another folder.`)]
}

export function checkToken(home: string): Check {
  const file = join(home, 'token')
  const found = statSync(file, { throwIfNoEntry: false })
  if (found === undefined) return note('token', 'it is made at the first start')
  if ((found.mode & 0o077) !== 0) {
    return failed(
      'token',
      `others can read it (${octal(found.mode)})`,
      `chmod 600 ${file}; if others use this machine, remove it and run: ccm restart`,
    )
  }
  return isReadable(file)
    ? ok('token', 'only you can read it')
    : failed('token', 'it cannot be read', `chmod 600 ${file}`)
}

export function checkSocket(home: string): Check {
  const bytes = Buffer.byteLength(join(home, 'tmux', 'tmux.sock'))
  if (bytes <= SOCKET_PATH_MAX_BYTES)
    return ok('socket', `its path has ${bytes} of ${SOCKET_PATH_MAX_BYTES} bytes`)
  return note(
    'socket',
    'the home’s path is too long for a socket, so it is made in the folder for temporary files',
  )
}

export function checkDisk(home: string): Check {
  const { bavail, bsize } = statfsSync(nearestFolder(home))
  const free = bavail * bsize
  const detail = `${(free / 1024 ** 3).toFixed(1)} GiB free`
  const remedy = 'Free some space, or set CCM_HOME to another disk.'
  if (free < DISK_LOW_BYTES) return failed('disk', detail, remedy)
  return free < DISK_SCARCE_BYTES ? note('disk', detail, remedy) : ok('disk', detail)
}

export function checkDatabase(home: string): Check[] {
  const file = join(home, 'ccm.db')
  if (!existsSync(file)) return [note('database', 'it is made at the first start')]
  const found = inspectDatabase(file)
  if (!found.ok) {
    return [
      failed(
        'database',
        `${file}: ${found.problem}`,
        'The next start sets a damaged one aside and begins anew; ccm restore brings a backup back.',
      ),
    ]
  }
  return [ok('database', `${file} is whole`), ...found.projects.map(checkProject)]
}

function checkProject({ name, dir, trusted }: { name: string; dir: string; trusted: boolean }): Check {
  const label = `project ${name}`
  const found = statSync(dir, { throwIfNoEntry: false })
  if (found?.isDirectory() !== true) {
    return failed(label, `${dir} is gone`, `Bring it back, or forget it: ccm projects remove ${name}`)
  }
  if (!trusted) return note(label, `${dir} is not trusted, so its tasks wait`, `ccm projects trust ${name}`)
  return isReadable(dir) ? ok(label, dir) : failed(label, `${dir} cannot be read`, `chmod u+rx ${dir}`)
}

function nearestFolder(path: string): string {
  let folder = path
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}

function isWritable(path: string): boolean {
  return may(path, constants.W_OK | constants.X_OK)
}

export function isReadable(path: string): boolean {
  return may(path, constants.R_OK)
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0')
}
