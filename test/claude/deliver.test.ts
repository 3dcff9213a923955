import { setTimeout as sleep } from 'node:timers/promises'
import { readScreen } from '../../src/core/screen/screen.ts'
import { expect, test } from 'vitest'
import { deliverText, type Typed } from '../../src/agent/deliver.ts'
import type { Pane } from '../../src/agent/pane.ts'
import { toMessage } from '../../src/agent/prompt.ts'
import { says } from '../e2e/replies.ts'
import { findClient, onStage, type Stage } from './screen-stage.ts'
import { BOX } from './screen-scenarios.ts'

const LINES = 'one\ntwo\nthree\nfour\nfive'
/** Wraps over several lines of the box, and is no paste to the client: it has no more than two newlines. */
const LONG = `${'a long line of words that wraps '.repeat(11)}\n\n${'and another '.repeat(25)}`.trim()

test.each([
  ['several lines', LINES, { cols: 120, rows: 40, tui: 'default' }],
  ['wrapped lines', LONG, { cols: 120, rows: 40, tui: 'fullscreen' }],
] as const)(
  'a text of %s that a person interrupted is sent once, or deleted for another',
  { timeout: 120_000 },
  async (_, text, format) => {
    const asked: string[][] = []
    const script = ({ userBlocks }: { userBlocks: string[] }) => {
      asked.push(userBlocks)
      return says('Done.')
    }
    const heard = (said: string) =>
      asked.filter((blocks) => blocks.some((block) => block.includes(said))).length
    const { path } = await findClient()
    await onStage(path, format, { mode: 'bypassPermissions', script }, async (stage) => {
      await stage.until(BOX)
      await stage.untilStatus('idle')
      // A paste into a box that was just drawn is lost.
      await sleep(1000)
      const { pane, person } = paneOf(stage)
      const typed: Typed = { left: null }
      const deliver = (words: string) => {
        const before = asked.length
        return deliverText({
          pane,
          text: words,
          prompts: () => (asked.length > before ? 1 : 0),
          typed,
          pastes: { left: 1 },
          signal: new AbortController().signal,
        })
      }
      const box = async () => readScreen(await stage.capture()).composer

      person.comes = true
      expect(await deliver(text)).toMatchObject({
        undelivered: expect.stringContaining('took over'),
      })
      expect(await box()).not.toBe('')
      person.comes = person.isThere = false
      expect(await deliver(text)).toBe('delivered')
      expect(heard(text.slice(0, 20))).toBe(1)
      await stage.untilStatus('idle')
      await sleep(1000)

      person.comes = true
      expect(await deliver(`again ${text}`)).toMatchObject({ undelivered: expect.any(String) })
      person.comes = person.isThere = false
      expect(await deliver('only this')).toBe('delivered')
      expect({ again: heard('again'), only: heard('only this') }).toEqual({ again: 0, only: 1 })
      await stage.untilStatus('idle')
      await sleep(1000)

      // A paste of their own has other lines.
      person.comes = true
      expect(await deliver(LINES)).toMatchObject({ undelivered: expect.any(String) })
      person.comes = person.isThere = false
      await stage.keys('C-u')
      await stage.paste(`${LINES}\nsix`)
      await stage.until(/Pasted text #\d+ \+5 lines/)
      const theirs = await box()
      expect(await deliver('or this')).toEqual({ undelivered: 'the input box holds other text' })
      expect(await box()).toBe(theirs)
    })
  },
)

test('a text that ends with a backslash is sent, and arrives as it is', { timeout: 60_000 }, async () => {
  const asked: string[] = []
  const script = ({ userBlocks }: { userBlocks: string[] }) => {
    asked.push(userBlocks.at(-1) ?? '')
    return says('Done.')
  }
  const { path } = await findClient()
  const format = { cols: 120, rows: 40, tui: 'default' } as const
  await onStage(path, format, { mode: 'bypassPermissions', script }, async (stage) => {
    await stage.until(BOX)
    await stage.untilStatus('idle')
    // A paste into a box that was just drawn is lost.
    await sleep(1000)
    const text = 'It is in C:\\work\\'
    const delivery = await deliverText({
      pane: paneOf(stage).pane,
      text: toMessage(text),
      prompts: () => asked.length,
      typed: { left: null },
      pastes: { left: 1 },
      signal: new AbortController().signal,
    })
    expect({ delivery, asked }).toEqual({ delivery: 'delivered', asked: [text] })
  })
})

/** The stage's pane; a person who `comes` is there as soon as a text was pasted. */
function paneOf(stage: Stage): { pane: Pane; person: { comes: boolean; isThere: boolean } } {
  const person = { comes: false, isThere: false }
  const pane: Pane = {
    capture: stage.capture,
    paste: async (text) => {
      await stage.paste(text)
      person.isThere = person.comes
    },
    press: async (key) => stage.keys(key),
    isAttended: async () => person.isThere,
    close: async () => undefined,
  }
  return { pane, person }
}
