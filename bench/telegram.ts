import { setTimeout as sleep } from 'node:timers/promises'
import { createStage } from '../test/e2e/stage.ts'
import { serveFakeTelegram, TELEGRAM_TOKEN } from '../test/telegram/fake-telegram.ts'
import { median, type Bench } from './row.ts'
import { memoryMb } from './support/memory.ts'

const ROUNDS = 3
const SETTLED_MS = 8000

/** What the Telegram bot adds to an idle daemon that asks a Bot API on loopback for updates: pairs, one with and one without. */
export const bench: Bench = async () => {
  const api = await serveFakeTelegram()
  const telegram = [
    '[telegram]',
    `token = "${TELEGRAM_TOKEN}"`,
    `api_url = "${api.url}"`,
    'chats = ["42"]',
  ].join('\n')
  const measure = async (config: string) => {
    await using stage = await createStage(() => ({ kind: 'drop' }), { config })
    await stage.ccm(['start'])
    const { pid } = await stage.status()
    await sleep(SETTLED_MS)
    return { pss: memoryMb(pid, 'Pss'), own: memoryMb(pid, 'Pss_Anon') }
  }
  const [without, withBot] = [[] as Memory[], [] as Memory[]]
  // The first fills the compile cache.
  await measure(telegram)
  for (let round = 0; round < ROUNDS; round += 1) {
    without.push(await measure(''))
    withBot.push(await measure(telegram))
  }
  if (!api.calls.some(({ method }) => method === 'getUpdates')) throw new Error('The bot asked for nothing.')
  await api.close()
  const row = (name: string, of: keyof Memory) => {
    const added = median(withBot.map((memory, round) => memory[of] - (without[round]?.[of] ?? NaN)))
    return { name, peer: null, ours: added, ratio: null, unit: 'MB', goal: 'at most 8' }
  }
  return [row('Telegram bot, PSS added', 'pss'), row('Telegram bot, its own added', 'own')]
}

type Memory = { pss: number; own: number }
