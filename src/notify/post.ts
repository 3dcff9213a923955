import { messageOf } from '../core/errors.ts'
import type { Sent } from '../core/incident/incident.ts'
import { retryAfterMsOf } from '../core/retry-after.ts'

/**
 * Posts JSON and answers what became of it; a reply outside 200-299 is a failure. Never names the URL, which may
 * hold a secret, and follows no redirect, which could carry one elsewhere.
 */
export async function postJson(
  url: string,
  body: unknown,
  options: { headers?: Record<string, string>; signal: AbortSignal; isSent?: (reply: unknown) => boolean },
): Promise<Sent> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...options.headers },
      body: JSON.stringify(body),
      redirect: 'manual',
      signal: options.signal,
    })
    const text = (await response.text()).slice(0, 65_536)
    const reply = readJson(text)
    if (response.ok && (options.isSent?.(reply) ?? true)) return 'sent'
    return { failed: `It answered HTTP ${response.status}.`, retryAfterMs: waitOf(response, reply) }
  } catch (error) {
    const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined)?.code : undefined
    const why = options.signal.aborted
      ? 'no answer in time'
      : typeof cause === 'string'
        ? cause
        : nameOf(error)
    return { failed: `It could not be reached: ${why}.`, retryAfterMs: null }
  }
}

/** Not its message: fetch puts the whole URL into that of one that cannot be parsed. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : messageOf(error)
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

/** As the header asks, or Telegram's own field, in seconds. */
function waitOf(response: Response, reply: unknown): number | null {
  const parameters = (reply as { parameters?: { retry_after?: unknown } } | null)?.parameters
  const seconds = parameters?.retry_after
  const asked =
    typeof seconds === 'number' ? new Headers({ 'retry-after': String(seconds) }) : response.headers
  return retryAfterMsOf(asked, Date.now())
}
