import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { Pane } from './pane.ts'
import { createSayer } from './sayer.ts'

const RULE = '─'.repeat(80)
const LINES = 'one\ntwo\nthree\nfour\nfive'
const OTHERS = 'six\nseven\neight\nnine\nten'
const LIMIT_MS = 40_000

/**
 * Texts into an input box as Claude Code's is: several lines stand in it as a number. `onPaste` and `onEnter` say what
 * else happens then; an Enter sends what is in the box, unless `onEnter` answers false.
 */
function stage(happens: { onPaste?: () => void; onEnter?: () => boolean } = {}) {
  const box = { text: '', isHidden: false, mode: '❯' }
  const keys: string[] = []
  const sent: string[] = []
  let pastes = 0
  let attached = false
  const pane: Pane = {
    capture: async () =>
      box.isHidden ? 'A dialog' : `● So.\n\n${RULE}\n${box.mode} ${box.text}\n${RULE}\n  ⏵⏵ accept edits on`,
    paste: async (text) => {
      pastes++
      const newlines = text.split('\n').length - 1
      box.text += newlines < 3 ? text : `[Pasted text #${pastes} +${newlines} lines]`
      happens.onPaste?.()
    },
    press: async (key) => {
      keys.push(key)
      if (key === 'C-u') box.text = ''
      if (key !== 'Enter' || happens.onEnter?.() === false) return
      sent.push(box.text)
      box.text = ''
    },
    isAttended: async () => attached,
    close: async () => undefined,
  }
  let prompts = 0
  const sayer = createSayer({
    pane,
    prompts: () => prompts,
    turnEnd: () => null,
    unconfirmed: () => undefined,
    over: new AbortController().signal,
    logger: pino({ level: 'silent' }),
  })
  return {
    sayer,
    box,
    keys,
    sent,
    pastes: () => pastes,
    accept: () => prompts++,
    attach: (is: boolean) => (attached = is),
  }
}

/** A text of several lines was pasted, and a person came before the Enter and left again. */
async function leaveText() {
  const { attach, ...rest } = stage({ onPaste: () => attach(true), onEnter: () => rest.accept() > -1 })
  expect(await rest.sayer.deliver(LINES)).toMatchObject({ undelivered: expect.stringContaining('took over') })
  expect(rest.box.text).toBe('[Pasted text #1 +4 lines]')
  expect(rest.keys).toEqual([])
  attach(false)
  return { ...rest, attach }
}

test.concurrent(
  'a paste that shows late is not mixed with the next',
  async () => {
    const late = { isHeld: true, text: '' }
    const { sayer, box, sent, accept, pastes } = stage({
      onPaste: () => {
        if (!late.isHeld) return
        late.text = box.text
        box.text = ''
      },
      onEnter: () => accept() > -1,
    })
    expect(await sayer.deliver('late')).toMatchObject({ undelivered: expect.stringContaining('not appear') })
    late.isHeld = false
    setTimeout(() => (box.text += late.text), 500)
    expect(await sayer.deliver('next')).toBe('delivered')
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect({ sent, pastes: pastes(), left: box.text }).toEqual({ sent: ['next'], pastes: 2, left: '' })
  },
  LIMIT_MS,
)

describe('a text of several lines that stayed in the box', () => {
  test.concurrent(
    'is sent, not pasted again, where it is to be sent',
    async () => {
      const { sayer, sent, pastes, keys } = await leaveText()
      expect(await sayer.deliver(LINES)).toBe('delivered')
      expect({ sent, keys, pastes: pastes() }).toEqual({
        sent: ['[Pasted text #1 +4 lines]'],
        keys: ['Enter'],
        pastes: 1,
      })
    },
    LIMIT_MS,
  )

  test.concurrent(
    'is deleted, not sent, where another text is to be sent',
    async ({ expect }) => {
      const { sayer, sent, keys, attach, pastes } = await leaveText()
      const delivery = sayer.deliver('no')
      await expect.poll(pastes).toBe(2)
      attach(false)
      expect(await delivery).toMatchObject({ undelivered: expect.any(String) })
      expect(await sayer.deliver('no')).toBe('delivered')
      expect({ sent, keys }).toEqual({ sent: ['no'], keys: ['C-u', 'Enter'] })
    },
    LIMIT_MS,
  )

  test.concurrent.each([
    ['a paste of their own with as many lines', '[Pasted text #2 +4 lines]'],
    ['a paste of another number of lines', '[Pasted text #1 +5 lines]'],
    ['more text behind it', '[Pasted text #1 +4 lines] and this'],
    ['what they typed', 'wait'],
  ])(
    'is never taken for what a person left there: %s',
    async (_, text) => {
      const { sayer, box, keys } = await leaveText()
      box.text = text
      const undelivered = 'the input box holds other text'
      expect(await sayer.deliver(LINES)).toEqual({ undelivered })
      expect(await sayer.deliver(OTHERS)).toEqual({ undelivered })
      expect({ keys, left: box.text }).toEqual({ keys: [], left: text })
    },
    LIMIT_MS,
  )
})

test.concurrent(
  'nothing is typed into a box that a person left in shell mode',
  async () => {
    const { sayer, box, pastes, keys } = stage()
    box.mode = '!'
    expect(await sayer.deliver('rm of the old files is fine')).toEqual({
      undelivered: 'the input box holds other text',
    })
    expect({ keys, pastes: pastes() }).toEqual({ keys: [], pastes: 0 })
  },
  LIMIT_MS,
)

test.concurrent(
  'a prompt that a person sends meanwhile is not taken for the text that waits for them',
  async ({ expect }) => {
    const { sayer, box, sent, accept, attach } = stage({ onEnter: () => accept() > -1 })
    attach(true)
    const delivery = sayer.deliver('the answer')
    // It has found the person there.
    await new Promise((resolve) => setTimeout(resolve, 0))
    accept()
    attach(false)
    expect(await delivery).toBe('delivered')
    expect({ sent, left: box.text }).toEqual({ sent: ['the answer'], left: '' })
  },
  LIMIT_MS,
)

test.concurrent(
  'a text that was sent behind a dialog is not pasted again',
  async ({ expect }) => {
    const { sayer, box, sent, pastes } = stage({ onEnter: () => (box.isHidden = true) })
    expect(await sayer.deliver('go on')).toMatchObject({ undelivered: expect.any(String) })
    box.isHidden = false
    expect(await sayer.deliver('go on')).toBe('unconfirmed')
    expect({ sent, pastes: pastes() }).toEqual({ sent: ['go on'], pastes: 1 })
    // It is no longer owed: the same text said once more is another one.
    void sayer.deliver('go on')
    await expect.poll(pastes).toBe(2)
  },
  LIMIT_MS,
)

test.concurrent(
  'a text whose Enter was lost is sent when it is seen again',
  async () => {
    let lost = 2
    const { sayer, sent, keys, accept } = stage({
      onEnter: () => (lost-- > 0 ? false : accept() > -1),
    })
    expect(await sayer.deliver(LINES)).toBe('delivered')
    expect({ sent, keys }).toEqual({ sent: ['[Pasted text #1 +4 lines]'], keys: ['Enter', 'Enter', 'Enter'] })
  },
  LIMIT_MS,
)
