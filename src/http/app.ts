import { Hono, type Context } from 'hono'
import type { AppDeps } from './deps.ts'
import { credentialRequired, jsonBody, localOnly } from './guards.ts'
import { answerError } from './problem.ts'
import { daemonRoutes } from './routes/daemon.ts'
import { liveRoutes } from './routes/live.ts'
import { permissionRoutes } from './routes/permission.ts'
import { projectRoutes } from './routes/projects.ts'
import type { HttpContext, Route } from './routes/route.ts'
import { taskRoutes } from './routes/tasks.ts'

const BODY_MAX_BYTES = 1024 * 1024

/** The daemon's HTTP side: `fetch` answers a request; `request` is for tests. */
export type App = Hono<HttpContext extends Context<infer E> ? E : never>

/** Every route there is. What is not in this list does not exist. */
export function routesOf(deps: AppDeps): Route[] {
  return [
    ...daemonRoutes(deps),
    ...projectRoutes(deps),
    ...taskRoutes(deps),
    ...liveRoutes(deps),
    ...permissionRoutes(deps),
  ]
}

/**
 * Builds the app from its routes and their guards: this machine only, credential, body type and size, in this
 * order, so that nothing is read from a stranger. Every error is JSON (ProblemJson).
 */
export function createApp(deps: AppDeps): App {
  const app: App = new Hono()
  app.onError((error, context) => answerError(context, error, deps.logger))
  app.notFound((context) => context.json({ code: 'NOT_FOUND', message: 'There is no such route.' }, 404))
  app.use(localOnly(deps.port))
  app.use(async (context, next) => {
    await next()
    context.header('cache-control', 'no-store')
    context.header('x-content-type-options', 'nosniff')
  })
  for (const { method, path, access, maxBytes, handle } of routesOf(deps)) {
    const guards = [
      ...(access === 'open' || access === 'own' ? [] : [credentialRequired(deps.authenticate, access)]),
      ...(method !== 'GET' ? jsonBody(maxBytes ?? BODY_MAX_BYTES) : []),
    ]
    app.on(method, [path], ...guards, (context) => handle(context))
  }
  return app
}
