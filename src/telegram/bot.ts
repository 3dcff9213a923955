import { Bot, GrammyError, InlineKeyboard, type Context } from 'grammy'
import type { Update } from 'grammy/types'
import type { Logger } from 'pino'
import { clip } from '../core/clip.ts'
import { CcmError, messageOf } from '../core/errors.ts'
import type { InboxEntry } from '../core/outside/inbox.ts'
import type { Told } from '../core/outside/reply.ts'

/** What a waiting agent asks for. */
export type Question = { id: string; tool: string | null; detail: string; options: string[] }

/** What the bot can do; every answer is a text for a person. Ids may be beginnings. */
export type TelegramPorts = {
  /** Stores the request before it resolves; `key` is the update's. */
  run: (key: string, asker: Asker, text: string) => Promise<string>
  tasks: () => Promise<string>
  /** `question`: what the task waits for, so that buttons can be put below. */
  show: (id: string) => Promise<{ text: string; taskId: string | null; question: Question | null }>
  cancel: (id: string, asker: Asker) => Promise<string>
  approve: (id: string, ask: string | null, asker: Asker) => Promise<string>
  deny: (id: string, ask: string | null, asker: Asker) => Promise<string>
  /** Decides a request that waits in the inbox, where this chat may. */
  decide: (id: number, approved: boolean, asker: Asker) => Promise<string>
  status: () => Promise<string>
  /** Whether an update was dealt with: Telegram sends one again whose answer it missed. */
  isDone: (update: number) => boolean
  setDone: (update: number) => void
}

/** Who says something, and in which chat. */
export type Asker = { by: string; chat: string }

/** A bot that hears allowed chats only. */
export type TelegramBot = {
  /** Deals with one update that came to the webhook; resolves once what it asks for is durable. */
  handle: (update: unknown) => Promise<void>
  tell: (chat: string, text: string, signal: AbortSignal) => Promise<Told>
  /** The question of a task, with buttons. */
  ask: (chat: string, taskId: string, question: Question) => Promise<void>
  /** A request that waits for approval, with buttons. */
  announce: (chat: string, entry: InboxEntry) => Promise<void>
  /** Asks for updates, or has them sent to `webhook`; tries until it works. */
  begin: () => void
  close: () => Promise<void>
}

/** Telegram takes 4096. */
const TEXT_MAX = 4000
const RETRY_MS = 10_000
/** Longer than Telegram holds a question for updates open. */
const CALL_S = 60
const STOP_MS = 2000

const HELP = `/run TEXT gives the agent a task
/tasks lists the newest
/show ID shows one
/cancel ID ends one
/approve ID, /deny ID answer an agent
/status says how the daemon is`

