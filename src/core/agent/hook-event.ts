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
