import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'

/** `bindings` are absent where a request never came over a socket, as in tests. */
export type HttpContext = Context<{ Bindings: Partial<HttpBindings> }>

/** One line of the list of routes. `own`: the handler checks a credential of its own kind. */
export type Route = {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  access: 'open' | 'token' | 'own'
  /** Of a body; 1 MiB unless told: a 100 KiB prompt fits even when JSON escapes each byte of it. */
  maxBytes?: number
  handle: (context: HttpContext) => Promise<Response> | Response
}
