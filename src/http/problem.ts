import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Logger } from 'pino'
import type { z } from 'zod'
import { CcmError, type ErrorCode } from '../core/errors.ts'
import { faultsOf } from '../protocol/faults.ts'
import type { ProblemJson } from '../protocol/rest.ts'

const STATUS: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  BAD_INPUT: 400,
  DIR_UNUSABLE: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  UNAVAILABLE: 503,
  NOT_FOUND: 404,
  CONFLICT: 409,
  LOCKED: 409,
  STALE_LEASE: 409,
  QUEUE_FULL: 429,
}

/** An error answer with a status of its own, where the code's usual one does not say enough. */
export class Problem extends Error {
  readonly status: ContentfulStatusCode
  readonly body: ProblemJson

  constructor(status: ContentfulStatusCode, body: ProblemJson & { code: ErrorCode }) {
    super(body.message)
    this.status = status
    this.body = body
  }
}

/** The answer for anything a route threw: our own sentences as they are, everything else without details. */
export function answerError(context: Context, error: unknown, logger: Logger): Response {
  if (error instanceof Problem) return context.json(error.body, error.status)
  if (error instanceof CcmError) {
    const status = STATUS[error.code] ?? 500
    if (status === 500) logger.error({ err: error, code: error.code }, 'request failed')
    const body: ProblemJson = { code: error.code, message: error.message }
    if (error.remedy !== undefined) body.remedy = error.remedy
    return context.json(body, status)
  }
  logger.error({ err: error, code: 'INTERNAL' }, 'request failed')
  const message = 'The daemon could not do this because of a fault of its own.'
  return context.json({ code: 'INTERNAL', message, remedy: 'Its log says what happened.' }, 500)
}

/** Parses what a caller sent; throws a Problem 400 with one sentence per fault and the first one's field. */
export function parseInput<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const shape = 'shape' in schema ? Object.keys(schema.shape as object) : []
  const faults = faultsOf(parsed.error.issues.slice(0, 10), (path) => (path.length === 0 ? shape : []))
  const body: ProblemJson & { code: ErrorCode } = {
    code: 'BAD_INPUT',
    message: faults.map((fault) => fault.sentence).join(' '),
  }
  const field = faults[0]?.path.join('.') ?? ''
  if (field !== '') body.field = field.slice(0, 100)
  throw new Problem(400, body)
}
