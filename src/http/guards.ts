import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { Problem } from './problem.ts'

const LOOPBACK_NAMES = ['127.0.0.1', 'localhost', '[::1]']

/**
 * Lets only requests to this machine's own name through, and from no other website: a page whose name was
 * made to point here (DNS rebinding) sends its own name as Host, and any foreign page sends its Origin.
 */
export function localOnly(port: () => number): MiddlewareHandler {
  return async (context, next) => {
    const hosts = LOOPBACK_NAMES.flatMap((name) => [`${name}:${port()}`, ...(port() === 80 ? [name] : [])])
    const host = context.req.header('host')?.toLowerCase()
    if (host === undefined || !hosts.includes(host)) {
      throw new Problem(403, {
        code: 'UNAUTHORIZED',
        message: 'The Host header names another machine or port.',
        remedy: `Use http://127.0.0.1:${port()}.`,
      })
    }
    const origin = context.req.header('origin')
    if (origin !== undefined && origin.toLowerCase() !== `http://${host}`) {
      throw new Problem(403, { code: 'UNAUTHORIZED', message: 'Requests from other websites are refused.' })
    }
    await next()
  }
}

/** Wants the API's token as `Authorization: Bearer`; compares digests, so that time tells nothing. */
export function tokenRequired(token: string): MiddlewareHandler {
  const expected = digest(token)
  return async (context, next) => {
    const given = bearerOf(context.req.header('authorization'))
    if (given === null || !timingSafeEqual(digest(given), expected)) {
      context.header('www-authenticate', 'Bearer')
      throw new Problem(401, {
        code: 'UNAUTHORIZED',
        message: given === null ? 'The request has no token.' : 'The token is not the one of this daemon.',
        remedy: "Send the content of the file `token` in the daemon's home as `Authorization: Bearer TOKEN`.",
      })
    }
    await next()
  }
}

/** The credential of an `Authorization: Bearer` header, or null. */
export function bearerOf(header: string | undefined): string | null {
  return /^Bearer +([\x21-\x7e]+)$/i.exec(header ?? '')?.[1] ?? null
}

/**
 * Wants JSON where there is a body at all: a form of a foreign page cannot send this type. Everything above
 * `maxBytes` is refused before it is parsed.
 */
export function jsonBody(maxBytes: number): MiddlewareHandler[] {
  const limit = bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw new Problem(413, { code: 'BAD_INPUT', message: `The body is larger than ${maxBytes} bytes.` })
    },
  })
  const type: MiddlewareHandler = async (context, next) => {
    const given = context.req.header('content-type')
    const length = context.req.header('content-length') ?? '0'
    const empty = length === '0' && context.req.header('transfer-encoding') === undefined
    if (!(given === undefined && empty) && !/^application\/json *(;|$)/i.test(given ?? '')) {
      throw new Problem(415, { code: 'BAD_INPUT', message: 'The body must be sent as application/json.' })
    }
    await next()
  }
  return [type, limit]
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
