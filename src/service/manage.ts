import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { isUntouched, unitWord, UNITS, type ServiceFile } from './units.ts'

/** Who runs the service: the machine's systemd, the user's, or launchd. */
export type Manager = 'system' | 'user' | 'launchd'

/** Where a manager's files are, and how it is told. */
export type ServiceManager = {
  manager: Manager
  folder: string
  /** Runs the manager's program; `ok` false with its words when that failed. */
  call: (...args: string[]) => Promise<{ ok: boolean; said: string }>
}

/** What `ccm service status` tells of one file. */
export type ServiceState = {
  name: string
  file: string
  installed: boolean
  /** Somebody changed it since ccm wrote it. */
  edited: boolean
  /** In the manager's own word: `active`, `failed`, … */
  active: string
  /** Starts with the machine, or with the user's login. */
  enabled: boolean
}

const CALL_MS = 120_000

export function createServiceManager(
  manager: Manager,
  env: Record<string, string | undefined>,
  userHome: string,
  uid: number,
): ServiceManager {
  const config = env['XDG_CONFIG_HOME']?.startsWith('/') ? env['XDG_CONFIG_HOME'] : join(userHome, '.config')
  const folders = {
    system: '/etc/systemd/system',
    user: join(config, 'systemd/user'),
    launchd: join(userHome, 'Library/LaunchAgents'),
  }
  const program =
    manager === 'launchd' ? ['launchctl'] : manager === 'user' ? ['systemctl', '--user'] : ['systemctl']
  // A shell without a login session (su, cron) lacks it, and the user's manager may run all the same.
  const runtime = env['XDG_RUNTIME_DIR'] ?? `/run/user/${uid}`
  return {
    manager,
    folder: folders[manager],
    call: (...args) =>
      call([...program, ...args], { ...env, XDG_RUNTIME_DIR: runtime, SYSTEMD_PAGER: '', LC_ALL: 'C' }),
  }
}

/**
 * Writes the files, enables and starts them. A file that somebody edited is kept beside ours, and the answer says
 * so. Throws BAD_CONFIG when systemd finds a fault in a unit, DAEMON_UNREACHABLE when it cannot start one.
 */
export async function installService(on: ServiceManager, files: ServiceFile[]): Promise<string[]> {
  if (on.manager !== 'launchd') await verifyUnits(files, on.manager)
  mkdirSync(on.folder, { recursive: true })
  const said: string[] = []
  for (const { name, text } of files) {
    const file = join(on.folder, name)
    const before = readIfThere(file)
    if (before === text) {
      said.push(`${file} is as it should be.`)
      continue
    }
    if (before !== null && !isUntouched(before)) said.push(setAside(file))
    writeFileSync(`${file}.part`, text, { mode: 0o644 })
    renameSync(`${file}.part`, file)
    said.push(`Wrote ${file}.`)
  }
  if (on.manager === 'launchd') {
    const domain = `gui/${process.getuid?.() ?? 0}`
    await on.call('bootout', `${domain}/ccm.daemon`)
    await must(on, 'bootstrap', domain, join(on.folder, files[0]?.name ?? ''))
    return said
  }
  await must(on, 'daemon-reload')
  await must(on, 'enable', ...UNITS)
  // A tmux server at work holds agents: it goes on as it is.
  await must(on, 'start', UNITS[0])
  await must(on, 'restart', UNITS[1])
  said.push(`Enabled and started ${UNITS.join(' and ')}.`)
  return said
}

/** Stops and removes what is there; an edited file is kept under another name, and the answer says so. */
export async function uninstallService(on: ServiceManager, names: readonly string[]): Promise<string[]> {
  const said: string[] = []
  if (on.manager === 'launchd') await on.call('bootout', `gui/${process.getuid?.() ?? 0}/ccm.daemon`)
  // The daemon first: it would miss its tmux.
  else for (const name of names.toReversed()) await on.call('disable', '--now', name)
  for (const name of names) {
    const file = join(on.folder, name)
    const text = readIfThere(file)
    if (text === null) continue
    if (isUntouched(text)) {
      rmSync(file)
      said.push(`Removed ${file}.`)
    } else said.push(setAside(file))
  }
  if (on.manager !== 'launchd') {
    await on.call('daemon-reload')
    await on.call('reset-failed', ...names)
  }
  return said.length === 0 ? ['No service was installed.'] : said
}

/** How each file of the service is, and runs. */
export async function serviceStates(on: ServiceManager, names: readonly string[]): Promise<ServiceState[]> {
  return Promise.all(
    names.map(async (name) => {
      const file = join(on.folder, name)
      const text = readIfThere(file)
      const state = { name, file, installed: text !== null, edited: text !== null && !isUntouched(text) }
      if (on.manager === 'launchd') {
        const { ok } = await on.call('print', `gui/${process.getuid?.() ?? 0}/ccm.daemon`)
        return { ...state, active: ok ? 'active' : 'inactive', enabled: text !== null }
      }
      const active = await on.call('is-active', name)
      const enabled = await on.call('is-enabled', name)
      return { ...state, active: active.said || 'unknown', enabled: enabled.ok }
    }),
  )
}

/** True when this manager's service is installed for this home. */
export function isInstalledFor(on: ServiceManager, home: string): boolean {
  const text = readIfThere(join(on.folder, UNITS[1]))
  return text?.includes(`\nEnvironment=${unitWord(`CCM_HOME=${home}`, false)}\n`) ?? false
}

/** systemd-analyze exits 0 for a key it does not know, and says so on stderr: any word there is a fault. */
export async function verifyUnits(files: ServiceFile[], manager: 'system' | 'user'): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-units-'))
  try {
    const paths = files.map(({ name, text }) => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    })
    const scope = manager === 'user' ? ['--user'] : []
    const { ok, said } = await call(['systemd-analyze', ...scope, '--man=no', 'verify', ...paths], {
      // Without one it cannot even begin; it only reads.
      XDG_RUNTIME_DIR: folder,
      ...process.env,
      LC_ALL: 'C',
    })
    if (said.includes('ENOENT') || (ok && said === '')) return
    throw new CcmError('BAD_CONFIG', `systemd finds a fault in the units: ${said}`, {
      remedy: 'ccm service install --print shows them.',
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function setAside(file: string): string {
  let kept = `${file}.kept`
  for (let number = 2; existsSync(kept); number++) kept = `${file}.kept-${number}`
  renameSync(file, kept)
  return `${file} had been edited: it is kept as ${kept}.`
}

async function must(on: ServiceManager, ...args: string[]): Promise<void> {
  const { ok, said } = await on.call(...args)
  if (ok) return
  throw new CcmError('DAEMON_UNREACHABLE', `The service could not be set up (${args.join(' ')}): ${said}`, {
    remedy: on.manager === 'user' ? 'Look at: systemctl --user status ccm' : 'Look at: systemctl status ccm',
  })
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

function call(
  argv: string[],
  env: Record<string, string | undefined>,
): Promise<{ ok: boolean; said: string }> {
  const [program = '', ...args] = argv
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: CALL_MS }, (error, stdout, stderr) => {
      const words = `${stdout}${stderr}`.trim()
      resolve({ ok: error === null, said: words || (error === null ? '' : error.message) })
    })
  })
}
