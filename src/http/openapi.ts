import { z } from 'zod'
import { ProblemJson } from '../protocol/problem.ts'
import type { Route } from './routes/route.ts'

/** The part of a JSON Schema that is looked into here. */
type Schema = { properties?: Record<string, unknown>; required?: string[]; [key: string]: unknown }

/** One operation of the document, as far as the documentation page reads it. */
export type Operation = {
  summary: string
  operationId: string
  tags: string[]
  security: Record<string, string[]>[]
  parameters?: { name: string; in: 'path' | 'query' | 'header'; required: boolean; schema: unknown }[]
  requestBody?: { content: Record<string, { schema: unknown }> }
  responses: Record<string, unknown>
}

export type OpenApi = {
  openapi: '3.1.0'
  info: { title: string; version: string; description: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> }
}

const INFO = {
  title: 'ccm',
  version: '1',
  description:
    '`/api/v1/…` is the same as `/api/…`. Errors are problem documents (RFC 9457) with a stable `code`. ' +
    'Lists that go on have a `Link` header with `rel="next"`. A POST with an `Idempotency-Key` is done once a day. ' +
    'Every answer has an `X-Request-Id`, under which the log tells more.',
}

/** The OpenAPI 3.1 document of these routes; the same routes give the same text. */
export function openApiOf(routes: readonly Route[]): OpenApi {
  const { schemaOf, components } = jsonSchemas(routes)
  const paths: OpenApi['paths'] = {}
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, schemaOf) }
  }
  return {
    openapi: '3.1.0',
    info: INFO,
    paths,
    components: {
      schemas: components,
      securitySchemes: {
        credential: {
          type: 'http',
          scheme: 'bearer',
          description: "An API key (`ccm keys create`), a user's token, or the daemon's own token file.",
        },
        own: { type: 'http', scheme: 'bearer', description: 'A secret of its own that the route checks.' },
      },
    },
  }
}

function operationOf(route: Route, schemaOf: (schema: z.ZodType) => unknown): Operation {
  const { method, path, access, about, query, body, reply, statuses = [200] } = route
  const named = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => name)
  const queried = query === undefined ? {} : (schemaOf(query) as Schema)
  const parameters: Operation['parameters'] = [
    ...named.map((name) => ({ name, in: 'path' as const, required: true, schema: { type: 'string' } })),
    ...Object.entries(queried.properties ?? {}).map(([name, schema]) => ({
      name,
      in: 'query' as const,
      required: queried.required?.includes(name) ?? false,
      schema,
    })),
    ...(method === 'POST' && access !== 'own' && access !== 'open'
      ? [{ name: 'Idempotency-Key', in: 'header' as const, required: false, schema: { type: 'string' } }]
      : []),
  ]
  const content =
    typeof reply === 'string' ? { [reply]: {} } : { 'application/json': { schema: schemaOf(reply) } }
  const problem = { 'application/problem+json': { schema: schemaOf(ProblemJson) } }
  return {
    summary: about,
    operationId: [method.toLowerCase(), ...path.split(/\W+/).filter((word) => word !== '')].join('_'),
    tags: [path.split('/')[path.startsWith('/api/') ? 2 : 1] ?? ''],
    security: access === 'open' ? [] : access === 'own' ? [{ own: [] }] : [{ credential: [access] }],
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: { content: { 'application/json': { schema: schemaOf(body) } } },
    }),
    responses: {
      ...Object.fromEntries(statuses.map((status) => [status, { description: about, content }])),
      default: { description: 'What is wrong, and what helps.', content: problem },
    },
  }
}

/** All schemas as JSON Schema in one pass, so that what has a name is described once and pointed to. */
function jsonSchemas(routes: readonly Route[]) {
  const schemas = [ProblemJson, ...routes.flatMap(({ query, body, reply }) => [query, body, reply])].filter(
    (schema): schema is z.ZodType => schema !== undefined && typeof schema !== 'string',
  )
  const names = new Map([...new Set(schemas)].map((schema, index) => [schema, `s${index}`]))
  const all = z.object(Object.fromEntries([...names].map(([schema, name]) => [name, schema])))
  const json = z.toJSONSchema(all, {
    // What a caller may write; replies have no transformations, so for them it is what they are.
    io: 'input',
    override({ jsonSchema }) {
      // The format says it already, in fewer than 300 characters.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
    },
  })
  const { properties = {}, $defs = {} } = JSON.parse(
    JSON.stringify(json).replaceAll('#/$defs/', '#/components/schemas/'),
  ) as { properties?: Record<string, unknown>; $defs?: Record<string, unknown> }
  return { schemaOf: (schema: z.ZodType) => properties[names.get(schema) ?? ''], components: $defs }
}
