import { z } from 'zod'
import { docsPage, DOCS_POLICY } from '../docs-page.ts'
import { openApiOf, type OpenApi } from '../openapi.ts'
import type { Route } from './route.ts'

/** What the other routes are, for programs and for people; made when first asked for. */
export function documentRoutes(others: readonly Route[]): Route[] {
  let made: { document: OpenApi; page: string } | undefined
  const make = () => {
    const document = openApiOf([...others, ...routes])
    return { document, page: docsPage(document) }
  }
  const routes: Route[] = [
    {
      method: 'GET',
      path: '/openapi.json',
      access: 'open',
      about: 'This document: all routes, what they take and what they answer.',
      reply: z.looseObject({ openapi: z.string() }),
      handle: (context) => context.json((made ??= make()).document),
    },
    {
      method: 'GET',
      path: '/docs',
      access: 'open',
      about: 'The same as a page for people; it works offline.',
      reply: 'text/html',
      handle: (context) =>
        context.html((made ??= make()).page, 200, { 'content-security-policy': DOCS_POLICY }),
    },
  ]
  return routes
}
