import { shellQuote } from './shell.ts'

/**
 * Hook events that are recorded. Left out: MessageDisplay and FileChanged, which fire for every line that
 * streams or changes; WorktreeCreate and WorktreeRemove, whose hook would have to do the work itself.
 */
const RECORDED = [
  'SessionStart',
  'SessionEnd',
  'UserPromptSubmit',
  'UserPromptExpansion',
  'PreToolUse',
  'PostToolUse',
  'PostToolUseFailure',
  'PostToolBatch',
  'PermissionRequest',
  'PermissionDenied',
  'Notification',
  'Stop',
  'StopFailure',
  'SubagentStart',
  'SubagentStop',
  'PreCompact',
  'PostCompact',
  'PreModelSwitch',
  'PostModelSwitch',
  'DirectoryAdded',
  'ConfigChange',
  'CwdChanged',
  'InstructionsLoaded',
  'TaskCreated',
  'TaskCompleted',
  'TeammateIdle',
  'Elicitation',
  'ElicitationResult',
]

/** A held question may take a day. */
const ASK_TIMEOUT_S = 86_400

/**
 * The settings file of one attempt (`--settings`): our keys only, so that everything else of the user's own
 * settings still holds. The renderer is pinned, because it otherwise changes by itself between launches.
 */
export function attemptSettings(options: {
  hookScript: string
  spoolFolder: string
  /** Where a permission request is held open, with the attempt's secret; null: only the dialog asks. */
  ask: { url: string; secret: string } | null
}): object {
  const record = {
    type: 'command',
    command: `/bin/sh ${shellQuote(options.hookScript)} ${shellQuote(options.spoolFolder)}`,
    timeout: 5,
  }
  const hooks: Record<string, { hooks: object[] }[]> = {}
  for (const name of RECORDED) hooks[name] = [{ hooks: [record] }]
  if (options.ask !== null) {
    const headers = { Authorization: `Bearer ${options.ask.secret}` }
    const ask = { type: 'http', url: options.ask.url, headers, timeout: ASK_TIMEOUT_S }
    hooks['PermissionRequest'] = [{ hooks: [record, ask] }]
  }
  return {
    tui: 'default',
    skipDangerousModePermissionPrompt: true,
    // Asked by a dialog in the middle of the start otherwise. Who trusts a project trusts its tool servers, and is told so.
    enableAllProjectMcpServers: true,
    autoContinueAtUsageLimit: false,
    hooks,
  }
}