export function createTelegramBot(options: {
  token: string
  apiUrl: string
  /** Ids of chats that are heard; everything else is as if it had not been said. */
  chats: readonly string[]
  /** Where Telegram sends updates to; null: they are asked for. */
  webhook: { url: string; secret: string } | null
  ports: TelegramPorts
  logger: Logger
  retryMs?: number
}): TelegramBot {
  const { chats, ports, logger, webhook } = options
  const bot = new Bot(options.token, { client: { apiRoot: options.apiUrl, timeoutSeconds: CALL_S } })
  let closed = false
  let timer: NodeJS.Timeout | null = null
  let running: Promise<void> = Promise.resolve()

  const underWay = new Set<number>()
  bot.use(async (context, next) => {
    const chat = context.chat?.id
    if (chat === undefined || !chats.includes(String(chat))) return
    const { update_id: update } = context.update
    // A second /approve would allow what the agent asks for by then.
    if (ports.isDone(update)) return
    await next()
    ports.setDone(update)
  })
  /** What was done stays done where the words about it do not arrive: an error would bring the update again. */
  const tried = async (words: Promise<unknown>): Promise<void> => {
    await words.catch((error: unknown) => {
      logger.warn({ err: withoutToken(error, options.token) }, 'an answer to Telegram was not delivered')
    })
  }
  const answer = async (context: Context, text: Promise<string>): Promise<void> => {
    const said = await text.catch((error: unknown) => messageOf(error))
    await tried(context.reply(clip(said, TEXT_MAX), { link_preview_options: { is_disabled: true } }))
  }
  const word = (context: Context): string => {
    const given =
      String(context.match ?? '')
        .trim()
        .split(/\s+/)[0] ?? ''
    if (!/^[\w-]{1,64}$/.test(given)) throw new Error('Name the task, as in /show 0fk3.')
    return given
  }
  const whoIs = ({ from, chat }: Context): Asker => ({
    by: from === undefined ? 'telegram' : `telegram ${from.username ?? from.id}`,
    chat: String(chat?.id),
  })

  // Whoever forwards or picks such a text did not write it, and may not have read it as a command.
  bot.on('message:entities:bot_command').filter(
    ({ message }) =>
      (message.forward_origin !== undefined || message.via_bot !== undefined) &&
      message.entities.some(({ type, offset }) => type === 'bot_command' && offset === 0),
    (context) => answer(context, Promise.resolve('Forwarded texts are no commands: write it yourself.')),
  )
  bot.command(['start', 'help'], (context) => answer(context, Promise.resolve(HELP)))
  bot.command('run', async (context) => {
    const text = context.match.trim()
    const key = `tg:${context.update.update_id}`
    if (text === '') return answer(context, Promise.resolve('Say what to do: /run Fix the failing test'))
    const said = await ports.run(key, whoIs(context), text).catch(async (error) => {
      await answer(context, Promise.resolve(`It was not taken: ${messageOf(error)}`))
      // To the webhook it is delivered again then.
      throw error
    })
    await answer(context, Promise.resolve(said))
  })
  bot.command('tasks', (context) => answer(context, ports.tasks()))
  bot.command('status', (context) => answer(context, ports.status()))
  bot.command('show', async (context) => {
    try {
      const { text, taskId, question } = await ports.show(word(context))
      const keyboard = taskId === null || question === null ? null : buttonsOf(taskId, question)
      await tried(context.reply(clip(text, TEXT_MAX), keyboard === null ? {} : { reply_markup: keyboard }))
    } catch (error) {
      await answer(context, Promise.resolve(messageOf(error)))
    }
  })
  const byWord = (act: (id: string, asker: Asker) => Promise<string>) => (context: Context) =>
    answer(context, (async () => act(word(context), whoIs(context)))())
  bot.command(
    'cancel',
    byWord((id, asker) => ports.cancel(id, asker)),
  )
  bot.command(
    'approve',
    byWord((id, asker) => ports.approve(id, null, asker)),
  )
  bot.command(
    'deny',
    byWord((id, asker) => ports.deny(id, null, asker)),
  )
  bot.on('callback_query:data', async (context) => {
    const [act = '', id = '', ask = ''] = context.callbackQuery.data.split(':')
    const said = await decided(act, id, ask === '' ? null : ask, whoIs(context)).catch((error: unknown) =>
      messageOf(error),
    )
    await tried(context.answerCallbackQuery(clip(said, 190)))
    await context.editMessageReplyMarkup().catch(() => undefined)
    await tried(context.reply(clip(said, TEXT_MAX)))
  })
  bot.catch(({ error }) => {
    logger.error({ err: withoutToken(error, options.token) }, 'an update of Telegram could not be dealt with')
  })

  async function decided(act: string, id: string, ask: string | null, asker: Asker): Promise<string> {
    if (act === 'a') return ports.approve(id, ask, asker)
    if (act === 'd') return ports.deny(id, ask, asker)
    if ((act === 'ia' || act === 'ir') && /^\d{1,15}$/.test(id))
      return ports.decide(Number(id), act === 'ia', asker)
    return 'That button means nothing any more.'
  }

  async function connect(): Promise<void> {
    await bot.init()
    if (webhook !== null) {
      await bot.api.setWebhook(webhook.url, {
        secret_token: webhook.secret,
        allowed_updates: ['message', 'callback_query'],
      })
      return
    }
    // Resolves when it is stopped; what was asked for while no daemon ran is dealt with.
    await bot.start({ allowed_updates: ['message', 'callback_query'] })
  }

  function begin(): void {
    if (closed) return
    running = connect().catch((error: unknown) => {
      if (closed) return
      logger.warn(
        { err: withoutToken(error, options.token) },
        'Telegram cannot be reached; it is tried again',
      )
      timer = setTimeout(begin, options.retryMs ?? RETRY_MS).unref()
    })
  }

  const send = async (chat: string, text: string, keyboard?: InlineKeyboard): Promise<void> => {
    await bot.api
      .sendMessage(chat, clip(text, TEXT_MAX), {
        link_preview_options: { is_disabled: true },
        ...(keyboard === undefined ? {} : { reply_markup: keyboard }),
      })
      .catch((error: unknown) => {
        logger.warn({ err: withoutToken(error, options.token) }, 'a message to Telegram was not delivered')
      })
  }

  return {
    async handle(update) {
      if (!bot.isInited()) await bot.init()
      const { update_id: id } = update as Update
      if (underWay.has(id)) throw new CcmError('UNAVAILABLE', 'This update is being dealt with.')
      underWay.add(id)
      try {
        await bot.handleUpdate(update as Update)
      } finally {
        underWay.delete(id)
      }
    },
    async tell(chat, text, signal) {
      try {
        const { message_id } = await bot.api.sendMessage(
          chat,
          clip(text, TEXT_MAX),
          { link_preview_options: { is_disabled: true } },
          signal as Parameters<typeof bot.api.sendMessage>[3],
        )
        return { ref: String(message_id) }
      } catch (error) {
        if (!(error instanceof GrammyError))
          return { failed: 'Telegram could not be reached.', retryAfterMs: null, hopeless: false }
        const seconds = error.parameters.retry_after
        return {
          failed: `Telegram answered ${error.error_code}.`,
          retryAfterMs: seconds === undefined ? null : seconds * 1000,
          hopeless: error.error_code === 400 || error.error_code === 403,
        }
      }
    },
    ask: (chat, taskId, question) => send(chat, questionText(taskId, question), buttonsOf(taskId, question)),
    announce: (chat, { id, title, sender, reason, project }) =>
      send(
        chat,
        `Request ${id} for ${project} waits for approval.\n${title}\nFrom ${sender ?? 'nobody'}. ${reason ?? ''}`,
        new InlineKeyboard().text('Approve', `ia:${id}`).text('Refuse', `ir:${id}`),
      ),
    begin,
    async close() {
      closed = true
      if (timer !== null) clearTimeout(timer)
      if (!bot.isRunning()) return
      const stopped = bot.stop().then(async () => running)
      const late = new Promise((resolve) => setTimeout(resolve, STOP_MS).unref())
      await Promise.race([stopped.catch(() => undefined), late])
    },
  }
}

function questionText(taskId: string, { tool, detail }: Question): string {
  return `Task ${taskId} waits for you${tool === null ? '' : ` (${tool})`}:\n${clip(detail, 3000)}`
}

/** A press counts for this very request only; 27 of the 64 bytes that a button may hold. */
function buttonsOf(taskId: string, { id }: Question): InlineKeyboard {
  return new InlineKeyboard().text('Approve', `a:${taskId}:${id}`).text('Deny', `d:${taskId}:${id}`)
}

/** The URL of the API holds the token. */
function withoutToken(error: unknown, token: string): { message: string } {
  return { message: messageOf(error).replaceAll(token, '…') }
}
