import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { allows, type Principal, type Scope } from '../core/principal.ts'
import type { Authenticate } from './identity/authenticate.ts'
import { Problem } from './problem.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Bindings, HttpContext, Variables } from './routes/route.ts'

const LOOPBACK_NAMES = ['127.0.0.1', 'localhost', '[::1]']

/**
 * What names the daemon answers to: loopback ones with its port, and those of a proxy that ends TLS. `behindTls`: there
 * is such a proxy.
 */
export type Names = { port: () => number; public: readonly string[]; behindTls?: boolean }

/** What of a request says whom it is for and who sent it there; `unix`: it came through the socket in the home. */
type Asked = {
  target: string
  host: string | undefined
  origin: string | undefined
  forwardedProto: string | undefined
  unix: boolean
}

/**
 * Refuses whatever is not for one of the daemon's own names, or comes from another website; null: let it in. A
 * page whose name was made to point here (DNS rebinding) sends its own name as Host, and any foreign page sends its
 * Origin. Through the socket in the home comes no browser, so any Host will do there, and no Origin.
 */
export function strangerOf(names: Names, asked: Asked): Problem | null {
  // An absolute target names a host of its own, which would count instead of the one looked at here.
  if (!asked.target.startsWith('/'))
    return new Problem(400, { code: 'BAD_INPUT', message: 'The request target must be a path.' })
  const host = asked.host?.toLowerCase()
  if (host === undefined && !asked.unix)
    return new Problem(400, { code: 'BAD_INPUT', message: 'The Host header is missing.' })
  const isPublic = host !== undefined && names.public.includes(host)
  if (!asked.unix && !isPublic && !isLocalName(host, names.port())) {
    return new Problem(403, {
      code: 'UNAUTHORIZED',
      message: 'The Host header names another machine or port.',
      remedy: `Use http://127.0.0.1:${names.port()}.`,
    })
  }
  if (isPublic && asked.forwardedProto?.toLowerCase() !== 'https') {
    return new Problem(403, {
      code: 'UNAUTHORIZED',
      message: 'By this name ccm is served through TLS only.',
      remedy: 'The proxy in front must end TLS and send X-Forwarded-Proto: https.',
    })
  }
  const { origin } = asked
  if (origin !== undefined && origin.toLowerCase() !== `${isPublic ? 'https' : 'http'}://${host}`)
    return new Problem(403, { code: 'UNAUTHORIZED', message: 'Requests from other websites are refused.' })
  return null
}

function isLocalName(host: string | undefined, port: number): boolean {
  return LOOPBACK_NAMES.some((name) => host === `${name}:${port}` || (port === 80 && host === name))
}

/** Lets only those in whom `strangerOf` lets in. */
export function knownNames(names: Names): MiddlewareHandler<{ Bindings: Bindings }> {
  return async (context, next) => {
    const stranger = strangerOf(names, {
      target: context.env?.incoming?.url ?? '/',
      host: context.req.header('host'),
      origin: context.req.header('origin'),
      forwardedProto: context.req.header('x-forwarded-proto'),
      unix: context.env?.unix === true,
    })
    if (stranger !== null) throw stranger
    await next()
  }
}

/** Headers with which a proxy says that it passes on somebody else's request. */
const FORWARDING = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'via',
]

/** Whether a request comes from this machine itself, and not through a proxy. */
export function isFromHere(
  context: Pick<HttpContext, 'env'> & { req: Pick<HttpContext['req'], 'header'> },
): boolean {
  const remote = context.env?.incoming?.socket.remoteAddress
  const isLocal = remote === undefined || /^(127\.|::1$|::ffff:127\.)/.test(remote)
  return isLocal && !FORWARDING.some((name) => context.req.header(name) !== undefined)
}

/**
 * The same for what needs no credential then. A proxy that neither keeps the Host nor says for whom it asks looks like
 * a program of this machine, so where one stands in front only the socket in the home tells.
 */
export function isSurelyFromHere(
  { behindTls = false }: Names,
  context: Pick<HttpContext, 'env'> & { req: Pick<HttpContext['req'], 'header'> },
): boolean {
  return isFromHere(context) && (!behindTls || context.env?.unix === true)
}

