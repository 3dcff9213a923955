import { STATUS_CODES, type ServerResponse } from 'node:http'
import type { ErrorCode } from '../core/errors.ts'
import type { ProblemJson } from '../protocol/problem.ts'
import { HEADERS } from './headers.ts'
import { createRequestIds } from './request-id.ts'

/** Why a request does not get as far as the app. */
export type Refusal = Omit<ProblemJson, 'title' | 'request_id' | 'code'> & { code: ErrorCode }

const requestId = createRequestIds()

/** The problem document that says so, with an id of its own, and the headers of every answer. */
export function refusalOf(refusal: Refusal): {
  title: string
  headers: Record<string, string>
  body: string
} {
  const id = requestId()
  const title = STATUS_CODES[refusal.status] ?? 'Error'
  const problem: ProblemJson = { title, ...refusal, request_id: id }
  const body = JSON.stringify(problem)
  const { retry_after_s: seconds } = refusal
  const headers = {
    'content-type': 'application/problem+json',
    ...HEADERS,
    'content-length': String(Buffer.byteLength(body)),
    'x-request-id': id,
    ...(seconds !== undefined && { 'retry-after': String(seconds) }),
  }
  return { title, headers, body }
}

/** Answers with it. What is still to come of the request is thrown away, so that its sender reads the answer. */
export function refuse(response: ServerResponse, refusal: Refusal): void {
  const { headers, body } = refusalOf(refusal)
  response.writeHead(refusal.status, headers).end(body)
}
