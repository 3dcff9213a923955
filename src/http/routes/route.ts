import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'
import type { z } from 'zod'
import type { Principal, Scope } from '../../core/principal.ts'

/** Absent where a request never came over a socket, as in tests; `unix`: it came through the socket in the home. */
export type Bindings = Partial<HttpBindings> & { unix?: boolean }

/** `principal` is set before the handler of every route that needs a scope; `idempotencyKey` where one was sent. */
export type Variables = {
  principal: Principal
  requestId: string
  idempotencyKey?: string
  /** The pattern of the route that answers; none for what matches none. */
  route?: string
  /** What a change is about, for the audit log: told by whoever found or made it. */
  about?: { taskId: string | null; project: string | null; target?: string }
  /** Who changed something by a route that checks a credential of its own kind. */
  caller?: { kind: string; id: string }
}

export type HttpContext = Context<{ Bindings: Bindings; Variables: Variables }>

/** One line of the list of routes. */
export type Route = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  /**
   * The scope a caller needs; `open`: anyone; `own`: the handler checks a credential of its own kind; `loopback`: a
   * program on this machine needs none, everybody else the scope read.
   */
  access: 'open' | 'own' | 'loopback' | Scope
  /** Where access is `own`: throws for who may not, before anything of the body is read. */
  checkCaller?: (context: HttpContext) => void
  /** One sentence for the documentation. */
  about: string
  /** What the handler parses; without it a query, or a body, is not looked at. */
  query?: z.ZodType
  body?: z.ZodType
  /** The JSON of a good answer, or the media type of one that is no JSON. */
  reply: z.ZodType | 'text/event-stream' | 'text/html' | 'text/plain'
  /** Of good answers; 200 unless told. Every other one is a problem document. */
  statuses?: number[]
  /** Of a body; 1 MiB unless told: a 100 KiB prompt fits even when JSON escapes each byte of it. */
  maxBytes?: number
  /** The answer holds a secret: it is not kept for a repetition of the request (Idempotency-Key). */
  shownOnce?: true
  /** How long the answer may take; 30 s unless told. */
  timeoutMs?: number
  handle: (context: HttpContext) => Promise<Response> | Response
}
