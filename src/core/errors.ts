/** The stable names of what can go wrong; programs may match on them. */
export type ErrorCode =
  | 'BAD_CONFIG'
  | 'BAD_INPUT'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'TMUX_MISSING'
  | 'TMUX_TOO_OLD'
  | 'TMUX_FAILED'
  | 'CLAUDE_MISSING'
  | 'CLAUDE_TOO_OLD'
  | 'DIR_UNUSABLE'
  | 'WORKSPACE_FAILED'
  | 'SETUP_FAILED'
  | 'DIR_BUSY'
  | 'LOCKED'
  | 'PORT_TAKEN'
  | 'DISK_FULL'
  | 'DATABASE_UNUSABLE'
  | 'DATABASE_TOO_NEW'
  | 'DAEMON_UNREACHABLE'
  | 'QUEUE_FULL'
  | 'SUPABASE_UNREACHABLE'
  | 'SUPABASE_REFUSED'
  | 'SUPABASE_KEY'
  | 'STALE_LEASE'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'UNAVAILABLE'
  | 'TOO_MANY_REQUESTS'
  | 'INTERNAL'

/**
 * A broken world, with a stable `code`. `message` says what happened and why; `remedy`, where there is
 * one, names the command or setting that helps, as a full sentence.
 */
export class CcmError extends Error {
  readonly code: ErrorCode
  readonly remedy: string | undefined
  /** When the same may succeed, in milliseconds from now; undefined where nobody knows. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { remedy?: string; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'CcmError'
    this.code = code
    this.remedy = options.remedy
    this.retryAfterMs = options.retryAfterMs
  }
}

/** Any thrown value as a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Of an error and those of the ends that came after it: the one to tell. */
export function firstOf(error: unknown): unknown {
  return error instanceof SuppressedError ? firstOf(error.suppressed) : error
}
