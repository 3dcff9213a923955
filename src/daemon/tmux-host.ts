import { createHash } from 'node:crypto'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inheritedEnvironment } from '../agent/environment.ts'
import type { Config } from '../config/config.ts'
import { CcmError } from '../core/errors.ts'
import { UNITS } from '../service/units.ts'
import { listPanes } from '../tmux/pane.ts'
import { openTmuxServer, type TmuxServer } from '../tmux/server.ts'

/** systemd starts its unit again within a fraction of that. */
const UNIT_COMES_MS = 5000

/** Sockets have short paths (103 bytes): a deep home gets its tmux folder elsewhere, always the same one. */
export function tmuxFolder(home: string): string {
  const inHome = join(home, 'tmux')
  if (Buffer.byteLength(inHome) <= 90) return inHome
  const name = createHash('sha256').update(home).digest('hex').slice(0, 16)
  return join(tmpdir(), `ccm-${process.getuid?.() ?? 'user'}-${name}`)
}

/**
 * Where the daemon's tmux server is started, so that it does not end with the daemon: in its own unit when the
 * daemon is a service, else in a scope where systemd runs. Undefined: it is started plainly.
 */
export function tmuxHost(
  env: Record<string, string | undefined>,
  isRoot: boolean,
): ((argv: string[], isUp: () => Promise<boolean>) => Promise<void>) | undefined {
  if (!existsSync('/run/systemd/system')) return undefined
  const service = env['CCM_SERVICE']
  if (service !== 'system' && service !== 'user') {
    const scope = ['systemd-run', ...(isRoot ? [] : ['--user']), '--scope', '--quiet', '--collect', '--']
    return (argv) => run([...scope, ...argv], env)
  }
  const systemctl = ['systemctl', ...(service === 'user' ? ['--user'] : []), '--no-ask-password']
  return async (_, isUp) => {
    await run([...systemctl, 'start', UNITS[0]], env)
    // Who may not start units of the machine waits for the unit's own restart.
    for (const until = Date.now() + UNIT_COMES_MS; Date.now() < until && !(await isUp());) await sleep(100)
  }
}

/**
 * The body of ccm-tmux.service: starts the tmux server in this very control group, writes its pid where the unit
 * looks for it, and leaves it alone. Throws CONFLICT when one with agents runs elsewhere.
 */
export async function hostTmux(config: Config): Promise<number> {
  const { home } = config
  mkdirSync(join(home, 'tmux'), { recursive: true, mode: 0o700 })
  const open = () => openTmuxServer({ folder: tmuxFolder(home), env: inheritedEnvironment(process.env) })
  let server: TmuxServer = await open()
  if (!isOurs(server.identity().pid)) {
    const agents = (await listPanes(server)).filter(({ marks }) => marks.task !== undefined).length
    if (agents > 0) {
      await server.close()
      throw new CcmError('CONFLICT', `The tmux server of ${home} runs elsewhere, with ${agents} agents.`, {
        remedy: 'End it first: ccm stop',
      })
    }
    await server.kill()
    server = await open()
  }
  writeFileSync(join(home, 'tmux/server.pid'), `${server.identity().pid}\n`, { mode: 0o600 })
  await server.close()
  return 0
}

/** In the same control group as this process. */
function isOurs(pid: number): boolean {
  const groupOf = (of: string) => readFileSync(`/proc/${of}/cgroup`, 'utf8')
  try {
    return groupOf(String(pid)) === groupOf('self')
  } catch {
    return true
  }
}

/** Its failure is no matter: the server is started plainly then. */
function run(argv: string[], env: Record<string, string | undefined>): Promise<void> {
  const [program = '', ...args] = argv
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: UNIT_COMES_MS }, () => resolve())
  })
}
