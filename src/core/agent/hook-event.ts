/** One hook event. `payload` is Claude Code's own JSON; stored, it is redacted and bounded. */
export type HookEvent = {
  id: number
  taskId: string
  attempt: number
  claudeSessionId: string | null
  hookEventName: string
  at: number
  payload: HookPayload
}

/**
 * The name of ccm's own event among Claude Code's: a rule (`by: rule`), a person through ccm (`by: ccm`) or in the window
 * (`by: window`) answered a permission request. Payload: `tool_name`, `tool_input`, `decision` (`granted`, `denied`,
 * `ask`), `by`, `rule`, `proof` (of an answer in the window), `request` (the id of the request's event, where known).
 */
export const PERMISSION_DECIDED = 'CcmPermission'

/** The fields of Claude Code's hook payloads that ccm reads; anything may be missing. */
export type HookPayload = {
  hook_event_name?: string
  session_id?: string
  transcript_path?: string
  cwd?: string
  prompt?: string
  prompt_id?: string
  permission_mode?: string
  tool_name?: string
  tool_input?: Record<string, unknown>
  tool_use_id?: string
  tool_response?: unknown
  duration_ms?: number
  error?: string
  last_assistant_message?: string
  background_tasks?: { id?: string; type?: string; status?: string; description?: string }[]
  stop_hook_active?: boolean
  notification_type?: string
  message?: string
  reason?: string
  source?: string
  agent_id?: string
  [key: string]: unknown
}

const TEXTS: (keyof HookPayload)[] = [
  'hook_event_name',
  'session_id',
  'transcript_path',
  'cwd',
  'prompt',
  'prompt_id',
  'permission_mode',
  'tool_name',
  'tool_use_id',
  'error',
  'last_assistant_message',
  'notification_type',
  'message',
  'reason',
  'source',
  'agent_id',
]
/** Some 30 years: an event that lasted longer began at no time that a date can tell. */
const DURATION_MAX_MS = 1e12

/** A JSON object as a payload: what has another type than its field is left out, whoever wrote it. */
export function toHookPayload(value: object): HookPayload {
  const given = value as Record<string, unknown>
  const isOdd = (name: string, isRight: (field: unknown) => boolean) =>
    given[name] !== undefined && !isRight(given[name])
  const odd = [
    ...TEXTS.filter((name) => isOdd(String(name), (field) => typeof field === 'string')),
    ...(isOdd('tool_input', isRecord) ? ['tool_input'] : []),
    ...(isOdd('duration_ms', isDuration) ? ['duration_ms'] : []),
    ...(isOdd('stop_hook_active', (field) => typeof field === 'boolean') ? ['stop_hook_active'] : []),
    ...(isOdd('background_tasks', (field) => Array.isArray(field) && field.every(isRecord))
      ? ['background_tasks']
      : []),
  ]
  if (odd.length === 0) return given
  return Object.fromEntries(Object.entries(given).filter(([name]) => !odd.includes(name)))
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isDuration(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= DURATION_MAX_MS
}
