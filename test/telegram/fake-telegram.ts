import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Call = { method: string; body: Record<string, unknown> }

/** Telegram's Bot API on loopback, as far as a bot needs it: a test puts updates in and reads calls. */
export type FakeTelegram = {
  url: string
  calls: Call[]
  /** Texts that were sent to a chat, oldest first. */
  textsTo: (chat: number | string) => string[]
  /** Puts an update in front of whoever asks for updates; answers its id. */
  push: (update: Record<string, unknown>) => number
  /** The next calls of this method are answered so, each once. */
  refuse: (method: string, reply: object) => void
  close: () => Promise<void>
}

export const TELEGRAM_TOKEN = '123456:telegram-token'

export async function serveFakeTelegram(): Promise<FakeTelegram> {
  const calls: Call[] = []
  const updates: Record<string, unknown>[] = []
  const refusals: { method: string; reply: object }[] = []
  const held = new Set<() => void>()
  let ids = 100
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const [, token, method = ''] = /^\/bot([^/]+)\/(\w+)$/.exec(request.url ?? '') ?? []
      const text = Buffer.concat(chunks).toString('utf8')
      const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
      calls.push({ method, body })
      const refusal = refusals.findIndex((one) => one.method === method)
      if (token !== TELEGRAM_TOKEN)
        return send(response, { ok: false, error_code: 401, description: 'Unauthorized' })
      if (refusal !== -1) return send(response, refusals.splice(refusal, 1)[0]?.reply ?? {})
      if (method === 'getMe')
        return ok(response, { id: 1, is_bot: true, first_name: 'ccm', username: 'ccm_bot' })
      if (method === 'getUpdates') return giveUpdates(response, Number(body['offset'] ?? 0))
      return ok(
        response,
        method === 'sendMessage' ? { message_id: (ids += 1), chat: { id: body['chat_id'] } } : true,
      )
    })
  })
  const giveUpdates = (response: ServerResponse, offset: number) => {
    const due = () => updates.filter(({ update_id }) => Number(update_id) >= offset)
    if (due().length > 0) return ok(response, due())
    const give = () => {
      held.delete(give)
      clearTimeout(timer)
      ok(response, due())
    }
    const timer = setTimeout(give, 100)
    held.add(give)
    response.on('close', () => held.delete(give))
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    textsTo: (chat) =>
      calls
        .filter(({ method, body }) => method === 'sendMessage' && String(body['chat_id']) === String(chat))
        .map(({ body }) => String(body['text'])),
    push(update) {
      const update_id = (ids += 1)
      updates.push({ update_id, ...update })
      for (const give of held) give()
      return update_id
    },
    refuse: (method, reply) => void refusals.push({ method, reply }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function ok(response: ServerResponse, result: unknown): void {
  send(response, { ok: true, result })
}

function send(response: ServerResponse, reply: object): void {
  if (response.destroyed) return
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
}

/** A message of a person, as an update holds it. */
export function message(chat: number, text: string): Record<string, unknown> {
  const [command = ''] = text.split(' ')
  return {
    message: {
      message_id: 1,
      date: 0,
      chat: { id: chat, type: 'private', first_name: 'Ada' },
      from: { id: chat, is_bot: false, first_name: 'Ada', username: 'ada' },
      text,
      ...(command.startsWith('/') && {
        entities: [{ type: 'bot_command', offset: 0, length: command.length }],
      }),
    },
  }
}

/** A press on a button below a message of the bot. */
export function press(chat: number, data: string): Record<string, unknown> {
  const { message: below } = message(chat, 'x') as { message: Record<string, unknown> }
  return {
    callback_query: { id: '7', from: below['from'], chat_instance: '1', data, message: below },
  }
}
