import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HealthJson } from '../protocol/daemon.ts'
import type { AppDeps } from './deps.ts'
import { strangerOf } from './guards.ts'
import { HEADERS } from './headers.ts'
import type { RateLimit } from './rate-limit.ts'
import { createRequestIds } from './request-id.ts'

/** As a list: Node takes that as it is. */
const PLAIN_HEADERS = Object.entries({ 'content-type': 'application/json', ...HEADERS }).flat()

/** Answers a request and is true, or leaves it alone and is false. */
export type Lane = (request: IncomingMessage, response: ServerResponse, unix: boolean) => boolean

/**
 * `GET /health` without a body, from somebody who may ask: what watches a service asks every second, and so gets the
 * app's own answer for a third of its CPU. Whatever is odd about the request is the app's, which says what is wrong.
 */
export function createHealthLane(
  deps: Pick<AppDeps, 'health' | 'names' | 'answered'>,
  limit: RateLimit,
): Lane {
  const requestId = createRequestIds()
  const answer = async (response: ServerResponse) => {
    const from = performance.now()
    const health = await deps.health('all').catch((): HealthJson => ({ status: 'failing' }))
    const status = health.status === 'failing' ? 503 : 200
    const body = JSON.stringify(health)
    deps.answered?.('/health', 'GET', status, performance.now() - from)
    const length = String(Buffer.byteLength(body))
    response.writeHead(status, [...PLAIN_HEADERS, 'content-length', length, 'x-request-id', requestId()])
    response.end(body)
  }
  return ({ url, method, rawHeaders, socket }, response, unix) => {
    if (url !== '/health' || method !== 'GET') return false
    const headers = onlyOnce(rawHeaders)
    if (headers === null) return false
    const { host, origin, 'x-forwarded-proto': forwardedProto } = headers
    // Whom a proxy speaks for is the app's to read.
    if (forwardedProto !== undefined) return false
    if (strangerOf(deps.names, { target: url, host, origin, forwardedProto, unix }) !== null) return false
    if (limit.take(`/health ${unix ? 'socket' : (socket.remoteAddress ?? 'local')}`) > 0) return false
    void answer(response)
    return true
  }
}

/** The headers that count here; null when one of them comes twice (Node keeps the first Host), or a body does. */
function onlyOnce(rawHeaders: readonly string[]): Partial<Record<string, string>> | null {
  const found: Partial<Record<string, string>> = {}
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase()
    if (name === 'content-length' || name === 'transfer-encoding') return null
    if (name !== 'host' && name !== 'origin' && name !== 'x-forwarded-proto') continue
    if (found[name] !== undefined) return null
    found[name] = rawHeaders[index + 1] ?? ''
  }
  return found
}
