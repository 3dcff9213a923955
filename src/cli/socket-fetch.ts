import { request } from 'node:http'
import { Readable } from 'node:stream'

/**
 * `fetch` through the daemon's socket, which only its owner can open: no other user's program can stand at its
 * place, as one could at a port. Takes what the daemon client sends: text bodies, plain headers, a signal.
 */
export function socketFetch(socketPath: string): typeof globalThis.fetch {
  return (input, init = {}) =>
    new Promise((resolve, reject) => {
      const { pathname, search } = new URL(input instanceof Request ? input.url : input)
      const body = typeof init.body === 'string' ? init.body : null
      const sent = request(
        {
          socketPath,
          path: `${pathname}${search}`,
          method: init.method ?? 'GET',
          headers: {
            ...Object.fromEntries(new Headers(init.headers)),
            host: 'localhost',
            ...(body === null ? {} : { 'content-length': Buffer.byteLength(body) }),
          },
          ...(init.signal ? { signal: init.signal } : {}),
        },
        (answer) => {
          const headers = Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
            value === undefined ? [] : [[name, String(value)]],
          )
          resolve(
            new Response(Readable.toWeb(answer) as ReadableStream, {
              status: answer.statusCode ?? 500,
              headers,
            }),
          )
        },
      )
      sent.on('error', reject)
      sent.end(body ?? undefined)
    })
}
