import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { allows, type Principal, type Scope } from '../core/principal.ts'
import type { Authenticate } from './identity/authenticate.ts'
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

/**
 * Wants a credential with this scope as `Authorization: Bearer`: the daemon's token, an API key or a user's
 * token. Whose it is goes to the handler as `principal`.
 */
export function credentialRequired(
  authenticate: Authenticate,
  scope: Scope,
): MiddlewareHandler<{ Variables: { principal: Principal } }> {
  return async (context, next) => {
    const given = bearerOf(context.req.header('authorization'))
    const principal = given === null ? 'refused' : await authenticate(given)
    if (principal === 'unavailable') {
      context.header('retry-after', '5')
      throw new Problem(503, {
        code: 'UNAVAILABLE',
        message: 'Who you are cannot be checked right now: the server of the public keys does not answer.',
        remedy: 'Try again in some seconds, or use an API key.',
      })
    }
    if (principal === 'refused') {
      context.header('www-authenticate', 'Bearer')
      throw new Problem(401, {
        code: 'UNAUTHORIZED',
        message:
          given === null ? 'The request has no credential.' : 'The credential is unknown, revoked or over.',
        remedy:
          "Send an API key (ccm keys create), or the content of the file `token` in the daemon's home, as `Authorization: Bearer …`.",
      })
    }
    if (!allows(principal, scope)) {
      throw new Problem(403, {
        code: 'FORBIDDEN',
        message: `This needs the scope ${scope}; the credential has ${principal.scopes.join(', ') || 'none'}.`,
      })
    }
    context.set('principal', principal)
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
