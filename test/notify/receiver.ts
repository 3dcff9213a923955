import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a receiver was sent. */
export type Received = { path: string; headers: Record<string, string>; body: Record<string, unknown> }

/** An HTTP server on loopback that keeps what it gets; `answer` decides status, headers and body. */
export async function serveReceiver(
  answer: (count: number) => { status?: number; headers?: Record<string, string>; body?: unknown } | 'hang',
): Promise<{ url: string; received: Received[]; [Symbol.asyncDispose]: () => Promise<void> }> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({
        path: request.url ?? '',
        headers: request.headers as Record<string, string>,
        body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>,
      })
      const reply = answer(received.length)
      if (reply === 'hang') return
      response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers })
      response.end(JSON.stringify(reply.body ?? {}))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
