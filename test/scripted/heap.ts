import { setTimeout as sleep } from 'node:timers/promises'
import { signal } from '../support/signal.ts'

/** Lets Node choose the port of a process's inspector, which SIGUSR1 opens. */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=0' }

/**
 * What a Node process holds on its heap, in MB: asked for right after a full collection, because what V8 has not given
 * back yet says nothing. `log` reads what it has written to stderr so far; it was started with `INSPECTABLE`.
 */
export async function heapMbOf(pid: number, log: () => string): Promise<number> {
  await using inspector = await inspect(pid, log)
  await inspector.ask('HeapProfiler.enable')
  await inspector.ask('HeapProfiler.collectGarbage')
  const { usedSize } = (await inspector.ask('Runtime.getHeapUsage')) as { usedSize: number }
  return Math.round(usedSize / 1e5) / 10
}

/** Bytes of what a Node process holds on its heap, by kind: of strings and code the beginning, of objects the class. */
export async function heapKindsOf(pid: number, log: () => string): Promise<Map<string, number>> {
  await using inspector = await inspect(pid, log)
  const chunks: string[] = []
  inspector.hear('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => chunks.push(String(chunk)))
  await inspector.ask('HeapProfiler.takeHeapSnapshot', { reportProgress: false })
  const { snapshot, nodes, strings } = JSON.parse(chunks.join('')) as Snapshot
  const { node_fields: fields, node_types: types } = snapshot.meta
  const [type, name, size] = ['type', 'name', 'self_size'].map((field) => fields.indexOf(field))
  const kinds = new Map<string, number>()
  for (let at = 0; at < nodes.length; at += fields.length) {
    const of = (offset = 0) => nodes[at + offset] ?? 0
    // Ids and times differ in every string; what a string is of does not.
    const kind = `${types[0]?.[of(type)]} ${(strings[of(name)] ?? '').slice(0, 40).replaceAll(/\d\w*/g, '#')}`
    kinds.set(kind, (kinds.get(kind) ?? 0) + of(size))
  }
  return kinds
}

type Snapshot = {
  snapshot: { meta: { node_fields: string[]; node_types: string[][] } }
  nodes: number[]
  strings: string[]
}

type Message = { id?: number; result?: unknown; method?: string; params?: Record<string, unknown> }

type Inspector = AsyncDisposable & {
  ask: (method: string, params?: object) => Promise<unknown>
  hear: (method: string, heard: (params: Record<string, unknown>) => void) => void
}

async function inspect(pid: number, log: () => string): Promise<Inspector> {
  const address = () => [...log().matchAll(/Debugger listening on (ws:\S+)/g)].at(-1)?.[1]
  const known = address()
  signal(pid, 'SIGUSR1')
  // One that listens already says nothing more.
  for (let tries = 0; address() === known && tries < 20; tries++) await sleep(50)
  const found = address()
  if (found === undefined) throw new Error(`process ${pid} opened no inspector`)
  const socket = new WebSocket(found)
  await event(socket, 'open')
  const closed = new Promise<never>((_, reject) => {
    socket.addEventListener('close', () => reject(new Error(`process ${pid} has ended`)))
  })
  closed.catch(() => undefined)
  const answers = new Map<number, (result: unknown) => void>()
  const hears = new Map<string, (params: Record<string, unknown>) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id = 0, result, method = '', params = {} } = JSON.parse(String(data)) as Message
    answers.get(id)?.(result)
    hears.get(method)?.(params)
  })
  let asked = 0
  return {
    ask(method, params = {}) {
      const id = ++asked
      socket.send(JSON.stringify({ id, method, params }))
      return Promise.race([closed, new Promise((resolve) => answers.set(id, resolve))])
    },
    hear: (method, heard) => void hears.set(method, heard),
    async [Symbol.asyncDispose]() {
      socket.close()
      await closed.catch(() => undefined)
    },
  }
}

function event(socket: WebSocket, name: 'open'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener(name, () => resolve())
    socket.addEventListener('error', () => reject(new Error('the inspector does not answer')))
  })
}
