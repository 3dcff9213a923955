import { Problem } from '../problem.ts'
import type { HttpContext } from './route.ts'

/** The JSON of a request's body; a request without a body is an empty object. Throws a Problem 400. */
export async function readBody(context: HttpContext): Promise<unknown> {
  const text = await context.req.text()
  if (text === '') return {}
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is not valid JSON.' })
  }
}
