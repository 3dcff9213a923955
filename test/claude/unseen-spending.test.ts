import { expect, test } from 'vitest'
import { says } from '../e2e/replies.ts'
import { createStage, type Stage } from '../e2e/stage.ts'

const BYPASS = ['--permission-mode', 'bypassPermissions']
const asks = () =>
  createStage(({ userText }) =>
    userText.includes('Go on') ? says('Done.\n[DONE]') : says('Which of the two do you want?'),
  )
const isWaiting = ({ agent_state: state }: { agent_state: string | null }) => state === 'waiting'

/** What a person types into the agent's window; the menu of commands needs a moment before Enter. */
async function types(stage: Stage, window: string | null, text: string): Promise<void> {
  const pane = ['-t', `ccm:${window ?? ''}`]
  await stage.tmux('send-keys', ...pane, '-l', text)
  await new Promise((resolve) => setTimeout(resolve, 800))
  await stage.tmux('send-keys', ...pane, 'Enter')
}

/** What a command types is lost while an earlier one still works: its hook says that it is through. */
async function hears(stage: Stage, id: string, name: string, times: number): Promise<void> {
  const count = async () => (await stage.events(id)).filter((event) => event.hook_event_name === name).length
  await expect.poll(count, { timeout: 90_000, interval: 200 }).toBe(times)
}

test(
  'what is used after a person cleared the session counts, and its end is heard, also after a restart',
  { timeout: 400_000 },
  async () => {
    await using stage = await asks()
    const { id } = await stage.add('Ask.', ...BYPASS)
    const { window } = await stage.until(id, isWaiting, 120_000)
    await types(stage, window, '/clear')
    await hears(stage, id, 'SessionStart', 2)
    await stage.crash()
    await stage.status()
    await types(stage, window, 'Go on with the first')
    const task = await stage.end(id, 120_000)
    expect(task.status).toBe('succeeded')
    // Each reply costs 1200 + 100 + 2000 tokens and what it says.
    const read = Object.values(task.result?.usage ?? {}).map((usage) => usage.cache_read_input_tokens)
    expect(read).toEqual([4000])
  },
)

test('what a compaction reads and writes counts', { timeout: 400_000 }, async () => {
  await using stage = await asks()
  const { id } = await stage.add('Ask.', ...BYPASS)
  const { window } = await stage.until(id, isWaiting, 120_000)
  await types(stage, window, '/compact')
  await hears(stage, id, 'PostCompact', 1)
  await types(stage, window, 'Go on with the first')
  const task = await stage.end(id, 120_000)
  expect(task.status).toBe('succeeded')
  const read = Object.values(task.result?.usage ?? {}).map((usage) => usage.cache_read_input_tokens)
  // The context of 3,300 tokens and more that it read, on top of the two replies.
  expect(read[0]).toBeGreaterThan(7000)
})
