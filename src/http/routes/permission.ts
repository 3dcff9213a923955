import { z } from 'zod'
import type { AppDeps } from '../deps.ts'
import { bearerOf } from '../guards.ts'
import { Problem, parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { HttpContext, Route } from './route.ts'

/** A PermissionRequest carries the whole content of a file that is to be written. */
const PAYLOAD_MAX_BYTES = 16 * 1024 * 1024

/** Claude Code's own JSON, asked and answered. */
const PermissionPayload = z.record(z.string(), z.unknown())

/** The held hook of Claude Code: open until somebody decides, here or in the window. */
export function permissionRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'POST',
      path: '/internal/attempts/:task/:attempt/permission',
      access: 'own',
      about: 'The held permission hook of Claude Code: answered when somebody has decided.',
      body: PermissionPayload,
      reply: PermissionPayload,
      maxBytes: PAYLOAD_MAX_BYTES,
      // Until a person decides; the supervisor has the limit.
      timeoutMs: 2 ** 31 - 1,
      checkCaller(context) {
        const secret = bearerOf(context.req.header('authorization'))
        const { task, attempt } = attemptOf(context)
        if (secret !== null && attempt !== null && deps.isSecretOf(task, attempt, secret)) return
        throw new Problem(401, {
          code: 'UNAUTHORIZED',
          message: "The attempt's secret is missing or wrong.",
        })
      },
      async handle(context) {
        // The signal first: it tells of a client that left even while its body was read.
        const { signal } = context.req.raw
        const payload = parseInput(PermissionPayload, await readBody(context))
        const { task, attempt } = attemptOf(context)
        return context.json(await deps.askPermission(task, attempt ?? 0, payload, signal))
      },
    },
  ]
}

function attemptOf(context: HttpContext): { task: string; attempt: number | null } {
  const attempt = /^[1-9]\d{0,8}$/.exec(context.req.param('attempt') ?? '')
  return { task: context.req.param('task') ?? '', attempt: attempt === null ? null : Number(attempt[0]) }
}
