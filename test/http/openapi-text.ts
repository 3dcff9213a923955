import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { routesOf } from '../../src/http/app.ts'
import { openApiOf } from '../../src/http/openapi.ts'
import { createFakeDaemon } from './fake-daemon.ts'

/** The document as it is checked in. */
export const OPENAPI_FILE = join(import.meta.dirname, '../../docs/openapi.json')

/** The document of the routes as they are now, formatted as every file is. */
export async function openApiText(): Promise<string> {
  const text = JSON.stringify(openApiOf(routesOf(createFakeDaemon().deps)))
  return format(text, { ...(await resolveConfig(OPENAPI_FILE)), parser: 'json' })
}
