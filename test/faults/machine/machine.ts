import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve, sep } from 'node:path'
import { execa } from 'execa'
import { eventually } from '../fixture.ts'

const REPOSITORY = resolve(import.meta.dirname, '../../..')

/** Node as the machine has it: where this checkout is in a folder that the machine has another one for, /tmp say. */
export const MACHINE_NODE = process.execPath.startsWith(REPOSITORY + sep)
  ? `/srv/ccm${process.execPath.slice(REPOSITORY.length)}`
  : process.execPath

export type Answer = { code: number; stdout: string; stderr: string }

/** A machine in namespaces whose first process is systemd. It ends with this process, however that ends. */
export type Machine = {
  /** A folder of both: `/srv/shared` in there. */
  shared: string
  /** Runs a program in there; `env` is all of its environment. */
  run: (argv: string[], env?: Record<string, string>) => Promise<Answer>
  [Symbol.asyncDispose]: () => Promise<void>
}

/** Why no machine can be had here; null: it can. */
export function whyNoMachine(): string | null {
  if (process.platform !== 'linux') return 'it needs Linux'
  if (process.getuid?.() !== 0) return 'it needs root'
  for (const program of [
    '/lib/systemd/systemd',
    '/usr/bin/unshare',
    '/usr/bin/nsenter',
    '/usr/bin/systemd-run',
  ])
    if (!existsSync(program)) return `${program} is missing`
  return null
}

/** Boots one; throws with systemd's words when it is not up within half a minute. */
export async function bootMachine(): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-machine-'))
  const shared = join(folder, 'shared')
  for (const name of ['base', 'shared']) mkdirSync(join(folder, name))
  const script = join(import.meta.dirname, 'run.sh')
  const child = spawn('/bin/sh', [script, join(folder, 'base'), REPOSITORY, shared], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += String(chunk)))
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += String(chunk)))
  const ended = new Promise((done) => child.on('close', done))
  const close = async () => {
    child.stdin.end()
    await ended
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    const unshare = await eventually('the machine starts', () => {
      const pid = /^\d+(?=\n)/.exec(said.stdout)?.[0]
      return pid === undefined ? null : Number(pid)
    })
    const first = await eventually('its first process runs', () => childOf(unshare))
    const run: Machine['run'] = async (argv, env = {}) => {
      const inside = ['-t', String(first), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w']
      const { exitCode, stdout, stderr } = await execa('nsenter', [...inside, '--', ...argv], {
        env: {
          PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
          LC_ALL: 'C.UTF-8',
          HOME: '/srv/shared/user',
          ...env,
        },
        extendEnv: false,
        reject: false,
        stdin: 'ignore',
        // A group of its own: what goes wrong in the machine must not signal the tests.
        detached: true,
        timeout: 60_000,
      })
      return { code: exitCode ?? -1, stdout, stderr }
    }
    await eventually(
      'systemd is up',
      async () => /^(running|degraded)$/.test((await run(['systemctl', 'is-system-running'])).stdout),
      30_000,
    )
    return { shared, run, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw new Error(`no machine: ${said.stderr}`, { cause: error })
  }
}

function childOf(parent: number): number | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const isChild = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(parent)
      if (isChild && readFileSync(`/proc/${name}/comm`, 'utf8') === 'systemd\n') return Number(name)
    } catch {
      // It ended meanwhile.
    }
  }
  return null
}
