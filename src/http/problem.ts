import { STATUS_CODES } from 'node:http'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Logger } from 'pino'
import type { z } from 'zod'
import { CcmError, type ErrorCode } from '../core/errors.ts'
import { faultsOf } from '../protocol/faults.ts'
import type { ProblemJson } from '../protocol/problem.ts'
import type { HttpContext } from './routes/route.ts'

const STATUS: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  BAD_INPUT: 400,
  DIR_UNUSABLE: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  UNAVAILABLE: 503,
  TOO_MANY_REQUESTS: 429,
  NOT_FOUND: 404,
  CONFLICT: 409,
  LOCKED: 409,
  STALE_LEASE: 409,
  QUEUE_FULL: 429,
  SUPABASE_UNREACHABLE: 503,
  SUPABASE_REFUSED: 502,
  SUPABASE_KEY: 502,
}

/** The status of an answer with this code. */
export function statusOf(code: ErrorCode): ContentfulStatusCode {
  return STATUS[code] ?? 500
}

type Fault = { code: ErrorCode; message: string; remedy?: string; field?: string; retry_after_s?: number }

/** An error answer with a status of its own, where the code's usual one does not say enough. */
export class Problem extends Error {
  readonly status: ContentfulStatusCode
  readonly fault: Fault

  constructor(status: ContentfulStatusCode, fault: Fault) {
    super(fault.message)
    this.status = status
    this.fault = fault
  }
}

/** The answer for anything a route threw: our own sentences as they are, everything else without details. */
export function answerError(context: HttpContext, error: unknown, logger: Logger): Response {
  if (error instanceof Problem) return answer(context, error.status, error.fault)
  const requestId = context.get('requestId')
  if (error instanceof CcmError) {
    const status = statusOf(error.code)
    if (status === 500) logger.error({ err: error, code: error.code, requestId }, 'request failed')
    const { code, message, remedy, retryAfterMs } = error
    const seconds = retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000)
    if (seconds !== undefined) context.header('retry-after', String(seconds))
    return answer(context, status, {
      code,
      message,
      ...(remedy !== undefined && { remedy }),
      ...(seconds !== undefined && { retry_after_s: seconds }),
    })
  }
  const incoming = context.env?.incoming
  // Nobody reads this answer, and it is no fault of the daemon.
  if (incoming?.destroyed === true && !incoming.complete)
    return answer(context, 400, { code: 'BAD_INPUT', message: 'The request broke off.' })
  logger.error({ err: error, code: 'INTERNAL', requestId }, 'request failed')
  return answer(context, 500, {
    code: 'INTERNAL',
    message: 'The daemon could not do this because of a fault of its own.',
    remedy: 'Its log says what happened, under the request id.',
  })
}

/** A problem document (RFC 9457); `detail` is for a person, `code` for a program. */
function answer(context: HttpContext, status: ContentfulStatusCode, { message, ...fault }: Fault): Response {
  const problem: ProblemJson = {
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: message,
    ...fault,
    request_id: context.get('requestId'),
  }
  return context.json(problem, status, { 'content-type': 'application/problem+json' })
}

/** Parses what a caller sent; throws a Problem 400 with one sentence per fault and the first one's field. */
export function parseInput<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const shape = 'shape' in schema ? Object.keys(schema.shape as object) : []
  const faults = faultsOf(parsed.error.issues.slice(0, 10), (path) => (path.length === 0 ? shape : []))
  const fault: Fault = {
    code: 'BAD_INPUT',
    message: faults.map(({ sentence }) => sentence).join(' '),
  }
  const field = faults[0]?.path.join('.') ?? ''
  if (field !== '') fault.field = field.slice(0, 100)
  throw new Problem(400, fault)
}
