import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { getPath } from 'hono/utils/url'
import { CcmError } from '../core/errors.ts'
import type { Scope } from '../core/principal.ts'
import { audited } from './audited.ts'
import type { AppDeps } from './deps.ts'
import {
  credentialRequired,
  eachParameterOnce,
  inTime,
  isSurelyFromHere,
  jsonBody,
  knownNames,
  notForwarded,
  notTooOften,
} from './guards.ts'
import { HEADERS } from './headers.ts'
import { createHealthLane, type Lane } from './health-lane.ts'
import { createRequestIds } from './request-id.ts'
import { createRateLimit } from './rate-limit.ts'
import { Problem, answerError } from './problem.ts'
import { auditRoutes } from './routes/audit.ts'
import { daemonRoutes } from './routes/daemon.ts'
import { metricRoutes } from './routes/metrics.ts'
import { incidentRoutes } from './routes/incidents.ts'
import { doneOnce } from './idempotent.ts'
import { fleetRoutes } from './routes/fleet.ts'
import { inboxRoutes } from './routes/inbox.ts'
import { documentRoutes } from './routes/documents.ts'
import { keyRoutes } from './routes/keys.ts'
import { liveRoutes } from './routes/live.ts'
import { permissionRoutes } from './routes/permission.ts'
import { projectRoutes } from './routes/projects.ts'
import type { Bindings, HttpContext, Route, Variables } from './routes/route.ts'
import { recordRoutes } from './routes/records.ts'
import { ruleRoutes } from './routes/rules.ts'
import { scheduleRoutes } from './routes/schedules.ts'
import { templateRoutes } from './routes/templates.ts'
import { webhookRoutes } from './webhooks/routes.ts'
import { taskRoutes } from './routes/tasks.ts'
import { workspaceRoutes } from './routes/workspace.ts'

const BODY_MAX_BYTES = 1024 * 1024
const ANSWER_MS = 30_000
/** Refused credentials that one address may send a second, after a first ten seconds of them. */
const FAILURES_PER_S = 5

/** The daemon's HTTP side: `fetch` answers a request, `lane` those few that need none of it; `request` is for tests. */
export type App = Routed & { lane: Lane }
type Routed = Hono<HttpContext extends Context<infer E> ? E : never>

type Guard = MiddlewareHandler<{ Bindings: Bindings; Variables: Variables }>

/** Every route there is. What is not in this list does not exist. */
export function routesOf(deps: AppDeps): Route[] {
  const routes = [
    ...daemonRoutes(deps),
    ...projectRoutes(deps),
    ...scheduleRoutes(deps),
    ...ruleRoutes(deps),
    ...recordRoutes(deps),
    ...taskRoutes(deps),
    ...workspaceRoutes(deps),
    ...liveRoutes(deps),
    ...incidentRoutes(deps),
    ...auditRoutes(deps),
    ...metricRoutes(deps),
    ...fleetRoutes(deps),
    ...inboxRoutes(deps),
    ...templateRoutes(deps),
    ...webhookRoutes(deps),
    ...keyRoutes(deps),
    ...permissionRoutes(deps),
  ]
  return [...routes, ...documentRoutes(routes)]
}

/**
 * Builds the app from its routes and their guards: its own names only, credential, rate, body type and size, time, in this
 * order, so that nothing is read from a stranger. Every error is a problem document (ProblemJson).
 */
export function createApp(deps: AppDeps): App {
  const routes = routesOf(deps)
  const app: Routed = new Hono({
    getPath: (request) => getPath(request).replace(/^\/api\/v1\//, '/api/'),
  })
  app.onError((error, context) => answerError(context, error, deps.logger))
  app.notFound((context) => {
    const methods = methodsOf(routes, context.req.path)
    if (methods.length === 0)
      return answerError(context, new CcmError('NOT_FOUND', 'There is no such route.'), deps.logger)
    context.header('allow', methods.join(', '))
    if (context.req.method === 'OPTIONS') return context.body(null, 204)
    const message = `This route takes ${methods.join(', ')}.`
    return answerError(context, new Problem(405, { code: 'BAD_INPUT', message }), deps.logger)
  })
  const nextId = createRequestIds()
  app.use(async (context, next) => {
    const requestId = nextId()
    context.set('requestId', requestId)
    const from = performance.now()
    await next()
    deps.answered?.(
      context.get('route') ?? 'none',
      context.req.method,
      context.res.status,
      performance.now() - from,
    )
    for (const [name, value] of Object.entries(HEADERS))
      if (!context.res.headers.has(name)) context.header(name, value)
    context.header('x-request-id', requestId)
  })
  app.use(knownNames(deps.names))
  const limit = createRateLimit(deps.rate, deps.clock)
  const often = notTooOften(limit, deps.names)
  const once = doneOnce(deps)
  const failures = createRateLimit(FAILURES_PER_S, deps.clock)
  const credentialOf = (access: Scope | 'loopback'): Guard => {
    if (access !== 'loopback') return credentialRequired(deps.authenticate, access, failures, deps.names)
    const required = credentialRequired(deps.authenticate, 'read', failures, deps.names)
    return (context, next) => (isSurelyFromHere(deps.names, context) ? next() : required(context, next))
  }
  for (const route of routes) {
    const { method, path, access, checkCaller, maxBytes, timeoutMs, handle } = route
    const isOnce = method !== 'GET' && access !== 'open' && access !== 'own'
    const named: Guard = async (context, next) => {
      context.set('route', path)
      await next()
    }
    const guards = [
      named,
      ...(method === 'GET' ? [] : [audited(`${method} ${path}`, deps)]),
      ...(path.startsWith('/internal/') ? [notForwarded] : []),
      ...(access === 'open' || access === 'own' ? [] : [credentialOf(access)]),
      often,
      eachParameterOnce,
      ...(checkCaller === undefined ? [] : [checked(checkCaller)]),
      ...(method !== 'GET' ? jsonBody(maxBytes ?? BODY_MAX_BYTES) : []),
      inTime(timeoutMs ?? ANSWER_MS),
    ]
    app.on(method, [path], ...guards, isOnce ? once(route) : (context) => handle(context))
  }
  return Object.assign(app, { lane: createHealthLane(deps, limit) })
}

function checked(checkCaller: (context: HttpContext) => void): Guard {
  return (context, next) => {
    checkCaller(context)
    return next()
  }
}

/** What the routes at this path take; [] where there is none. */
function methodsOf(routes: readonly Route[], path: string): string[] {
  const matches = ({ path: form }: Route) => new RegExp(`^${form.replaceAll(/:\w+/g, '[^/]+')}$`).test(path)
  const methods = routes.filter(matches).map(({ method }) => method)
  return [
    ...methods,
    ...(methods.includes('GET') ? ['HEAD'] : []),
    ...(methods.length > 0 ? ['OPTIONS'] : []),
  ]
}
