import { execFileSync, spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDaemonClient, type DaemonClient } from '../client/daemon-client.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import { socketFetch } from './socket-fetch.ts'

/** Where a daemon answers, as it wrote it into its home. */
export type DaemonAddress = {
  pid: number
  baseUrl: string
  token: string
  version: string
  /** The daemon's socket file; null: it serves its port only. */
  socket: string | null
}

/** A client of the daemon at this address, through its socket where it has one. */
export function clientOf({ socket, ...address }: DaemonAddress): DaemonClient {
  return createDaemonClient(socket === null ? address : { ...address, fetch: socketFetch(socket) })
}

/** How to start a daemon, and whom to tell that it takes a while. */
export type DaemonStart = {
  home: string
  /** The configuration file in use; the daemon runs elsewhere, where `./ccm.toml` would be another. */
  configFile: string | null
  /** Node and the program, `node bin/ccm.js` say. */
  launcher: string[]
  /** The script that starts the daemon again when it died; null: nothing does. */
  keeper?: string | null
  /** Program and arguments by which a service manager starts this home's daemon; null where none does. */
  service?: () => Promise<string[] | null>
  env: Record<string, string | undefined>
  onWait?: () => void
  onSpawn?: (pid: number) => void
}

/** A daemon that lost the race for its home ends with this; the winner is the one to use. */
export const EXIT_HOME_TAKEN = 75

/**
 * What Node is told for a daemon; the service files say the same. The start alone grows the space of V8 for what is new
 * to 8 MB, which an idle daemon keeps: at most 2 MB saves 5 MB, and costs 5 % of what only parses and drops JSON.
 */
export const NODE_FLAGS = ['--max-semi-space-size=2']

/** A tenth of a second is usual; a start on two cores with 17 others waiting for them took 12 s. */
const READY_MS = 30_000
const ANSWER_MS = 2000

/**
 * The daemon of this home if one answers, else null. Another program on an old daemon's port does not count:
 * it neither takes the token nor names the pid.
 */
export async function findDaemon(
  home: string,
  given?: typeof globalThis.fetch,
): Promise<DaemonAddress | null> {
  const address = readAddress(home)
  if (address === null) return null
  const fetch = given ?? (address.socket === null ? globalThis.fetch : socketFetch(address.socket))
  const impatient: typeof fetch = (url, init) =>
    fetch(url, { ...init, signal: AbortSignal.timeout(ANSWER_MS) })
  try {
    const { pid } = await createDaemonClient({ ...address, fetch: impatient }).status()
    return pid === address.pid ? address : null
  } catch {
    return null
  }
}

/**
 * Pid of the shell that keeps this home's daemon, as that daemon wrote it down; null when it is gone. A pid that
 * went to another program meanwhile does not count.
 */
export function findKeeper(home: string): number | null {
  try {
    const { keeper } = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as { keeper?: unknown }
    if (typeof keeper !== 'number') return null
    return commandOf(keeper).includes(`keep-daemon.sh ${home} `) ? keeper : null
  } catch {
    return null
  }
}

/**
 * Pid of the daemon that wrote itself down in this home and lives; null when none does. Where `findDaemon` finds
 * none it hangs, or is too busy to answer.
 */
export function findSilent(home: string): number | null {
  const pid = readAddress(home)?.pid
  if (pid === undefined) return null
  try {
    return /ccm(\.js)? daemon( |$)/.test(commandOf(pid)) ? pid : null
  } catch {
    return null
  }
}

/** Throws when there is no such process. */
function commandOf(pid: number): string {
  return process.platform === 'linux'
    ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    : execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' })
}

/**
 * Starts a daemon in the background and waits until it answers, at most 30 s. Many may start at once: the
 * daemon's own lock lets one live and all get that one. Throws BAD_CONFIG or DAEMON_UNREACHABLE with the
 * daemon's last words.
 */
export async function startDaemon(start: DaemonStart): Promise<DaemonAddress> {
  const logFile = join(start.home, 'daemon.log')
  const service = (await start.service?.()) ?? null
  const { child, logStart } = spawnDaemon(start, logFile, service)
  let ended: { code: number | null; signal: string | null } | null = null
  child.on('exit', (code, signal) => (ended = { code, signal }))
  child.on('error', (error) => (ended = { code: null, signal: messageOf(error) }))
  const hasEnded = () => ended
  if (child.pid !== undefined) start.onSpawn?.(child.pid)
  child.unref()

  const startedAt = Date.now()
  let told = false
  for (let waitMs = 20; Date.now() - startedAt < READY_MS; waitMs = Math.min(waitMs * 1.5, 200)) {
    await sleep(waitMs)
    const found = await findDaemon(start.home)
    if (found !== null) return found
    const end = hasEnded()
    // systemctl ends well once the daemon serves.
    const isFine = end?.code === EXIT_HOME_TAKEN || (service !== null && end?.code === 0)
    if (end !== null && !isFine) throw startFailed(end, logFile, logStart)
    if (!told && Date.now() - startedAt > 500) {
      told = true
      start.onWait?.()
    }
  }
  const lastWords = readLastWords(logFile, logStart)
  throw new CcmError(
    'DAEMON_UNREACHABLE',
    `The daemon did not answer within ${READY_MS / 1000} s.${lastWords === '' ? '' : `\n${lastWords}`}`,
    { remedy: `Its log: ${logFile}. To watch it start: ccm daemon` },
  )
}

