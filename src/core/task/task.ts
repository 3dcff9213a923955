import type { WorkspaceJson } from './workspace.ts'

/** Where a task stands in the queue. The last four are final; only an explicit retry leaves three of them. */
export const TASK_STATUSES = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'] as const
export type TaskStatus = (typeof TASK_STATUSES)[number]

/** Claude Code's own permission modes; `manual` asks for everything. */
export const PERMISSION_MODES = [
  'acceptEdits',
  'auto',
  'bypassPermissions',
  'manual',
  'dontAsk',
  'plan',
] as const
export type PermissionMode = (typeof PERMISSION_MODES)[number]

/** Whether this is the id of a task, and not the beginning of one. */
export function isWholeId(text: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]{12}$/.test(text)
}

/** The longest prompt, in bytes of UTF-8. One argv entry may be 128 KiB on Linux. */
export const PROMPT_MAX_BYTES = 100 * 1024

/** What a caller asks for. Everything optional falls back to the project's and then the worker's setting. */
export type NewTask = {
  project: string
  prompt: string
  role: string | null
  model: string | null
  /** -100 to 100; higher goes first. */
  priority: number
  /** Seconds an attempt may take in all; null: the worker's default. */
  timeoutS: number | null
  permissionMode: PermissionMode | null
  allowedTools: string[]
  disallowedTools: string[]
  /** Unique among queued and running tasks of a system. */
  dedupeKey: string | null
  /** Ids of at most 50 tasks of the same system: it starts once all of them succeeded. */
  dependsOn: string[]
  /** Milliseconds since 1970, by the queue's clock; null, or a time that has passed: now. */
  scheduledAt: number | null
  /** A worker must have all of them. */
  labels: string[]
  /** The budget of the task over all its attempts. */
  maxTokens: number | null
  maxCostUsd: number | null
  /** Works in the project's directory itself rather than in a tree of its own; null: the project's setting. */
  inPlace: boolean | null
  /** Who asked: `cli`, `api`, `dashboard`, `schedule`, `github`, … */
  source: string
  /** The one worker that may have it; null: any. */
  onlyWorker: string | null
}

/** What a task asks for that says only what is to be done, where, and who asked. */
export const PLAIN_TASK: Omit<NewTask, 'project' | 'prompt' | 'source'> = {
  role: null,
  model: null,
  priority: 0,
  timeoutS: null,
  permissionMode: null,
  allowedTools: [],
  disallowedTools: [],
  dedupeKey: null,
  dependsOn: [],
  scheduledAt: null,
  labels: [],
  maxTokens: null,
  maxCostUsd: null,
  inPlace: null,
  onlyWorker: null,
}

/** One row of the queue. Times are milliseconds since 1970. */
export type Task = Omit<NewTask, 'scheduledAt'> & {
  id: string
  status: TaskStatus
  /** The fencing token: 0 before the first claim, +1 at each claim, never down. */
  attempt: number
  worker: string | null
  /** How many attempts ended in an agent failure, and how many in a lost lease. */
  failures: number
  lostLeases: number
  /** Not claimed before this time. */
  scheduledAt: number
  /** Until `resumeUntil` only this worker may claim it, and goes on with `claudeSessionId`. */
  resumeWorker: string | null
  resumeUntil: number | null
  claudeSessionId: string | null
  cancelRequested: boolean
  leaseExpiresAt: number | null
  result: TaskResult | null
  /** One sentence; null unless the task failed, was cancelled or is dead. */
  error: string | null
  createdAt: number
  startedAt: number | null
  finishedAt: number | null
}

/** Of a prompt, in lists. */
export const PROMPT_SHOWN_CHARS = 200

/** A task as lists have it: without its result, and of its prompt at most the first 200 characters. */
export type ListedTask = Omit<Task, 'result'>

/** The task as lists have it. */
export function toListed({ result: _result, prompt, ...task }: Task): ListedTask {
  // By code points, as the stores count: no character is cut in two.
  return { ...task, prompt: Array.from(prompt).slice(0, PROMPT_SHOWN_CHARS).join('') }
}

/** True for a status that no worker will ever change again. */
export function isFinal(status: TaskStatus): boolean {
  return status !== 'queued' && status !== 'running'
}

/**
 * Why a prompt cannot be accepted, as a sentence for a person, or null when it can.
 * Everything printable is allowed, also a leading `/`, `!` or `-`: it reaches the agent as text.
 */
export function promptFault(prompt: string): string | null {
  if (prompt.trim() === '') return 'The prompt is empty.'
  if (prompt.includes('\0')) return 'The prompt holds a NUL character, which no program argument can carry.'
  if (!prompt.isWellFormed()) return 'The prompt is not valid Unicode (it holds half a surrogate pair).'
  const bytes = new TextEncoder().encode(prompt).length
  if (bytes > PROMPT_MAX_BYTES) {
    return `The prompt has ${bytes} bytes; at most ${PROMPT_MAX_BYTES} (100 KiB) are allowed. Put the long part into a file of the project and name it in the prompt.`
  }
  return null
}

/** What a task gives back. Stored and sent as it is, so its keys are the wire's. Durations are milliseconds. */
export type TaskResult = {
  /** The agent's last message without the marker line. */
  text: string
  tools: ToolBlock[]
  files: FileChange[]
  /** Tokens per exact model id, each API message counted once. */
  usage: Record<string, ModelUsage>
  /** US dollars over all models; null when a model's price is not known. */
  cost_usd: number | null
  duration_ms: number
  attempts: number
  claude_session_id: string | null
  /** A shell command that resumes the session by hand. */
  resume_command: string | null
  /** What went wrong on the way, oldest first, whatever the outcome. */
  errors: { kind: string; message: string; at: number }[]
  /** Where the agent worked, as it was when the attempt ended; absent when it never got a place. */
  workspace?: WorkspaceJson
  /** Present when the whole was too large to store: the lists are empty and the text is only its start. */
  truncated?: true
}

/** One tool call, in the order the agent made them. */
export type ToolBlock = {
  tool: string
  kind: 'read' | 'write' | 'edit' | 'command' | 'other'
  /** Of read, write and edit. */
  path: string | null
  lines_added: number | null
  lines_removed: number | null
  /** Of a command; null when it never ended. */
  command: string | null
  exit_code: number | null
  /** One line of the input, for tools of kind `other`. */
  summary: string | null
  ok: boolean
  error: string | null
  duration_ms: number | null
}

/** One path that differs between before and after; counts are null for binary files. */
export type FileChange = {
  path: string
  change: 'added' | 'modified' | 'deleted'
  added: number | null
  removed: number | null
}

export type ModelUsage = {
  input_tokens: number
  output_tokens: number
  cache_read_input_tokens: number
  cache_creation_input_tokens: number
}
