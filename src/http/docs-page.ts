import { createHash } from 'node:crypto'
import type { OpenApi, Operation } from './openapi.ts'

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff }
code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { overflow-x: auto; padding: .75rem; background: #f3f4f6; border-radius: 6px }
summary { cursor: pointer; padding: .4rem 0 }
summary b { display: inline-block; min-width: 4rem }
table { border-collapse: collapse } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }
small { color: #57606a }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #14171a } pre { background: #1f242a } small { color: #9aa4ae } }
`

/** Lets this page's own style in and nothing else: no script, no picture, no connection, no form. */
export const DOCS_POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** The document as one HTML page that needs nothing else: no script, no network. */
export function docsPage({ info, paths, components }: OpenApi): string {
  const groups = Map.groupBy(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    ),
    ({ operation }) => operation.tags[0] ?? '',
  )
  const sections = [...groups].map(
    ([tag, routes]) =>
      `<h2>${escape(tag)}</h2>${routes.map(({ path, method, operation }) => routeOf(path, method, operation)).join('')}`,
  )
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="${escape(name)}"><summary><code>${escape(name)}</code></summary>${json(schema)}</details>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(info.title)} API</title><style>${STYLE}</style></head>
<body><h1>${escape(info.title)} API</h1><p>${prose(info.description)}</p>
<p>As a document for programs: <a href="/openapi.json">openapi.json</a>.</p>
${sections.join('\n')}
<h2>Schemas</h2>${schemas.join('\n')}
</body></html>
`
}

function routeOf(path: string, method: string, operation: Operation): string {
  const [need = {}] = operation.security
  const scope =
    operation.security.length === 0 ? 'anyone' : (need['credential']?.join(', ') ?? 'a secret of its own')
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: where, required, schema }) =>
      `<tr><td><code>${escape(name)}</code></td><td>${where}${required ? '' : ', optional'}</td><td><code>${escape(JSON.stringify(schema))}</code></td></tr>`,
  )
  const body = operation.requestBody?.content['application/json']?.schema
  return `<details><summary><b>${method.toUpperCase()}</b> <code>${escape(path)}</code> ${prose(operation.summary)}</summary>
<p><small>For: ${escape(scope)}</small></p>
${parameters.length === 0 ? '' : `<table>${parameters.join('')}</table>`}
${body === undefined ? '' : `<p>Body</p>${json(body)}`}
${Object.entries(operation.responses)
  .filter(([status]) => status !== 'default')
  .map(([status, response]) => `<p>${escape(status)}</p>${json((response as { content: unknown }).content)}`)
  .join('')}</details>
`
}

/** Indented JSON whose names of schemas lead to them. */
function json(value: unknown): string {
  const text = escape(JSON.stringify(value, null, 2))
  return `<pre>${text.replaceAll(/#\/components\/schemas\/(\w+)/g, '<a href="#$1">$1</a>')}</pre>`
}

function prose(text: string): string {
  return escape(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

function escape(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replaceAll(/[&<>"]/g, (character) => names[character] ?? '')
}
