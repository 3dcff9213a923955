import { once } from 'node:events'
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http'
import { createConnection, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { serveRealtime, type TestRealtime } from './realtime.ts'
import type { TestSupabase } from './supabase.ts'

/** What happens to one REST request; null: it goes through. `commit` lets it be done, and its answer is nobody's. */
export type RestFault =
  | ((
      response: ServerResponse,
      pass: () => Promise<void>,
      commit: () => Promise<void>,
    ) => void | Promise<void>)
  | null

/** The front door of a Supabase project: REST of the stand-in, Realtime of our own, and faults of both. */
export type TestGateway = AsyncDisposable & {
  url: string
  realtime: TestRealtime
  /** Names of the functions that were called, in order. */
  calls: string[]
  /** Decides about each request by the name of its function. */
  faultOf: (name: string) => RestFault
  /** Refuses and cuts every connection, until `up`. */
  down: () => Promise<void>
  up: () => Promise<void>
}

/** Opens the door on a port of its own. */
export async function openGateway(supabase: TestSupabase): Promise<TestGateway> {
  const target = new URL(supabase.url)
  const calls: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    const name = (request.url ?? '').split('?')[0]?.split('/').at(-1) ?? ''
    calls.push(name)
    const pass = async () => proxy(request, response, target)
    const fault = gateway.faultOf(name)
    const commit = async () => proxy(request, null, target)
    Promise.resolve(fault === null ? pass() : fault(response, pass, commit)).catch(() => response.destroy())
  })
  server.keepAliveTimeout = 60_000
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const realtime = await serveRealtime(
    server,
    supabase.postgres.url(),
    (key) => key === supabase.secretKey || key === supabase.publishableKey,
  )
  const gateway: TestGateway = {
    url: `http://127.0.0.1:${port}`,
    realtime,
    calls,
    faultOf: () => null,
    async down() {
      const closed = new Promise((resolve) => server.close(resolve))
      realtime.cut()
      for (const socket of sockets) socket.destroy()
      await closed
    },
    async up() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    [Symbol.asyncDispose]: async () => {
      await realtime[Symbol.asyncDispose]()
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
  return gateway
}

async function proxy(request: IncomingMessage, response: ServerResponse | null, target: URL): Promise<void> {
  const onward = send({
    host: target.hostname,
    port: target.port,
    method: request.method,
    path: request.url,
    headers: request.headers,
  })
  request.pipe(onward)
  const [answer] = (await once(onward, 'response')) as [IncomingMessage]
  if (response === null) answer.resume()
  else {
    response.writeHead(answer.statusCode ?? 500, answer.headers)
    answer.pipe(response)
  }
  await once(answer, 'end')
}

/** A TCP proxy that can swallow what goes one way while the connection stays open. */
export type HalfOpenProxy = AsyncDisposable & {
  port: number
  swallow: (direction: 'up' | 'down' | null) => void
}

/** Listens for what should go to `port` on loopback. */
export async function startHalfOpenProxy(port: number): Promise<HalfOpenProxy> {
  let swallowed: 'up' | 'down' | null = null
  const sockets = new Set<Socket>()
  const server = createTcpServer((client) => {
    const upstream = createConnection(port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (data) => swallowed !== 'up' && upstream.write(data))
    upstream.on('data', (data) => swallowed !== 'down' && client.write(data))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    swallow: (direction) => {
      swallowed = direction
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
