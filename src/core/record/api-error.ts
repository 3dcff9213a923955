import type { Outcome } from '../task/queue.ts'

/** Why the Messages API did not answer, as far as it decides what becomes of the task. */
export type ApiErrorKind =
  'rate_limit' | 'usage_limit' | 'auth' | 'overloaded' | 'billing' | 'invalid' | 'network' | 'server'

/** What each kind means for the task, and whether other tasks can fare better with the same login. */
export type ApiErrorPolicy = {
  outcome: Outcome
  /** until_reset: the time is in the transcript (`limit.resetsAt`); until_login: a person must act. */
  pause: 'none' | 'until_reset' | 'until_login'
}

export const API_ERROR_POLICIES: Readonly<Record<ApiErrorKind, ApiErrorPolicy>> = {
  rate_limit: { outcome: 'failed', pause: 'none' },
  overloaded: { outcome: 'failed', pause: 'none' },
  server: { outcome: 'failed', pause: 'none' },
  network: { outcome: 'failed', pause: 'none' },
  // The same request would be refused again, and so would a retry without money.
  invalid: { outcome: 'failed_permanent', pause: 'none' },
  billing: { outcome: 'failed_permanent', pause: 'none' },
  // Not the task's fault: it costs no budget, and the next task would end the same way.
  usage_limit: { outcome: 'released', pause: 'until_reset' },
  auth: { outcome: 'released', pause: 'until_login' },
}

/** What is known of one API error; every part may be missing. */
export type ApiErrorEvidence = {
  /** `error` of the StopFailure hook and of the transcript's record. */
  error?: string | null | undefined
  /** The hook's `last_assistant_message`, or the text of the transcript's record. */
  message?: string | null | undefined
  /** `apiErrorStatus`: the HTTP status. */
  status?: number | null | undefined
  /** `apiErrorType`: the API's own `error.type`. */
  type?: string | null | undefined
  /** `apiError`: Claude Code's own finer code. */
  apiError?: string | null | undefined
}

/**
 * The kind of an API error. The more exact evidence wins: Claude Code's finer code, then texts that only one
 * kind has, the API's type, the HTTP status (also from "API Error: 400 ..."), the hook's code. Without any it
 * is `server`, the kind that is retried and gives up after three failures.
 */
export function apiErrorKind(evidence: ApiErrorEvidence): ApiErrorKind {
  const message = (evidence.message ?? '').slice(0, 4096)
  return (
    lookUp(BY_API_ERROR, evidence.apiError) ??
    BY_TEXT.find(([pattern]) => pattern.test(message))?.[1] ??
    lookUp(BY_TYPE, evidence.type) ??
    kindOfStatus(evidence.status ?? statusIn(message)) ??
    lookUp(BY_HOOK_ERROR, evidence.error) ??
    'server'
  )
}

type Kinds = Readonly<Record<string, ApiErrorKind>>

/** Claude Code 2.1.328 knows some 25 of these codes; the others say no more than status and type do. */
const BY_API_ERROR: Kinds = {
  usage_limit_reached: 'usage_limit',
  connection_failed: 'network',
  network_edge_blocked: 'network',
  provider_credentials: 'auth',
  invalid_credential_header: 'auth',
  api_key_auth_disabled: 'auth',
  org_disabled_credential: 'auth',
  stored_login_refused: 'auth',
  long_context_credits_required: 'billing',
  model_requires_usage_credits: 'billing',
  message_over_context_limit: 'invalid',
  pdf_too_large: 'invalid',
  pdf_password_protected: 'invalid',
  stream_idle_timeout: 'network',
  no_response: 'network',
}

const BY_TEXT: readonly (readonly [RegExp, ApiErrorKind])[] = [
  [/^You['’]ve hit your .{0,40}limit\b/i, 'usage_limit'],
  [/^Usage limit reached/i, 'usage_limit'],
  [/credit balance (?:is )?too low|usage credits ran out/i, 'billing'],
  [/^Not logged in\b|^Invalid API key\b|\brun \/login\b|^Failed to authenticate\b/i, 'auth'],
  [/\bUnable to connect to API\b|\bConnection (?:error|refused|dropped)\b|\(E[A-Z]{4,}\)/, 'network'],
  [/\b529 |\boverloaded\b|\bat capacity\b/i, 'overloaded'],
]

const BY_TYPE: Kinds = {
  rate_limit_error: 'rate_limit',
  authentication_error: 'auth',
  permission_error: 'auth',
  billing_error: 'billing',
  overloaded_error: 'overloaded',
  invalid_request_error: 'invalid',
  not_found_error: 'invalid',
  request_too_large: 'invalid',
  timeout_error: 'server',
}

/** All values that Claude Code 2.1.328 lists for StopFailure, but for `unknown`, which says nothing. */
const BY_HOOK_ERROR: Kinds = {
  rate_limit: 'rate_limit',
  overloaded: 'overloaded',
  authentication_failed: 'auth',
  oauth_org_not_allowed: 'auth',
  account_on_hold: 'auth',
  verification_required: 'auth',
  cloud_credential_error: 'auth',
  billing_error: 'billing',
  invalid_request: 'invalid',
  model_not_found: 'invalid',
  server_error: 'server',
  // The answer grew too long; another attempt starts from an empty context and may not.
  max_output_tokens: 'server',
}

function kindOfStatus(status: number | null): ApiErrorKind | null {
  if (status === null || status < 400) return null
  if (status === 401 || status === 403) return 'auth'
  if (status === 402) return 'billing'
  if (status === 408) return 'network'
  if (status === 429) return 'rate_limit'
  if (status === 529) return 'overloaded'
  return status >= 500 ? 'server' : 'invalid'
}

function statusIn(message: string): number | null {
  const match = /API Error: (?:([45]\d\d)\b|Request rejected \(([45]\d\d)\))/.exec(message)
  return match ? Number(match[1] ?? match[2]) : null
}

function lookUp(kinds: Kinds, key: string | null | undefined): ApiErrorKind | undefined {
  return key != null && Object.hasOwn(kinds, key) ? kinds[key] : undefined
}
