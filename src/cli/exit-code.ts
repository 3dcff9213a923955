import type { ErrorCode } from '../core/errors.ts'
import type { TaskStatus } from '../core/task/task.ts'

/** What `ccm` exits with. Scripts rely on these numbers; they never change. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  cancelled: 3,
  dead: 4,
  waits: 5,
  unreachable: 69,
  badConfig: 78,
  /** Ctrl-C left `ccm run` or `ccm events --follow`; the task goes on. */
  detached: 130,
} as const

const BY_STATUS: Record<Exclude<TaskStatus, 'queued' | 'running'>, number> = {
  succeeded: EXIT.ok,
  failed: EXIT.failed,
  cancelled: EXIT.cancelled,
  dead: EXIT.dead,
}

/** The exit code of a task that is over. */
export function exitCodeOf(status: Exclude<TaskStatus, 'queued' | 'running'>): number {
  return BY_STATUS[status]
}

// With one of these the daemon cannot run, whichever command finds it out.
const UNAVAILABLE: ErrorCode[] = [
  'DAEMON_UNREACHABLE',
  'TMUX_MISSING',
  'TMUX_TOO_OLD',
  'CLAUDE_MISSING',
  'CLAUDE_TOO_OLD',
  'LOCKED',
  'PORT_TAKEN',
  'DISK_FULL',
  'DATABASE_UNUSABLE',
  'DATABASE_TOO_NEW',
]

/** The exit code of an error: 2 for what the caller typed, 69 when no daemon can serve, 78 for the configuration. */
export function exitCodeOfError(code: ErrorCode): number {
  if (code === 'BAD_CONFIG') return EXIT.badConfig
  if (code === 'BAD_INPUT' || code === 'DIR_UNUSABLE') return EXIT.usage
  return UNAVAILABLE.includes(code) ? EXIT.unreachable : EXIT.failed
}
