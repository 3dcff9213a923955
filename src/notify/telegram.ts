import { clip } from '../core/clip.ts'
import { type Notifier, noticeText, noticeTitle } from '../core/incident/incident.ts'
import { postJson } from './post.ts'

/** Sends each message to one chat through Telegram's Bot API at `baseUrl`; as plain text, so nothing is markup. */
export function createTelegramNotifier(bot: { baseUrl: string; token: string; chat: string }): Notifier {
  const url = `${bot.baseUrl.replace(/\/+$/, '')}/bot${bot.token}/sendMessage`
  return {
    name: 'telegram',
    send(notice, signal) {
      const text = clip(`${noticeTitle(notice)}\n${noticeText(notice)}`, 4000)
      const body = { chat_id: bot.chat, text, link_preview_options: { is_disabled: true } }
      const isSent = (reply: unknown) => (reply as { ok?: unknown } | null)?.ok === true
      return postJson(url, body, { signal, isSent })
    },
  }
}
