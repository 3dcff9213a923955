import { execa } from 'execa'
import { chmod, lstat, mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CcmError, messageOf } from '../core/errors.ts'
import type { Run, ServerIdentity } from './command.ts'
import type { TmuxCall } from './control.ts'
import { quote } from './quote.ts'
import { createRunner } from './runner.ts'
import { SERVER_OPTIONS } from './settings.ts'

/** Name of the one session all agents' windows belong to, and of the window that keeps it alive. */
export const SESSION = 'ccm'

/** macOS allows 104 bytes with the final NUL, Linux 108. */
const SOCKET_PATH_MAX_BYTES = 103

export type TmuxOptions = {
  /** Folder of the socket and the configuration; created with mode 0700 when it is missing. */
  folder: string
  /** The whole environment of the server and thereby of every window; PATH finds tmux. TMUX* is removed. */
  env: Readonly<Record<string, string | undefined>>
  /** The tmux program; default `tmux` from PATH. */
  command?: string
  /** How long a reply may stay out before the control client is replaced; default 5000. */
  stallMs?: number
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
  await checkVersion(call)
  await prepareFolder(folder)

  const runner = createRunner(call, `=${SESSION}:`, {
    stallMs: options.stallMs ?? 5000,
    onTrouble: options.onTrouble ?? (() => undefined),
  })
  let identity: ServerIdentity

  const start = async (): Promise<ServerIdentity> => {
    await writeFile(configPath, SERVER_OPTIONS.map((option) => `${option.map(quote).join(' ')}\n`).join(''), {
      mode: 0o600,
    })
    const adopted = await startSession(call)
    const asked = await callTmux(call, ['-N', 'display-message', '-p', '#{pid} #{start_time}'])
    const [pid, startedS] = asked.stdout.split(' ').map(Number)
    if (asked.exitCode !== 0 || !pid || !startedS) throw failed('does not say who it is', asked.stderr)
    identity = { pid, startedAt: startedS * 1000 }
    runner.pin(identity)
    // A server that an older ccm started still has that version's options.
    if (adopted) await runner.run(SERVER_OPTIONS)
    return identity
  }
  await start()

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
    controlPid: runner.controlPid,
    close: runner.close,
    kill: async () => {
      await runner.close()
      await callTmux(call, ['-N', 'kill-server'])
      await rm(socketPath, { force: true })
    },
    [Symbol.asyncDispose]: runner.close,
  }
}

function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (bytes <= SOCKET_PATH_MAX_BYTES) return
  throw new CcmError(
    'BAD_CONFIG',
    `The path of the tmux socket has ${bytes} bytes (${path}); systems allow ${SOCKET_PATH_MAX_BYTES}.`,
    { remedy: 'Set CCM_HOME to a folder with a shorter path.' },
  )
}

function cleanEnvironment(env: TmuxOptions['env']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('TMUX'),
    ),
  )
}

async function prepareFolder(folder: string): Promise<void> {
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

async function checkVersion(call: TmuxCall): Promise<void> {
  const remedy = 'Install tmux 3.2 or newer, for example: apt install tmux, or brew install tmux.'
  const { stdout, exitCode } = await callTmux({ ...call, args: [] }, ['-V'])
  const version = /(\d+)\.(\d+)/.exec(stdout)
  if (exitCode !== 0 || version === null) {
    throw new CcmError('TMUX_MISSING', `${call.command} does not say its version.`, { remedy })
  }
  const [major, minor] = [Number(version[1]), Number(version[2])]
  // OpenBSD's own tmux carries the system's version, 6.9 and up, and is new enough.
  if (major < 3 || (major === 3 && minor < 2)) {
    throw new CcmError('TMUX_TOO_OLD', `${stdout.trim()} is too old: ccm needs 3.2 or newer.`, { remedy })
  }
}

/** Answers true when the session was already there. */
async function startSession(call: TmuxCall): Promise<boolean> {
  const keeper = 'echo "ccm: this window keeps the session alive; the agents are in the others."; exec cat'
  const session = ['new-session', '-d', '-s', SESSION, '-n', SESSION, '-x', '200', '-y', '50']
  const made = await callTmux(call, [...session, '--', '/bin/sh', '-c', keeper])
  if (made.exitCode === 0) return false
  if (made.stderr.startsWith('duplicate session')) return true
  throw failed('did not start', made.stderr)
}

async function callTmux(
  call: TmuxCall,
  args: readonly string[],
): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  const { stdout, stderr, exitCode, code, originalMessage } = await execa(
    call.command,
    [...call.args, ...args],
    {
      env: call.env,
      extendEnv: false,
      // The server keeps the folder it was started in; it must not pin somebody's disk.
      cwd: '/',
      stdin: 'ignore',
      reject: false,
      timeout: 10_000,
    },
  )
  if (code === 'ENOENT' || code === 'EACCES') {
    throw new CcmError('TMUX_MISSING', `There is no program ${call.command} in PATH.`, {
      remedy: 'Install tmux 3.2 or newer, for example: apt install tmux, or brew install tmux.',
    })
  }
  return { stdout: stdout ?? '', stderr: stderr || (originalMessage ?? ''), exitCode: exitCode ?? 1 }
}

function failed(what: string, why: string): CcmError {
  return new CcmError('TMUX_FAILED', `The tmux server ${what}: ${why.trim() || 'no reason given'}.`)
}
