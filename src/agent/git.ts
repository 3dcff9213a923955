import { execa } from 'execa'

/** What a git call may be limited and redirected by. */
export type GitOptions = {
  signal?: AbortSignal | undefined
  timeoutMs: number
  /** GIT_* variables of this call; none of the caller's own reach git. */
  env?: Record<string, string>
  /** Settings of this call, `key=value`, after ours. */
  config?: readonly string[]
  /** What is written has to survive a power cut: for refs and commits of the user's repository. */
  durable?: boolean
  /** What git reads. */
  input?: string
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
  'advice.addEmbeddedRepo=false',
  'credential.helper=',
  'protocol.allow=never',
  'submodule.recurse=false',
  'gc.auto=0',
  'maintenance.auto=false',
  'commit.gpgSign=false',
  'merge.verifySignatures=false',
  'status.submoduleSummary=false',
  // What is new in a tree keeps it, also where the user does not want to see it.
  'status.showUntrackedFiles=normal',
]
/** Left alone, git brings no single object to the disk: its branch would name a commit that is gone (measured on 2.39). */
const DURABLE_SETTINGS = ['core.fsync=committed,reference']
/** Only for what may be lost and made again. */
const FAST_SETTINGS = ['core.fsync=none', 'core.looseCompression=0']

/** Runs git in `dir` with a small environment of its own. Never throws; stdout is UTF-8, at most 64 MiB. */
export function runGit(dir: string, args: readonly string[], options: GitOptions): Promise<GitReply> {
  return run(dir, 'git', ['--no-pager', ...args], options)
}

/**
 * Runs a constant shell script of git calls the same way; `args` are its `$1`, `$2`. Starting a process from
 * here costs more than git's own work, so several calls in a row are cheaper as one.
 */
export function runGitScript(
  dir: string,
  script: string,
  args: readonly string[],
  options: GitOptions,
): Promise<GitReply> {
  return run(dir, 'sh', ['-c', script, 'sh', ...args], options)
}

async function run(
  dir: string,
  program: string,
  args: readonly string[],
  options: GitOptions,
): Promise<GitReply> {
  const inherited = ['PATH', 'HOME', 'XDG_CONFIG_HOME'].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  const child = execa(program, args, {
    cwd: dir,
    extendEnv: false,
    env: {
      ...Object.fromEntries(inherited),
      LC_ALL: 'C',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: 'false',
      GIT_NO_LAZY_FETCH: '1',
      ...settingsAsVariables([
        ...SETTINGS,
        ...(options.durable === true ? DURABLE_SETTINGS : FAST_SETTINGS),
        ...(options.config ?? []),
      ]),
      ...options.env,
    },
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
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

/** Variables instead of `-c` options, so that every git call of a script has them; git 2.31 and newer. */
function settingsAsVariables(settings: readonly string[]): Record<string, string> {
  const pairs = settings.flatMap((setting, index) => {
    const [key = '', ...value] = setting.split('=')
    return [
      [`GIT_CONFIG_KEY_${index}`, key],
      [`GIT_CONFIG_VALUE_${index}`, value.join('=')],
    ] as const
  })
  return { GIT_CONFIG_COUNT: String(settings.length), ...Object.fromEntries(pairs) }
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
