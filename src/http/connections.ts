import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { answerBroken } from './broken-request.ts'

/** What is known of a connection: bytes that were taken at the last look, and what it asks for. */
type Connection = { taken: number; newest: ServerResponse | null; open: Set<ServerResponse> }

/**
 * How many connections may be open, and on how many of them something may be answered at once. Who takes nothing of
 * what is ready for `stuckMs` to twice that is cut off, and so is a request that takes longer than `arriveMs` to come;
 * how long its answer takes is the routes' matter, as a live stream is endless and a permission may be held for a day.
 */
export type ConnectionLimits = { max: number; answered: number; stuckMs: number; arriveMs: number }

/**
 * Keeps a server reachable whatever its clients do. Where no further connection may be open, the oldest one that has
 * not asked for anything yet, or has its answer, makes room: so whoever asks at once is answered beside any number of
 * slow ones. What is no HTTP is answered and hung up on. Returns whether as many others are being answered as may be:
 * then a request on this connection is to be refused.
 */
export function guardConnections(
  server: Server,
  { max, answered, stuckMs }: Omit<ConnectionLimits, 'arriveMs'>,
): (socket: Socket) => boolean {
  /** Oldest first. */
  const connections = new Map<Socket, Connection>()
  server.on('connection', (socket) => {
    if (connections.size >= max) {
      const idle = [...connections].find(([, connection]) => !isBusy(connection))
      // Not even those beyond `answered` have taken their refusal yet.
      if (idle === undefined) return void socket.destroy()
      connections.delete(idle[0])
      idle[0].destroy()
    }
    connections.set(socket, { taken: 0, newest: null, open: new Set() })
    socket.once('close', () => connections.delete(socket))
  })
  server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(socket)
    if (connection === undefined) return
    connection.newest = response
    connection.open.add(response)
    response.once('close', () => connection.open.delete(response))
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const connection = connections.get(socket as Socket)
    if (connection === undefined) socket.destroy()
    else answerBroken(error, socket as Socket, connection)
  })
  cutOffStuck(server, connections, stuckMs)
  return (socket) => {
    if (connections.size <= answered) return false
    const busy = [...connections].filter(([other, connection]) => other !== socket && isBusy(connection))
    return busy.length >= answered
  }
}

/** Something that arrived whole is being answered: live streams and held permissions, mostly. */
function isBusy({ open }: Connection): boolean {
  return [...open].some(({ req }) => req.complete)
}

/** Node itself waits for ever. A held request has nothing to take, so it may wait for its answer as long as it likes. */
function cutOffStuck(server: Server, connections: Map<Socket, Connection>, stuckMs: number): void {
  const timer = setInterval(() => {
    for (const [socket, connection] of connections) {
      const taken = socket.bytesWritten - socket.writableLength
      if (socket.writableLength > 0 && taken === connection.taken) socket.destroy()
      else connection.taken = taken
    }
  }, stuckMs).unref()
  server.on('close', () => clearInterval(timer))
}
