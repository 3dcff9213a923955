import { PHASES, PLAIN } from '../core/record/hook-kind.ts'

/**
 * Not recorded. A hook for a worktree replaces what Claude Code itself would do. MessageDisplay comes ten times a
 * second while text streams (measured), a process each, and tells nothing that Stop and the transcript do not.
 */
const NOT_RECORDED = ['WorktreeCreate', 'WorktreeRemove', 'MessageDisplay']

/** Hook events that are recorded: every other one that Claude Code has. */
export const RECORDED = [...Object.keys(PHASES), ...Object.keys(PLAIN)].filter(
  (name) => !NOT_RECORDED.includes(name),
)

/**
 * Events that come with every tool call: there the agent does not wait until the event is written, only until its
 * order is fixed. At others it does: a client that ends soon after kills hooks it does not wait for.
 */
const EARLY = ['PreToolUse', 'PostToolUse', 'PostToolUseFailure', 'PostToolBatch']

/** Claude Code must not give up before ccm lets go: a closed connection would read as an answer in the window. */
const ASK_MARGIN_S = 60

/** A look of the rules waits for nobody, but for a daemon that begins. */
const LOOK_MARGIN_S = 60

/**
 * The settings file of one attempt (`--settings`): our keys only, so that everything else of the user's own
 * settings still holds. The renderer is pinned, because it otherwise changes by itself between launches.
 */
export function attemptSettings(options: {
  hookScript: string
  spoolFolder: string
  /** Where the script counts what it cannot write. */
  lostFiles?: string[]
  /** Where a permission request is held open, with the attempt's secret; null: only the dialog asks. */
  ask: { url: string; secret: string; holdMs: number } | null
  /** Nothing of the project's own runs. */
  restricted?: boolean
  /** Rules of things that are asked for even where the permission mode would not. */
  askFor?: string[]
  /** Names of the tools, as a regular expression, whose every use the rules look at before it; null: none. */
  lookAt?: string | null
}): object {
  const record = (name: string) => ({
    type: 'command',
    // With `args` Claude Code starts no shell of its own around it.
    command: '/bin/sh',
    args: [
      options.hookScript,
      ...(EARLY.includes(name) ? ['--early'] : []),
      options.spoolFolder,
      ...(options.lostFiles ?? []),
    ],
    // It ends by itself within a second; this is for a disk that keeps even the shell from starting.
    timeout: 2,
  })
  const hooks: Record<string, { matcher?: string; hooks: object[] }[]> = {}
  for (const name of RECORDED) hooks[name] = [{ hooks: [record(name)] }]
  if (options.ask !== null) {
    const { url, secret, holdMs } = options.ask
    const held = { type: 'http', url, headers: { Authorization: `Bearer ${secret}` } }
    const ask = { ...held, timeout: Math.ceil(holdMs / 1000) + ASK_MARGIN_S }
    hooks['PermissionRequest'] = [{ hooks: [record('PermissionRequest'), ask] }]
    const { lookAt = null } = options
    if (lookAt !== null)
      hooks['PreToolUse']?.push({ matcher: lookAt, hooks: [{ ...held, timeout: LOOK_MARGIN_S }] })
  }
  return {
    tui: 'default',
    skipDangerousModePermissionPrompt: true,
    // Asked by a dialog in the middle of the start otherwise. Who trusts a project trusts its tool servers, and is told so.
    enableAllProjectMcpServers: options.restricted !== true,
    autoContinueAtUsageLimit: false,
    ...(options.askFor === undefined || options.askFor.length === 0
      ? {}
      : { permissions: { ask: options.askFor } }),
    hooks,
  }
}
