import { rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { callTmux, checkVersion } from './call.ts'
import type { Run, ServerIdentity } from './command.ts'
import type { TmuxCall } from './control.ts'
import { checkSocketPath, prepareFolder } from './folder.ts'
import { quote } from './quote.ts'
import { createRunner } from './runner.ts'
import { SERVER_OPTIONS } from './settings.ts'

/** Name of the one session all agents' windows belong to, and of the window that keeps it alive. */
const SESSION = 'ccm'
const KEEPER = 'echo "ccm: this window keeps the session alive; the agents are in the others."; exec cat'
const SIZE = ['-x', '200', '-y', '50']
const NEW_SESSION = [
  'new-session',
  '-d',
  '-s',
  SESSION,
  '-n',
  SESSION,
  ...SIZE,
  '--',
  '/bin/sh',
  '-c',
  KEEPER,
]

export type TmuxOptions = {
  /** Folder of the socket and the configuration; created with mode 0700 when it is missing. */
  folder: string
  /** The whole environment of the server and thereby of every window; PATH finds tmux. TMUX* is removed. */
  env: Readonly<Record<string, string | undefined>>
  /** The tmux program; default `tmux` from PATH. */
  command?: string
  /** How long a reply may stay out before the control client is replaced; default 5000. */
  stallMs?: number
  /**
   * Starts a server with this command elsewhere, in another control group say, when none answers; `isUp` asks. When
   * none answers afterwards either, it is started from here.
   */
  host?: ((argv: string[], isUp: () => Promise<boolean>) => Promise<void>) | undefined
  /** Hears, one sentence each, that the control client broke; calls go on without it. */
  onTrouble?: (message: string) => void
}

/** Our own tmux server. It outlives this process: agents survive a restart of the daemon. */
export type TmuxServer = {
  run: Run
  socketPath: string
  /** The server's process as of the last `start`. */
  identity: () => ServerIdentity
  /**
   * Starts the server, or uses the one that already runs on our socket. Call it again after TMUX_FAILED: an
   * identity that changed means that every window of before is gone.
   */
  start: () => Promise<ServerIdentity>
  /** The command by which a person attaches, to that window when one is given: program and arguments. */
  attachArgv: (windowId?: string) => string[]
  /** Calls back when the control client ended and nobody closed it: as a rule, its server did. */
  onLost: (listener: () => void) => void
  /** Process id of the control client; null while there is none. */
  controlPid: () => number | null
  /** Ends our client; the server and its windows live on. */
  close: () => Promise<void>
  /** Ends the server and every program in its windows that obeys a hang-up. */
  kill: () => Promise<void>
  [Symbol.asyncDispose]: () => Promise<void>
}

/**
 * Opens our server on its own socket, untouched by the user's tmux.conf and TMUX variables. Throws
 * TMUX_MISSING, TMUX_TOO_OLD, BAD_CONFIG (folder or socket path unusable), TMUX_FAILED. Disposing closes only
 * the client.
 */
export async function openTmuxServer(options: TmuxOptions): Promise<TmuxServer> {
  const folder = resolve(options.folder)
  const socketPath = join(folder, 'tmux.sock')
  const configPath = join(folder, 'tmux.conf')
  checkSocketPath(socketPath)
  const call: TmuxCall = {
    command: options.command?.includes('/') ? resolve(options.command) : (options.command ?? 'tmux'),
    // -u: without it tmux prints `_` for every character beyond ASCII when no UTF-8 locale is set.
    args: ['-u', '-S', socketPath, '-f', configPath],
    env: cleanEnvironment(options.env),
  }
  await prepareFolder(folder)

  const listeners = new Set<() => void>()
  const runner = createRunner(call, `=${SESSION}:`, {
    stallMs: options.stallMs ?? 5000,
    onTrouble: options.onTrouble ?? (() => undefined),
    onLost: () => listeners.forEach((listener) => listener()),
  })
  let identity: ServerIdentity
  let isNew = false

  const start = async (): Promise<ServerIdentity> => {
    await writeFile(configPath, SERVER_OPTIONS.map((option) => `${option.map(quote).join(' ')}\n`).join(''), {
      mode: 0o600,
    })
    if (options.host !== undefined) await hostSession(call, options.host)
    const { adopted, ...found } = await startSession(call)
    identity = found
    isNew = !adopted
    runner.pin(identity)
    // A server that an older ccm started still has that version's options.
    if (adopted) await runner.run(SERVER_OPTIONS)
    return identity
  }
  // Side by side, because each process costs some milliseconds of the daemon's start.
  const [version, started] = await Promise.allSettled([checkVersion(call), start()])
  if (version.status === 'rejected') {
    await runner.close()
    // One that was there already may have agents at work.
    if (isNew) await endServer(call)
    throw version.reason
  }
  if (started.status === 'rejected') throw started.reason

  return {
    run: runner.run,
    socketPath,
    identity: () => identity,
    start,
    attachArgv: (windowId) => [
      call.command,
      '-u',
      '-S',
      socketPath,
      'attach-session',
      '-t',
      windowId === undefined ? `=${SESSION}:` : `=${SESSION}:${windowId}`,
    ],
    onLost: (listener) => void listeners.add(listener),
    controlPid: runner.controlPid,
    close: runner.close,
    kill: async () => {
      await runner.close()
      await endServer(call)
      await rm(socketPath, { force: true })
    },
    [Symbol.asyncDispose]: runner.close,
  }
}

function cleanEnvironment(env: TmuxOptions['env']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('TMUX'),
    ),
  )
}

async function hostSession(call: TmuxCall, host: NonNullable<TmuxOptions['host']>): Promise<void> {
  const isUp = async () => (await callTmux(call, ['-N', 'has-session', '-t', `=${SESSION}`])).exitCode === 0
  if (!(await isUp())) await host([call.command, ...call.args, ...NEW_SESSION], isUp)
}

/** `adopted`: the session was already there. */
async function startSession(call: TmuxCall): Promise<ServerIdentity & { adopted: boolean }> {
  const ask = ['display-message', '-p', '#{pid} #{start_time}']
  const made = await callTmux(call, [...NEW_SESSION, ';', ...ask])
  const adopted = made.exitCode !== 0
  if (adopted && !made.stderr.startsWith('duplicate session')) throw failed('did not start', made.stderr)
  const asked = adopted ? await callTmux(call, ['-N', ...ask]) : made
  const [pid, startedS] = asked.stdout.split(' ').map(Number)
  if (asked.exitCode !== 0 || !pid || !startedS) throw failed('does not say who it is', asked.stderr)
  return { pid, startedAt: startedS * 1000, adopted }
}

/**
 * `kill-server` waits for every client to take its last output. A control client whose daemon was killed in
 * the middle of a reply never does (seen in 3.3a, the server then stays for ever), so such clients go first.
 */
async function endServer(call: TmuxCall): Promise<void> {
  const asked = await callTmux(call, ['-N', 'list-clients', '-F', '#{client_control_mode} #{client_pid}'])
  for (const [, pid] of asked.stdout.matchAll(/^1 (\d+)$/gm)) killIfThere(Number(pid))
  await callTmux(call, ['-N', 'kill-server'])
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function failed(what: string, why: string): CcmError {
  return new CcmError('TMUX_FAILED', `The tmux server ${what}: ${why.trim() || 'no reason given'}.`)
}
