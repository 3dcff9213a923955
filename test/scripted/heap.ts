import { setTimeout as sleep } from 'node:timers/promises'
import { signal } from '../support/signal.ts'

/** Lets Node choose the port of a process's inspector, which SIGUSR1 opens. */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=0' }

/**
 * What a Node process holds on its heap, in MB: asked for right after a full collection, because what V8 has not given
 * back yet says nothing. `log` reads what it has written to stderr so far; it was started with `INSPECTABLE`.
 */
export async function heapMbOf(pid: number, log: () => string): Promise<number> {
  const address = () => [...log().matchAll(/Debugger listening on (ws:\S+)/g)].at(-1)?.[1]
  const known = address()
  signal(pid, 'SIGUSR1')
  // One that listens already says nothing more.
  for (let tries = 0; address() === known && tries < 20; tries++) await sleep(50)
  const found = address()
  if (found === undefined) throw new Error(`process ${pid} opened no inspector`)
  const socket = new WebSocket(found)
  await event(socket, 'open')
  try {
    await ask(socket, 1, 'HeapProfiler.enable')
    await ask(socket, 2, 'HeapProfiler.collectGarbage')
    const { usedSize } = (await ask(socket, 3, 'Runtime.getHeapUsage')) as { usedSize: number }
    return Math.round(usedSize / 1e5) / 10
  } finally {
    socket.close()
  }
}

async function ask(socket: WebSocket, id: number, method: string): Promise<unknown> {
  const answer = new Promise<unknown>((resolve) => {
    socket.addEventListener('message', ({ data }) => {
      const reply = JSON.parse(String(data)) as { id?: number; result?: unknown }
      if (reply.id === id) resolve(reply.result)
    })
  })
  socket.send(JSON.stringify({ id, method }))
  return answer
}

function event(socket: WebSocket, name: 'open'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener(name, () => resolve())
    socket.addEventListener('error', () => reject(new Error('the inspector does not answer')))
  })
}
