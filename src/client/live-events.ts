import { CcmError } from '../core/errors.ts'
import type { LiveEvent } from '../protocol/live.ts'
import { createSseReader, type SseMessage } from './sse.ts'

/** What to listen to, and what to do when the connection is lost. */
export type LiveOptions = {
  /** Id or unique prefix; without it: all tasks. */
  task?: string
  /** From the task's first event; needs `task`. */
  replay?: boolean
  /** Only hook events of this kind or phase. */
  kind?: string
  /** Goes on after this id of an earlier stream. */
  lastEventId?: string
  signal?: AbortSignal
  /** Called before each wait for a new connection. */
  onReconnect?: (waitMs: number) => void
  /** Throws DAEMON_UNREACHABLE after about this long without a connection; never unless told. */
  giveUpAfterMs?: number
}

/** A live event with its id, from which another stream can go on. */
export type LiveMessage = LiveEvent & { id: string }

const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 5000
/** Three of the server's heartbeats. */
const SILENCE_MS = 45_000

/**
 * Live events, each row once, over as many connections as it takes. The first connection has to succeed;
 * later ones are retried after 0.2 s to 5 s from the last id. Ends when the signal aborts; throws what no
 * retry heals (a wrong token, an unknown task).
 */
export async function* readLiveEvents(
  open: (lastEventId: string | null, signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  options: LiveOptions,
): AsyncGenerator<LiveMessage> {
  const { signal } = options
  let lastEventId = options.lastEventId ?? null
  let connected = false
  let waitMs = FIRST_WAIT_MS
  let waitedMs = 0
  const aborted = () => signal?.aborted === true
  while (!aborted()) {
    let failure: unknown = null
    try {
      for await (const { id, event, data } of readOnce((own) => open(lastEventId, own), signal)) {
        connected = true
        waitMs = FIRST_WAIT_MS
        waitedMs = 0
        lastEventId = id ?? lastEventId
        if (data === null || (event !== 'hook' && event !== 'state' && event !== 'task')) continue
        yield { event, data: JSON.parse(data), id: lastEventId ?? '' }
      }
    } catch (error) {
      failure = error
    }
    if (aborted()) return
    if (failure instanceof CcmError && !(failure.code === 'DAEMON_UNREACHABLE' && connected)) throw failure
    if (waitedMs >= (options.giveUpAfterMs ?? Number.POSITIVE_INFINITY)) throw failure ?? lost()
    options.onReconnect?.(waitMs)
    await sleep(waitMs, signal)
    waitedMs += waitMs
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
  }
}

/** The messages of one connection, which is always closed in the end, also when nothing came for too long. */
async function* readOnce(
  open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>,
  signal: AbortSignal | undefined,
): AsyncGenerator<SseMessage> {
  const own = new AbortController()
  const end = () => own.abort()
  signal?.addEventListener('abort', end, { once: true })
  let silence: ReturnType<typeof setTimeout> | undefined
  const heard = () => {
    clearTimeout(silence)
    silence = setTimeout(end, SILENCE_MS)
  }
  try {
    heard()
    const body = (await open(own.signal)).getReader()
    const decoder = new TextDecoder()
    const read = createSseReader()
    for (let part = await body.read(); !part.done; part = await body.read()) {
      heard()
      yield* read(decoder.decode(part.value, { stream: true }))
    }
  } finally {
    clearTimeout(silence)
    signal?.removeEventListener('abort', end)
    end()
  }
}

function lost(): CcmError {
  return new CcmError('DAEMON_UNREACHABLE', 'The daemon closed the connection and did not come back.')
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
