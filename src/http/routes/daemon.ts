import { ShutdownBody, type HealthJson, type ShutdownJson } from '../../protocol/rest.ts'
import type { AppDeps } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { Route } from './route.ts'

/** Health, status and shutdown. */
export function daemonRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/health',
      access: 'open',
      async handle(context) {
        const parts = await deps.health().catch(() => ({ daemon: 'unknown' }))
        const well = Object.values(parts).every((word) => word === 'ok')
        return context.json({ ...parts, status: well ? 'ok' : 'degraded' } satisfies HealthJson)
      },
    },
    {
      method: 'GET',
      path: '/api/status',
      access: 'read',
      handle: async (context) => context.json(await deps.status()),
    },
    {
      method: 'POST',
      path: '/api/shutdown',
      access: 'admin',
      async handle(context) {
        const { agents } = parseInput(ShutdownBody, await readBody(context))
        deps.shutdown(agents)
        return context.json({ stopping: true, agents } satisfies ShutdownJson, 202)
      },
    },
  ]
}
