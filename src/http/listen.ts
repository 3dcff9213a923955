import { chmodSync, rmSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { CcmError, messageOf } from '../core/errors.ts'
import type { App } from './app.ts'
import { guardConnections, type ConnectionLimits } from './connections.ts'
import type { Lane } from './health-lane.ts'
import { refusalOf, refuse, type Refusal } from './refusal.ts'

/** What answers; without a lane everything is for `fetch`. */
type Served = Pick<App, 'fetch'> & { lane?: Lane }

/** The server while it listens. */
export type Listening = {
  /** The real one, also when 0 was asked for. */
  port: number
  /** Stops listening, lets answers under way go out for `graceMs` (250 unless told), then cuts what is left. */
  close: (graceMs?: number) => Promise<void>
}

const LIMITS: ServerOptions = {
  keepAliveTimeout: 5000,
  maxHeaderSize: 16 * 1024,
  // The app says what is wrong with it.
  requireHostHeader: false,
}
/**
 * Well above what agents and people need, and below the 1,024 descriptors that a daemon may have at least. Beside those
 * that are answered there is room to hear what is asked, to refuse it, and to say how the daemon is.
 */
const CONNECTIONS: ConnectionLimits = { max: 620, answered: 600, stuckMs: 60_000, arriveMs: 30_000 }
const HEADERS_MS = 10_000
const LOOK_MS = 5000
const FULL: Refusal = {
  status: 503,
  code: 'UNAVAILABLE',
  detail: 'The daemon answers as many requests at once as it may.',
  remedy: 'Try again in some seconds. Live streams and held permissions take a connection each: close some.',
  retry_after_s: 5,
}
const OTHER_VERSION: Refusal = { status: 400, code: 'BAD_INPUT', detail: 'The daemon speaks HTTP/1.1.' }
const NO_URL: Refusal = {
  status: 400,
  code: 'BAD_INPUT',
  detail: 'The request target or the Host header cannot be read.',
}

/**
 * Serves the app on a socket file that only this user can open; the app sees `unix: true`. A file that is left
 * from before is replaced: the caller holds the home lock.
 */
export async function listenOnSocket(app: Served, path: string): Promise<{ close: () => Promise<void> }> {
  const server = serverOf(app, true)
  rmSync(path, { force: true })
  const mask = process.umask(0o177)
  const listening = new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  // The file was made within that call, and so with that mask.
  process.umask(mask)
  await listening
  chmodSync(path, 0o600)
  return { close: () => close(server, 250) }
}

/** Serves the app. Resolves when it listens; a port in use throws PORT_TAKEN. */
export function listen(
  app: Served,
  { host, port, ...limits }: { host: string; port: number } & Partial<ConnectionLimits>,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = serverOf(app, false, limits)
    const refuse = (error: NodeJS.ErrnoException) => reject(refusal(error, host, port))
    server.once('error', refuse)
    server.listen({ host, port }, () => {
      server.off('error', refuse)
      const address = server.address() as AddressInfo
      resolve({ port: address.port, close: (graceMs = 250) => close(server, graceMs) })
    })
  })
}

/**
 * The package that turns Node's requests into the web's loads Node's own fetch, 30 ms of a start and 2 MB: it comes
 * with the first request that needs it, which is none of the lane's.
 */
function serverOf(app: Served, unix: boolean, given: Partial<ConnectionLimits> = {}): Server {
  const limits = { ...CONNECTIONS, ...given }
  let answer: ((request: IncomingMessage, response: ServerResponse) => Promise<void>) | null = null
  const load = async () => {
    const { getRequestListener, RequestError } = await import('@hono/node-server')
    return (answer ??= getRequestListener(
      (request, env) => app.fetch(request, unix ? { ...env, unix } : env),
      {
        overrideGlobalObjects: false,
        // Only a URL is made with it: the app looks at the header itself.
        hostname: 'localhost',
        errorHandler(error) {
          if (!(error instanceof RequestError)) return new Response(null, { status: 500 })
          const { headers, body } = refusalOf(NO_URL)
          return new Response(body, { status: NO_URL.status, headers })
        },
      },
    ))
  }
  const arrival: ServerOptions = {
    requestTimeout: limits.arriveMs,
    headersTimeout: Math.min(HEADERS_MS, limits.arriveMs),
    connectionsCheckingInterval: Math.min(LOOK_MS, limits.arriveMs),
  }
  const server = createServer({ ...LIMITS, ...arrival }, (request, response) => {
    // The parser takes 0.9 and 2.0 too.
    if (request.httpVersionMajor !== 1) return refuse(response, OTHER_VERSION)
    if (app.lane?.(request, response, unix) === true) return
    if (!asksHealth(request) && isFull(request.socket)) return refuse(response, FULL)
    if (answer !== null) void answer(request, response)
    else void load().then((loaded) => loaded(request, response))
  })
  // Other expectations than a 100 are ignored, as HTTP allows.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  const isFull = guardConnections(server, limits)
  return server
}

/** However it is asked, and also through a proxy: a monitor takes a refusal for a daemon that fails. */
function asksHealth({ method, url = '' }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && /^\/health(?:[/?]|$)/.test(url)
}

async function close(server: Server, graceMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}

function refusal(error: NodeJS.ErrnoException, host: string, port: number): CcmError {
  const remedy =
    'Choose another with `[http] port` in ccm.toml or CCM__HTTP__PORT; 0 takes any free one. `ccm status` tells whether the daemon runs already.'
  if (error.code === 'EADDRINUSE') {
    const message = `Port ${port} on ${host} is taken by another program.`
    return new CcmError('PORT_TAKEN', message, { remedy, cause: error })
  }
  if (error.code === 'EACCES') {
    const message = `Port ${port} on ${host} may not be used by this user.`
    return new CcmError('PORT_TAKEN', message, { remedy, cause: error })
  }
  return new CcmError('INTERNAL', `Listening on ${host}, port ${port}, failed: ${messageOf(error)}.`, {
    cause: error,
  })
}
