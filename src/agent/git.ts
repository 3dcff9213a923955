import { execa } from 'execa'

/** What a git call may be limited and redirected by. */
export type GitOptions = {
  signal?: AbortSignal | undefined
  timeoutMs: number
  /** GIT_* variables of this call; none of the caller's own reach git. */
  env?: Record<string, string>
}

/** `code` is null when git was killed or could not be started; `timedOut` says that it took too long. */
export type GitReply = { code: number | null; stdout: string; stderr: string; timedOut: boolean }

/**
 * Settings that win over every configuration file: nothing of the repository's runs, nothing is fetched, asked
 * or tidied up. Clean filters stay (a tree is wrong without them), and they are programs: only call this in a
 * directory a person trusts.
 */
const SETTINGS = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.untrackedCache=false',
  'core.splitIndex=false',
  'core.safecrlf=false',
  'core.fsync=none',
  'core.looseCompression=0',
  'advice.addEmbeddedRepo=false',
  'credential.helper=',
  'protocol.allow=never',
  'submodule.recurse=false',
  'gc.auto=0',
  'maintenance.auto=false',
].flatMap((setting) => ['-c', setting])

/** Runs git in `dir` with a small environment of its own. Never throws; stdout is UTF-8, at most 64 MiB. */
export async function runGit(dir: string, args: readonly string[], options: GitOptions): Promise<GitReply> {
  const inherited = ['PATH', 'HOME', 'XDG_CONFIG_HOME'].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  const child = execa('git', ['--no-pager', ...SETTINGS, ...args], {
    cwd: dir,
    extendEnv: false,
    env: {
      ...Object.fromEntries(inherited),
      LC_ALL: 'C',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: 'false',
      GIT_NO_LAZY_FETCH: '1',
      ...options.env,
    },
    stdin: 'ignore',
    stripFinalNewline: false,
    reject: false,
    maxBuffer: 64 * 1024 * 1024,
    // A group of its own: a filter program would outlive git and hold the pipes open.
    detached: true,
  })
  let timedOut = false
  const kill = (): void => killGroup(child.pid)
  const timer = setTimeout(() => {
    timedOut = true
    kill()
  }, options.timeoutMs)
  options.signal?.addEventListener('abort', kill, { once: true })
  if (options.signal?.aborted) kill()
  const result = await child
  clearTimeout(timer)
  options.signal?.removeEventListener('abort', kill)
  // Too much output ends git alone.
  if (result.isMaxBuffer) kill()
  return {
    code: result.isMaxBuffer ? null : (result.exitCode ?? null),
    stdout: result.stdout,
    stderr: result.stderr,
    timedOut,
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // The group is gone already.
  }
}

/** The work tree that holds `dir`; null where there is none, git is missing, or the owner is another user. */
export async function gitTopLevel(dir: string): Promise<string | null> {
  const { code, stdout } = await runGit(dir, ['rev-parse', '--show-toplevel'], { timeoutMs: 5_000 })
  const path = stdout.replace(/\n$/, '')
  return code === 0 && path !== '' ? path : null
}
