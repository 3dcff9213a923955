import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import type { Idempotency, KeptReply } from '../store/idempotency.ts'
import { Problem } from './problem.ts'
import type { Route } from './routes/route.ts'

const REPLY_MAX_CHARS = 256 * 1024
/** Kept in place of a reply that is shown once: it holds a secret, and nothing here may. */
const SHOWN: KeptReply = { status: 409, body: '' }
const TOO_LARGE: KeptReply = { status: 413, body: '' }
/** What a repetition is told where only this was kept, by its status. */
const DONE: Record<number, { message: string; remedy: string }> = {
  [SHOWN.status]: {
    message: 'This request was done, and what it gave is shown once.',
    remedy: 'Where that answer was lost, revoke what was made and make another with a new Idempotency-Key.',
  },
  [TOO_LARGE.status]: {
    message: 'This request was done, and its answer is too large to be given twice.',
    remedy: 'Ask for what it was about.',
  },
}

/**
 * Lets a handler do a request with an `Idempotency-Key` once: its repetition gets the first reply again, with
 * `idempotency-replayed: true`; also where the caller was told that it took too long. Errors of ours and refusals for
 * being too many are not kept. Between the act and the kept reply a crash may fall, and a full disk keeps none: the
 * handlers' own keys (a task's dedupe key) hold there. `shownOnce`: the repetition is told only that it was done.
 */
export function doneOnce(deps: {
  idempotency: Idempotency
  clock: Clock
  logger: Logger
}): (route: Pick<Route, 'handle' | 'shownOnce'>) => Route['handle'] {
  const { idempotency, clock, logger } = deps
  const underWay = new Set<string>()

  /** Never rejects: it is done, and an error would have it done again. */
  async function keep(
    reply: Response,
    shownOnce: boolean,
    { caller, key, print }: { caller: string; key: string; print: string },
  ): Promise<void> {
    try {
      idempotency.keep(caller, key, print, await keptOf(reply, shownOnce), clock())
    } catch (err) {
      logger.error({ err }, 'the answer to a request with an Idempotency-Key could not be kept')
    }
  }

  return ({ handle, shownOnce = false }) =>
    async (context) => {
      const key = context.req.header('idempotency-key')
      if (key === undefined) return handle(context)
      if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
        throw new Problem(400, {
          code: 'BAD_INPUT',
          message: 'The Idempotency-Key must be 1 to 255 printable characters.',
          field: 'idempotency-key',
        })
      }
      const { kind, id } = context.get('principal')
      const caller = `${kind} ${id}`
      const { method, path } = context.req
      const print = createHash('sha256')
        .update(`${method} ${path}\n`)
        // As bytes: who reads the body after this is given what was read first.
        .update(new Uint8Array(await context.req.arrayBuffer()))
        .digest('hex')
      const known = idempotency.find(caller, key, print, clock())
      if (known === 'different') {
        throw new Problem(422, {
          code: 'CONFLICT',
          message: 'This Idempotency-Key was used for another request within the last day.',
          remedy: 'Use a new key for a new request.',
        })
      }
      if (known !== 'new') {
        const done = DONE[known.status]
        if (done !== undefined) throw new Problem(409, { code: 'CONFLICT', ...done })
        context.header('idempotency-replayed', 'true')
        return context.body(known.body, known.status as 200, { 'content-type': 'application/json' })
      }
      const name = `${caller}\n${key}`
      if (underWay.has(name)) {
        context.header('retry-after', '1')
        throw new Problem(409, { code: 'CONFLICT', message: 'The first request with this key is under way.' })
      }
      underWay.add(name)
      context.set('idempotencyKey', `${caller} ${key}`)
      try {
        const reply = await handle(context)
        if (reply.status < 400) await keep(reply, shownOnce, { caller, key, print })
        return reply
      } finally {
        underWay.delete(name)
      }
    }
}

async function keptOf(reply: Response, shownOnce: boolean): Promise<KeptReply> {
  if (shownOnce) return SHOWN
  const body = await reply.clone().text()
  return body.length > REPLY_MAX_CHARS ? TOO_LARGE : { status: reply.status, body }
}
