import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { refusalOf } from './refusal.ts'

/** Long enough to read an answer on this machine. */
const HANG_UP_MS = 1000
const PROBLEMS: Partial<Record<string, [status: number, detail: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The request line and headers are larger than 16 KiB.'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'The body has chunk extensions of more than 16 KiB.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request did not arrive in time.'],
}
const BROKEN: [status: number, detail: string] = [400, 'This is no HTTP request.']
const hungUp = new WeakSet<Socket>()

/**
 * Says what was wrong with what the parser refused, then hangs up. An answer that is under way to an earlier request
 * goes out first; where the broken one has begun to be answered nothing is added. Whatever comes meanwhile is thrown
 * away: closing over it would reset the connection, and with that take the answer back.
 */
export function answerBroken(
  { code = '' }: NodeJS.ErrnoException,
  socket: Socket,
  { newest, open }: { newest: ServerResponse | null; open: ReadonlySet<ServerResponse> },
): void {
  // Every further piece of it is broken as well.
  if (hungUp.has(socket)) return
  hungUp.add(socket)
  if (!code.startsWith('HPE_') && code !== 'ERR_HTTP_REQUEST_TIMEOUT') return void socket.destroy()
  const isAnswered = newest !== null && !newest.req.complete && newest.headersSent
  const say = () => {
    socket.end(isAnswered ? '' : answerTo(code))
    setTimeout(() => socket.destroy(), HANG_UP_MS).unref()
  }
  const earlier = [...open].findLast(({ req }) => req.complete)
  if (earlier === undefined) say()
  else earlier.once('close', say)
}

function answerTo(fault: string): string {
  const [status, detail] = PROBLEMS[fault] ?? BROKEN
  const { title, headers, body } = refusalOf({ status, detail, code: 'BAD_INPUT' })
  const lines = Object.entries({ ...headers, connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return `HTTP/1.1 ${status} ${title}\r\n${lines.join('')}\r\n${body}`
}
