import { execa } from 'execa'
import { CcmError } from '../core/errors.ts'
import type { TmuxCall } from './control.ts'

const REMEDY = 'Install tmux 3.2 or newer, for example: apt install tmux, or brew install tmux.'

/** Throws TMUX_MISSING or TMUX_TOO_OLD unless the program is tmux 3.2 or newer. */
export async function checkVersion(call: TmuxCall): Promise<void> {
  const { stdout, exitCode } = await callTmux({ ...call, args: [] }, ['-V'])
  const version = /(\d+)\.(\d+)/.exec(stdout)
  if (exitCode !== 0 || version === null) {
    throw new CcmError('TMUX_MISSING', `${call.command} does not say its version.`, { remedy: REMEDY })
  }
  const [major, minor] = [Number(version[1]), Number(version[2])]
  // OpenBSD's own tmux carries the system's version, 6.9 and up, and is new enough.
  if (major < 3 || (major === 3 && minor < 2)) {
    throw new CcmError('TMUX_TOO_OLD', `${stdout.trim()} is too old: ccm needs 3.2 or newer.`, {
      remedy: REMEDY,
    })
  }
}

const CALL_MS = 10_000

/** One tmux process for one command, for at most ten seconds; throws only when the program cannot be started. */
export async function callTmux(
  call: TmuxCall,
  args: readonly string[],
): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  const running = execa(call.command, [...call.args, ...args], {
    env: call.env,
    extendEnv: false,
    // The server keeps the folder it was started in; it must not pin somebody's disk.
    cwd: '/',
    stdin: 'ignore',
    reject: false,
    timeout: CALL_MS,
    killSignal: 'SIGKILL',
  })
  // Each client hands its output to the server: one that hangs keeps it open after the client was killed.
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => (timer = setTimeout(resolve, CALL_MS + 500, null)))
  const ended = await Promise.race([running, late])
  clearTimeout(timer)
  if (ended === null) {
    running.stdout.destroy()
    running.stderr.destroy()
    return { stdout: '', stderr: `no answer within ${CALL_MS / 1000} s`, exitCode: 1 }
  }
  const { stdout, stderr, exitCode, code, originalMessage } = ended
  if (code === 'ENOENT' || code === 'EACCES') {
    throw new CcmError('TMUX_MISSING', `There is no program ${call.command} in PATH.`, {
      remedy: REMEDY,
    })
  }
  return { stdout: stdout ?? '', stderr: stderr || (originalMessage ?? ''), exitCode: exitCode ?? 1 }
}
