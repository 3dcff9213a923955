import { CcmError } from '../core/errors.ts'
import { shellQuote } from './shell.ts'

/** Exit status of the script when the directory could not be entered; as the shell's own for "cannot run". */
export const CANNOT_ENTER = 126
/** What the script leaves when the machine has no room for an agent's processes; no program ends with that. */
export const NO_ROOM = 256

/** Claude Code 2.1.328 and its hooks had 16 at once, threads counted as the kernel does. */
const PROCESSES = 16

const LOGIN_FD = 3

/**
 * The program a window runs: sets the environment, enters the directory, runs Claude Code and leaves its
 * exit status in a file, because tmux forgets it in one of two cases. Everything is a single-quoted word, so
 * no value is ever interpreted; only a positional prompt is visible to other users of the machine, in `ps`.
 * Where a scope was wanted and systemd gave none, it goes on without. Where an agent's processes have no room none is
 * started.
 */
export function startScript(options: {
  environment: Record<string, string>
  dir: string
  argv: string[]
  exitFile: string
  /** A file that Claude Code reads from descriptor 3, whose number this variable tells; it is removed. Null: none. */
  login?: { variable: string; file: string } | null
  /** What runs the script again in a scope of its own; null: it runs where the window is. */
  scope?: { argv: string[]; oomFile: string } | null
  /** Starts the agent's guard; null: it has none. */
  guard?: string | null
}): string {
  const login = options.login ?? null
  const told = login === null ? {} : { [login.variable]: String(LOGIN_FD) }
  const exports = Object.entries({ ...options.environment, ...told }).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new CcmError(
        'BAD_CONFIG',
        `${JSON.stringify(name)} in [claude.env] cannot be the name of a variable.`,
      )
    }
    return `export ${name}=${shellQuote(value)}`
  })
  const command = options.argv.map(shellQuote).join(' ')
  const part = shellQuote(`${options.exitFile}.part`)
  return [
    '# Written by ccm for one attempt; removed when the attempt is over.',
    ...(options.scope == null ? [] : noteScope(options.exitFile)),
    ...makeSureOfRoom(options.exitFile),
    ...(options.scope == null ? [] : inScope(options.scope.argv, options.exitFile)),
    ...(options.guard == null ? [] : [options.guard]),
    'unset TMUX TMUX_PANE',
    ...exports,
    `if cd -- ${shellQuote(options.dir)}; then`,
    ...(login === null ? [`  ${command}`] : withLogin(command, login.file)),
    '  status=$?',
    'else',
    `  status=${CANNOT_ENTER}`,
    'fi',
    ...(options.scope == null ? [] : oomWitness(options.scope.oomFile)),
    `echo "$status" >${part} && mv ${part} ${shellQuote(options.exitFile)}`,
    '',
  ].join('\n')
}

/**
 * With too few processes Claude Code aborts or hangs, and nobody can tell why. So as many are started first, one in the
 * other so that all are there at once (4 ms of CPU with dash). A shell that may start none ends by itself.
 */
function makeSureOfRoom(exitFile: string): string[] {
  return [
    `trap ${shellQuote(`echo ${NO_ROOM} >${shellQuote(exitFile)}`)} EXIT`,
    'room() { [ "$1" -eq 0 ] || (room $(($1 - 1)) && :); }',
    `room ${PROCESSES} || exit`,
    'trap - EXIT',
  ]
}

/**
 * The command has the terminal as its input and the login in a pipe, which is empty once it was read: a file could
 * be opened again through /proc for as long as the descriptor is open.
 */
function withLogin(command: string, file: string): string[] {
  const quoted = shellQuote(file)
  return [
    '  exec 4<&0',
    `  { cat -- ${quoted}; rm -f -- ${quoted}; } | { exec ${command} ${LOGIN_FD}<&0 0<&4 4<&-; }`,
  ]
}

/** Before all else, also the look for room: without this file the script outside takes it that no scope came. */
function noteScope(exitFile: string): string[] {
  return [`[ "\${1-}" != in-scope ] || : >${beganIn(exitFile)}`]
}

function beganIn(exitFile: string): string {
  return shellQuote(`${exitFile}.began`)
}

/** The script starts itself again as the scope's first process; only one that never began there goes on here. */
function inScope(argv: string[], exitFile: string): string[] {
  return [
    'if [ "${1-}" != in-scope ]; then',
    `  ${argv.map(shellQuote).join(' ')} -- /bin/sh "$0" in-scope`,
    `  [ ! -e ${beganIn(exitFile)} ] || exit`,
    'else',
    // Caught, not ignored: the agent would inherit that, and this shell has the exit status to write.
    '  trap : TERM',
    'fi',
  ]
}

/** The control group goes with its last process, so the count is read from inside, before the exit status is told. */
function oomWitness(oomFile: string): string[] {
  const path = (pattern: string) => `"$(sed -n 's/^${pattern}://p' /proc/self/cgroup 2>/dev/null)"`
  return [
    `for events in /sys/fs/cgroup${path('0:')}/memory.events /sys/fs/cgroup/memory${path('[0-9]*:memory')}/memory.oom_control; do`,
    '  case $(cat "$events" 2>/dev/null) in',
    `    *"oom_kill "[1-9]*) [ "\${1-}" != in-scope ] || : >${shellQuote(oomFile)} ;;`,
    '  esac',
    'done',
  ]
}
