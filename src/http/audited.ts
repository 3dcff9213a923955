import type { MiddlewareHandler } from 'hono'
import type { Audit } from '../core/audit.ts'
import type { Clock } from '../core/clock.ts'
import { CcmError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import { originOf, type Names } from './guards.ts'
import { Problem } from './problem.ts'
import type { Bindings, Variables } from './routes/route.ts'

/**
 * Writes down what a known caller asked to change, before the answer goes out: also what was refused, but not what
 * was only told again (Idempotency-Key) or came too often. A stranger's request changes nothing and is none; a service
 * with a credential of its own kind is written down where it changed something.
 */
export function audited(
  action: string,
  deps: { audit: Audit; clock: Clock; names: Names },
): MiddlewareHandler<{ Bindings: Bindings; Variables: Variables }> {
  return async (context, next) => {
    // While it is connected: of who hung up nothing is known any more.
    const origin = originOf(deps.names, context)
    await next()
    const principal = (context.get('principal') as Principal | undefined) ?? context.get('caller')
    const { status, headers } = context.res
    if (principal === undefined || status === 429 || headers.has('idempotency-replayed')) return
    const about = context.get('about')
    const parameters: string[] = Object.values(context.req.param())
    deps.audit({
      at: deps.clock(),
      kind: principal.kind,
      who: principal.id,
      action,
      target: parameters[0] ?? about?.target ?? null,
      taskId: about?.taskId ?? null,
      project: about?.project ?? null,
      origin,
      status,
      code: codeOf(context.error),
      requestId: context.get('requestId'),
    })
  }
}

function codeOf(error: unknown): string | null {
  if (error instanceof Problem) return error.fault.code
  if (error instanceof CcmError) return error.code
  return error === undefined ? null : 'INTERNAL'
}
