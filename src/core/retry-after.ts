/**
 * Milliseconds that an answer asks to wait for in its Retry-After: seconds, or a date, which counts from the answer's
 * own Date, as clocks differ, or where it has none from `now` (RFC 9110). Null where it asks for nothing, or for what has
 * passed; a day at most.
 */
export function retryAfterMsOf(headers: Headers, now: number): number | null {
  const header = (headers.get('retry-after') ?? '').trim()
  const ms = /^\d{1,15}$/.test(header)
    ? Number(header) * 1000
    : readDate(header) - (readDate(headers.get('date') ?? '') || now)
  return ms > 0 ? Math.min(ms, MOST_MS) : null
}

const MOST_MS = 86_400_000

/** A date of HTTP in milliseconds since 1970; NaN where it is none. */
function readDate(text: string): number {
  return /^[A-Z][a-z]+, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
}
