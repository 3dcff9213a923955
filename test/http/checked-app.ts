import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'
import { createApp as createRealApp, routesOf, type App } from '../../src/http/app.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import type { Route } from '../../src/http/routes/route.ts'
import { ProblemJson } from '../../src/protocol/problem.ts'

/** The real app, but an answer that is not what its route promises is an error of the test that asked for it. */
export function createApp(deps: AppDeps): App {
  const app = createRealApp(deps)
  const routes = routesOf(deps)
  const real = app.fetch
  app.fetch = async (request, ...rest) => {
    const response = await real(request, ...rest)
    const fault = await faultOf(routes, request, response)
    if (fault !== null)
      throw new Error(`${request.method} ${request.url} answered ${response.status}: ${fault}`)
    return response
  }
  return app
}

/** In which way an answer is not what the routes promise; null when it is. */
export async function faultOf(
  routes: readonly Route[],
  request: Request,
  response: Response,
): Promise<string | null> {
  const type = response.headers.get('content-type')?.split(';')[0] ?? null
  if (!response.headers.has('x-request-id')) return 'there is no request id'
  if (request.method === 'HEAD' && response.body !== null) return 'it has a body'
  if (request.method === 'HEAD' && response.status >= 400) return null
  if (response.status >= 400 && type === 'application/problem+json')
    return schemaFault(ProblemJson, await response.clone().json())
  const path = new URL(request.url).pathname.replace(/^\/api\/v1\//, '/api/')
  if (request.method === 'OPTIONS') return response.status === 204 ? null : 'it is no 204'
  const method = request.method === 'HEAD' ? 'GET' : request.method
  const route = routes.find(
    (route) =>
      route.method === method && new RegExp(`^${route.path.replaceAll(/:\w+/g, '[^/]+')}$`).test(path),
  )
  if (route === undefined) return 'there is no such route, and it is no problem document'
  if (!(route.statuses ?? [200]).includes(response.status)) return 'the route does not tell of this status'
  const isJson = typeof route.reply !== 'string'
  if (type !== (isJson ? 'application/json' : route.reply)) return `its type is ${type}`
  if (!isJson || request.method === 'HEAD') return null
  return schemaFault(route.reply as z.ZodType, await response.clone().json())
}

/** A field that the schema does not know is a fault too. */
function schemaFault(schema: z.ZodType, json: unknown): string | null {
  const parsed = schema.safeParse(json)
  if (!parsed.success) return JSON.stringify(parsed.error.issues.slice(0, 3))
  return isDeepStrictEqual(parsed.data, json) ? null : `it has more than its schema: ${JSON.stringify(json)}`
}
