import type { Notifier } from '../core/incident/incident.ts'
import { createCommandNotifier } from './command.ts'
import { createNtfyNotifier } from './ntfy.ts'
import { createTelegramNotifier } from './telegram.ts'
import { createWebhookNotifier } from './webhook.ts'

/** Where alerts go; what is null or empty is not used. URLs and tokens are secrets. */
export type NotifySettings = {
  /** Program and arguments. */
  command: readonly string[]
  webhook: string | null
  ntfy: { topicUrl: string; token: string | null } | null
  telegram: { baseUrl: string; token: string; chat: string } | null
}

/** One notifier for each way that is configured. */
export function createNotifiers({ command, webhook, ntfy, telegram }: NotifySettings): Notifier[] {
  return [
    ...(command.length === 0 ? [] : [createCommandNotifier(command)]),
    ...(webhook === null ? [] : [createWebhookNotifier(webhook)]),
    ...(ntfy === null ? [] : [createNtfyNotifier(ntfy.topicUrl, ntfy.token)]),
    ...(telegram === null ? [] : [createTelegramNotifier(telegram)]),
  ]
}