/**
 * Throws DAEMON_UNREACHABLE where an agent would start the daemon, unless a service manager does it. What an agent
 * starts bears its marks and sits in its control group: the daemon would be killed with what is left of the agent.
 */
export async function refuseAgents({
  home,
  env,
  service,
}: Pick<DaemonStart, 'home' | 'env' | 'service'>): Promise<void> {
  const task = env['CCM_TASK_ID'] ?? ''
  if (task === '' || ((await service?.()) ?? null) !== null) return
  throw new CcmError(
    'DAEMON_UNREACHABLE',
    `The agent of task ${task} cannot start the daemon of ${home}, which would end with it as all that an agent starts.`,
    { remedy: 'In a terminal outside of agents: ccm start' },
  )
}

/** What a command says when no daemon answers and none may be started. */
export function notRunning(home: string): CcmError {
  const silent = findSilent(home)
  if (silent !== null)
    return new CcmError('DAEMON_UNREACHABLE', `The daemon (pid ${silent}) runs, but it does not answer.`, {
      remedy: `It may be busy: try again, and look into its log: ccm logs. To end it by hand: kill ${silent}`,
    })
  return new CcmError('DAEMON_UNREACHABLE', `No daemon runs for ${home}.`, {
    remedy: 'Start it with: ccm start',
  })
}

function spawnDaemon(start: DaemonStart, logFile: string, service: string[] | null) {
  const keeper = start.keeper ?? null
  const [node = process.execPath, ...ccm] = start.launcher
  const run = [node, ...NODE_FLAGS, ...ccm, 'daemon', '--background']
  const kept = keeper === null ? run : ['/bin/sh', keeper, start.home, ...run]
  const [program = process.execPath, ...args] = service ?? kept
  let log: number
  try {
    mkdirSync(start.home, { recursive: true, mode: 0o700 })
    log = openSync(logFile, 'a', 0o600)
  } catch (error) {
    throw new CcmError('DAEMON_UNREACHABLE', `The folder of ccm cannot be written: ${messageOf(error)}`, {
      remedy: 'CCM_HOME names another folder.',
      cause: error,
    })
  }
  try {
    const child = spawn(program, args, {
      cwd: start.home,
      detached: true,
      env: {
        ...start.env,
        CCM_HOME: start.home,
        ...(start.configFile !== null && { CCM_CONFIG: start.configFile }),
      },
      stdio: ['ignore', log, log],
    })
    return { child, logStart: fstatSync(log).size }
  } finally {
    closeSync(log)
  }
}

function readAddress(home: string): DaemonAddress | null {
  try {
    const found = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as Record<string, unknown>
    const { pid, host, port, version, socket } = found
    if (typeof pid !== 'number' || typeof port !== 'number' || typeof host !== 'string') return null
    const name = host.includes(':') ? `[${host}]` : host
    const token = readFileSync(join(home, 'token'), 'utf8').trim()
    return {
      pid,
      baseUrl: `http://${name}:${port}`,
      token,
      version: String(version),
      socket: typeof socket === 'string' ? socket : null,
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Nothing there, or half a document; whatever else keeps it from being read may hide a daemon that runs.
    if (code === undefined || code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new CcmError('DAEMON_UNREACHABLE', `The folder of ccm cannot be read: ${messageOf(error)}`, {
      remedy: 'Run ccm as the user whose folder it is, or set CCM_HOME to one of yours.',
      cause: error,
    })
  }
}

function startFailed(
  end: { code: number | null; signal: string | null },
  logFile: string,
  logStart: number,
): CcmError {
  const words = readLastWords(logFile, logStart)
  const how = end.code === null ? `was ended by ${end.signal}` : `ended with exit code ${end.code}`
  const message = words === '' ? `The daemon ${how} at its start.` : words.replace(/^ccm: /, '')
  if (end.code === 78) return new CcmError('BAD_CONFIG', message)
  return new CcmError('DAEMON_UNREACHABLE', `The daemon could not start: ${message}`, {
    remedy: `Its log: ${logFile}`,
  })
}

/** What the daemon printed for people since `from`, at most 20 lines; else the messages of its error log. */
function readLastWords(logFile: string, from: number): string {
  let lines: string[]
  try {
    lines = readFileSync(logFile).subarray(from).toString('utf8').split('\n').filter(Boolean)
  } catch {
    return ''
  }
  const plain = lines.filter((line) => !line.startsWith('{'))
  if (plain.length > 0) return plain.slice(-20).join('\n')
  return lines.flatMap(errorOf).slice(-3).join('\n')
}

function errorOf(line: string): string[] {
  try {
    const entry = JSON.parse(line) as { level?: string; msg?: string; err?: { message?: string } }
    if (entry.level !== 'error' && entry.level !== 'fatal') return []
    return [[entry.msg, entry.err?.message].filter(Boolean).join(': ')]
  } catch {
    return []
  }
}
