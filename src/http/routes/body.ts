import { Problem } from '../problem.ts'
import type { HttpContext } from './route.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** The JSON of a request's body; a request without a body is an empty object. Throws a Problem 400. */
export async function readBody(context: HttpContext): Promise<unknown> {
  const bytes = await context.req.arrayBuffer()
  if (bytes.byteLength === 0) return {}
  let text: string
  try {
    // Else what is another encoding would be taken with its characters replaced, and without a word.
    text = UTF8.decode(bytes)
  } catch {
    throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is not UTF-8.' })
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is not valid JSON.' })
  }
}
