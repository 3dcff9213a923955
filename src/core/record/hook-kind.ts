import { clip } from '../clip.ts'
import { PERMISSION_DECIDED, type HookEvent, type HookPayload } from '../agent/hook-event.ts'
import { endedExitCode, linesChanged } from './tool-block.ts'

/** The general name of a tool event, whatever the tool. */
export type ToolPhase = 'tool_use_start' | 'tool_use_complete' | 'tool_use_error'

/** What a stored event was; docs/events.md has a line for each. */
export type EventKind =
  | ToolPhase
  | 'bash_command'
  | 'bash_output'
  | 'file_read'
  | 'file_edit'
  | 'file_write'
  | (typeof PLAIN)[keyof typeof PLAIN]
  | (typeof OWN)[keyof typeof OWN]
  | 'permission_granted'
  | 'unreadable'
  | 'unknown'

/** The typed columns of an event, from its payload. Times are ms since 1970. */
export type EventColumns = {
  /** Claude Code's id of the subagent that acted; null: the agent itself. */
  agentId: string | null
  kind: EventKind
  phase: ToolPhase | null
  tool: string | null
  toolUseId: string | null
  path: string | null
  /** When what the event tells of began. */
  started: number
  durationMs: number | null
  exitCode: number | null
  /** What only this kind has; null for most. */
  detail: FileDetail | CommandDetail | null
}

/** A hook event as it stands in the record, with its typed columns. */
export type RecordedEvent = HookEvent &
  EventColumns & {
    /** Bytes of the payload as it came. */
    size: number
    truncated: boolean
    /** Of the whole payload as it came; null unless it was truncated. */
    sha256: string | null
    /** Why the event is not trusted to be what it says; null: nothing odd about it. */
    suspect: Suspicion | null
  }

/** Another session's event, a file from the future, or one under a name that only ccm itself writes. */
export type Suspicion = 'foreign-session' | 'future-time' | 'forged'

/** Whether an event is the attempt's own, so that it may move its state. A file from the future only has an odd date. */
export function isOwn(suspect: Suspicion | null): boolean {
  return suspect === null || suspect === 'future-time'
}

/** Of a file that a tool read or changed; null where the payload does not say. Hashes are of the text as Claude Code has it. */
export type FileDetail = {
  old_sha256: string | null
  new_sha256: string | null
  lines_added: number | null
  lines_removed: number | null
  /** Bytes of the text read, or of the file after the change. */
  size: number | null
}

/** Of a command; the heads are the first HEAD_CHARS characters, null before it ended. */
export type CommandDetail = {
  command: string | null
  cwd: string | null
  stdout: string | null
  stderr: string | null
}

export const HEAD_CHARS = 1000
/** Of a command, a path or a name. */
const TEXT_CHARS = 4096

/** Hook events with a kind of their own, whatever is in them. */
export const PLAIN = {
  SessionStart: 'session_start',
  SessionEnd: 'session_complete',
  StopFailure: 'session_error',
  Setup: 'setup',
  Stop: 'turn_complete',
  UserPromptSubmit: 'prompt_submitted',
  UserPromptExpansion: 'prompt_expanded',
  PostToolBatch: 'tool_batch',
  PermissionRequest: 'permission_asked',
  PermissionDenied: 'permission_denied',
  Notification: 'notification',
  SubagentStart: 'subagent_start',
  SubagentStop: 'subagent_stop',
  TeammateIdle: 'teammate_idle',
  TaskCreated: 'task_created',
  TaskCompleted: 'task_completed',
  PreCompact: 'compaction_start',
  PostCompact: 'compaction_complete',
  PreModelSwitch: 'model_switch_start',
  PostModelSwitch: 'model_switch_complete',
  DirectoryAdded: 'directory_added',
  ConfigChange: 'config_changed',
  CwdChanged: 'cwd_changed',
  FileChanged: 'file_changed',
  InstructionsLoaded: 'instructions_loaded',
  MessageDisplay: 'message_displayed',
  Elicitation: 'elicitation_asked',
  ElicitationResult: 'elicitation_answered',
  WorktreeCreate: 'worktree_created',
  WorktreeRemove: 'worktree_removed',
} as const

/** Hook events of tools: their kind depends on the tool. */
export const PHASES = {
  PreToolUse: 'tool_use_start',
  PostToolUse: 'tool_use_complete',
  PostToolUseFailure: 'tool_use_error',
} as const satisfies Record<string, ToolPhase>

/** Events that ccm itself adds to the record, by the name in `hook_event_name`. */
export const OWN = { CcmEventsLost: 'events_lost' } as const

const FILE_TOOLS: Readonly<Record<string, 'file_read' | 'file_edit' | 'file_write'>> = {
  Read: 'file_read',
  Edit: 'file_edit',
  MultiEdit: 'file_edit',
  NotebookEdit: 'file_edit',
  Write: 'file_write',
}

/**
 * What an event was. Total: of an odd payload what can be read is taken. `sha256` gives the hex digest of a
 * text's UTF-8; null where the payload is not whole, and then no hashes and sizes are told.
 */
