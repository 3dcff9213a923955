import type { AppDeps } from '../deps.ts'
import { Problem } from '../problem.ts'
import type { Route } from './route.ts'

/** `GET /metrics`, for Prometheus. */
export function metricRoutes(deps: AppDeps): Route[] {
  return [
    {
      method: 'GET',
      path: '/metrics',
      access: 'loopback',
      about: 'Metrics in the format of Prometheus; a program on this machine needs no credential.',
      reply: 'text/plain',
      async handle(context) {
        // None came where a program on this machine asked.
        const projects = context.get('principal')?.projects ?? null
        if (projects !== null) {
          throw new Problem(403, {
            code: 'FORBIDDEN',
            message: 'The metrics are those of all projects, and this credential is for some.',
            remedy: 'Make a key without --project: ccm keys create prometheus --scope read',
          })
        }
        const { type, text } = await deps.scrape()
        return context.body(text, 200, { 'content-type': type })
      },
    },
  ]
}
