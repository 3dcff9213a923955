import { createHash, timingSafeEqual } from 'node:crypto'
import { HookReply } from '../../protocol/webhook.ts'
import { Problem } from '../problem.ts'
import { readBody } from '../routes/body.ts'
import type { Route } from '../routes/route.ts'

/** Updates of a Telegram bot; `handle` resolves once what it asks for is durable. */
export type TelegramHook = { secret: string; handle: (update: unknown) => Promise<void> }

/** `POST /webhook/telegram`: exists only where the bot is told to send its updates here. */
export function telegramRoute({ secret, handle }: TelegramHook): Route {
  return {
    method: 'POST',
    path: '/webhook/telegram',
    access: 'own',
    about: 'Updates of the Telegram bot, with its secret token.',
    reply: HookReply,
    timeoutMs: 10_000,
    async handle(context) {
      const given = context.req.header('x-telegram-bot-api-secret-token') ?? ''
      if (!isSame(given, secret))
        throw new Problem(401, { code: 'UNAUTHORIZED', message: 'The secret token is missing or wrong.' })
      const update = await readBody(context)
      const id = (update as { update_id?: unknown } | null)?.update_id
      if (!Number.isSafeInteger(id))
        throw new Problem(400, { code: 'BAD_INPUT', message: 'The body is no update of a Telegram bot.' })
      await handle(update)
      return context.json({ ok: true })
    },
  }
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
