import type { AppDeps } from '../deps.ts'
import type { Route } from '../routes/route.ts'
import { githubRoute } from './github.ts'
import { prometheusRoute } from './prometheus.ts'
import { telegramRoute } from './telegram.ts'

/** Where other services report: each route exists only with its secret. */
export function webhookRoutes(deps: AppDeps): Route[] {
  const { github, prometheus, telegram } = deps.webhooks
  return [
    ...(github === null ? [] : [githubRoute(deps, github)]),
    ...(prometheus === null ? [] : [prometheusRoute(deps, prometheus)]),
    ...(telegram === null ? [] : [telegramRoute(telegram)]),
  ]
}