export function columnsOf(
  payload: HookPayload,
  at: number,
  sha256: ((text: string) => string) | null,
): EventColumns {
  const name = textOf(payload.hook_event_name)
  const phase = name !== null && Object.hasOwn(PHASES, name) ? PHASES[name as keyof typeof PHASES] : null
  const tool = shortOf(payload.tool_name)
  const input = recordOf(payload.tool_input)
  const durationMs = countOf(payload.duration_ms)
  const common = {
    agentId: shortOf(payload.agent_id),
    phase,
    tool,
    toolUseId: shortOf(payload.tool_use_id),
    path:
      shortOf(input['file_path']) ??
      shortOf(input['notebook_path']) ??
      shortOf(payload['file_path']) ??
      shortOf(payload['directory']),
    started: durationMs === null ? at : at - durationMs,
    durationMs,
    exitCode: null,
    detail: null,
  }
  if (name === PERMISSION_DECIDED) {
    const { decision } = payload
    const kind =
      decision === 'granted' || decision === 'denied'
        ? (`permission_${decision}` as const)
        : 'permission_asked'
    return { ...common, kind }
  }
  if (phase === null) return { ...common, kind: plainKind(name) }
  if (tool === 'Bash') {
    const detail = commandDetail(payload, input, phase)
    if (phase === 'tool_use_start') return { ...common, kind: 'bash_command', detail }
    return { ...common, kind: 'bash_output', exitCode: exitCodeOf(payload, phase), detail }
  }
  const fileKind = tool !== null && Object.hasOwn(FILE_TOOLS, tool) ? FILE_TOOLS[tool] : undefined
  // Only what was done counts: a file whose edit failed was not edited.
  if (fileKind === undefined || phase !== 'tool_use_complete') return { ...common, kind: phase }
  return { ...common, kind: fileKind, detail: fileDetail(fileKind, payload, input, sha256) }
}

function plainKind(name: string | null): EventKind {
  if (name === null || name === 'Unreadable') return 'unreadable'
  if (Object.hasOwn(PLAIN, name)) return PLAIN[name as keyof typeof PLAIN]
  if (Object.hasOwn(OWN, name)) return OWN[name as keyof typeof OWN]
  return 'unknown'
}

function exitCodeOf(payload: HookPayload, phase: ToolPhase): number | null {
  if (phase === 'tool_use_error')
    return endedExitCode({
      error: textOf(payload.error) ?? 'failed',
      interrupted: payload['is_interrupt'] === true,
    })
  return endedExitCode({ response: payload.tool_response })
}

function commandDetail(
  payload: HookPayload,
  input: Record<string, unknown>,
  phase: ToolPhase,
): CommandDetail {
  const response = recordOf(payload.tool_response)
  const head = (value: unknown) => textOf(value)?.slice(0, HEAD_CHARS) ?? null
  return {
    command: shortOf(input['command']),
    cwd: shortOf(payload.cwd),
    stdout: phase === 'tool_use_complete' ? head(response['stdout']) : null,
    // Of a command that failed Claude Code has one text: its exit code and all that it wrote.
    stderr: phase === 'tool_use_error' ? head(payload.error) : head(response['stderr']),
  }
}

function fileDetail(
  kind: 'file_read' | 'file_edit' | 'file_write',
  payload: HookPayload,
  input: Record<string, unknown>,
  sha256: ((text: string) => string) | null,
): FileDetail {
  const response = recordOf(payload.tool_response)
  const before =
    kind === 'file_read' ? wholeText(recordOf(response['file'])) : textOf(response['originalFile'])
  const after = kind === 'file_read' ? null : textAfter(kind, response, input, before)
  const hash = (text: string | null) => (text === null || sha256 === null ? null : sha256(text))
  // Of a payload that is not whole they would be the lines of a part.
  const [added, removed] =
    kind === 'file_read' || sha256 === null ? [null, null] : linesChanged(response, input)
  const sized = kind === 'file_read' ? textOf(recordOf(response['file'])['content']) : after
  return {
    old_sha256: hash(before),
    new_sha256: hash(after),
    lines_added: added,
    lines_removed: removed,
    size: sized === null || sha256 === null ? null : utf8Bytes(sized),
  }
}

/** A file's text, when all of it was read. */
function wholeText(file: Record<string, unknown>): string | null {
  return file['startLine'] === 1 && file['numLines'] === file['totalLines'] ? textOf(file['content']) : null
}

/** A file's text after the change, where the payload determines it. */
function textAfter(
  kind: 'file_edit' | 'file_write',
  response: Record<string, unknown>,
  input: Record<string, unknown>,
  before: string | null,
): string | null {
  // A person changed the text in the dialog: what was written is in no field.
  if (response['userModified'] === true) return null
  if (kind === 'file_write') return textOf(response['content']) ?? textOf(input['content'])
  const updated = textOf(response['updated_file'])
  if (updated !== null) return updated
  const [from, to] = [textOf(response['oldString']), textOf(response['newString'])]
  if (before === null || from === null || to === null || from === '' || !before.includes(from)) return null
  return response['replaceAll'] === true ? before.replaceAll(from, () => to) : before.replace(from, () => to)
}

function utf8Bytes(text: string): number {
  let bytes = text.length
  // Ten times as fast as the loop, and true of most programs.
  if (!/[\u0080-\uffff]/.test(text)) return bytes
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    // Half of a pair counts two, so a pair is the four bytes it takes.
    if (code > 0x7f) bytes += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1
  }
  return bytes
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function shortOf(value: unknown): string | null {
  return typeof value === 'string' ? clip(value, TEXT_CHARS) : null
}

function countOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value) : null
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
}