/** Only for programs on this machine that speak to the daemon itself. */
export const notForwarded: MiddlewareHandler<{ Bindings: Bindings; Variables: Variables }> = async (
  context,
  next,
) => {
  if (!isFromHere(context)) {
    throw new Problem(403, {
      code: 'UNAUTHORIZED',
      message: 'This route is for programs on this machine, and not through a proxy.',
    })
  }
  await next()
}

/** Of a parameter that is given twice one value would be taken, and the other dropped without a word. */
export const eachParameterOnce: MiddlewareHandler = async (context, next) => {
  const twice = Object.entries(context.req.queries()).find(([, values]) => values.length > 1)
  if (twice !== undefined) {
    const field = twice[0].slice(0, 100)
    throw new Problem(400, { code: 'BAD_INPUT', message: 'A parameter is given more than once.', field })
  }
  await next()
}

/**
 * Where a request comes from: its address, or `socket` for the one in the home. Behind the proxy that ends TLS its word
 * counts: the last address it added, beside its own. By a local name nobody speaks for another.
 */
export function originOf(
  names: Names,
  context: Pick<HttpContext, 'env'> & { req: Pick<HttpContext['req'], 'header'> },
): string {
  if (context.env?.unix === true) return 'socket'
  const address = context.env?.incoming?.socket.remoteAddress ?? 'local'
  if (!names.public.includes(context.req.header('host')?.toLowerCase() ?? '')) return address
  const last = context.req.header('x-forwarded-for')?.split(',').at(-1)?.trim() ?? ''
  return /^[\da-fA-F.:]{2,45}$/.test(last) ? `${last} through ${address}` : address
}

/**
 * Refuses a caller who asks too often: whoever has a credential by that, everybody else by address and route, so that
 * an agent on this machine, or a stranger behind the proxy, takes no webhook's and no health check's turn.
 */
export function notTooOften(
  limit: RateLimit,
  names: Names,
): MiddlewareHandler<{ Bindings: Bindings; Variables: Variables }> {
  return async (context, next) => {
    const principal = context.get('principal') as Principal | undefined
    const waitMs = limit.take(
      principal === undefined
        ? `${context.get('route')} ${originOf(names, context)}`
        : `${principal.kind} ${principal.id}`,
    )
    if (waitMs > 0) {
      context.header('retry-after', String(Math.ceil(waitMs / 1000)))
      throw new Problem(429, {
        code: 'TOO_MANY_REQUESTS',
        message: 'Too many requests from this caller.',
        remedy: `Wait ${Math.ceil(waitMs / 1000)} s, or raise http.rate.`,
      })
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
  failures: RateLimit,
  names: Names,
): MiddlewareHandler<{ Bindings: Bindings; Variables: Variables }> {
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
      // Only who guesses is slowed down: a good credential from the same address is not looked at here.
      const waitMs = failures.take(originOf(names, context))
      if (waitMs > 0) {
        context.header('retry-after', String(Math.ceil(waitMs / 1000)))
        throw new Problem(429, { code: 'TOO_MANY_REQUESTS', message: 'Too many refused credentials.' })
      }
      context.header('www-authenticate', 'Bearer')
      throw new Problem(401, {
        code: 'UNAUTHORIZED',
        message:
          given === null ? 'The request has no credential.' : 'The credential is unknown, revoked or over.',
        remedy:
          "Send an API key (ccm keys create), or the content of the file `token` in the daemon's home, as `Authorization: Bearer …`.",
      })
    }
    context.set('principal', principal)
    if (!allows(principal, scope)) {
      throw new Problem(403, {
        code: 'FORBIDDEN',
        message: `This needs the scope ${scope}; the credential has ${principal.scopes.join(', ') || 'none'}.`,
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

/** Answers 503 when a handler takes longer; what it began goes on, so the caller is told to look. */
export function inTime(limitMs: number): MiddlewareHandler {
  return async (_context, next) => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(
          new Problem(503, {
            code: 'UNAVAILABLE',
            message: `This took longer than ${limitMs / 1000} s.`,
            remedy: 'It may still happen: look before you ask again. `ccm status` says how the daemon is.',
          }),
        )
      }, limitMs)
    })
    try {
      await Promise.race([next(), late])
    } finally {
      clearTimeout(timer)
    }
  }
}
