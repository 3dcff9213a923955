import { z } from 'zod'
import { mayEnter } from '../../core/principal.ts'
import { ShutdownBody, HealthJson, OwnStatusJson, ShutdownJson, StatusJson } from '../../protocol/daemon.ts'
import type { AppDeps } from '../deps.ts'
import { parseInput } from '../problem.ts'
import { readBody } from './body.ts'
import type { Route } from './route.ts'

/** Health, status and shutdown. */
export function daemonRoutes(deps: AppDeps): Route[] {
  return [
    ...(['all', 'tmux', 'supabase'] as const).map((part): Route => ({
      method: 'GET',
      path: part === 'all' ? '/health' : `/health/${part}`,
      access: 'open',
      about: `How ${{ all: 'the daemon', tmux: 'tmux', supabase: 'the shared queue' }[part]} is, in words and ages.`,
      reply: HealthJson,
      statuses: [200, 503],
      async handle(context) {
        const health = await deps.health(part).catch((): HealthJson => ({ status: 'failing' }))
        return context.json(health, health.status === 'failing' ? 503 : 200)
      },
    })),
    {
      method: 'GET',
      path: '/api/status',
      access: 'read',
      about: 'What the daemon is and does; for a credential of some projects, what it does for them.',
      reply: z.union([StatusJson, OwnStatusJson]),
      async handle(context) {
        const principal = context.get('principal')
        const status = await deps.status()
        if (principal.projects === null) return context.json(status satisfies StatusJson)
        const { version, worker, uptime_s, tmux } = status
        const { queued, running } = await deps.tasks.countsOf(principal.projects)
        const own = (await deps.agents()).filter(({ task }) => mayEnter(principal, task.project))
        return context.json({
          version,
          worker,
          uptime_s,
          tmux,
          agents: own.length,
          queued,
          running,
        } satisfies OwnStatusJson)
      },
    },
    {
      method: 'POST',
      path: '/api/shutdown',
      access: 'admin',
      about: 'End the daemon; its agents go on unless told.',
      body: ShutdownBody,
      reply: ShutdownJson,
      statuses: [202],
      async handle(context) {
        const { agents } = parseInput(ShutdownBody, await readBody(context))
        deps.shutdown(agents)
        return context.json({ stopping: true, agents } satisfies ShutdownJson, 202)
      },
    },
  ]
}
