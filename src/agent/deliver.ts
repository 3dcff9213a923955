import { setTimeout as sleep } from 'node:timers/promises'
import { readScreen } from '../core/screen/screen.ts'
import type { Key, Pane } from './pane.ts'

/**
 * `delivered`: Claude Code said it accepted the prompt. `unconfirmed`: no event says so, but Enter was pressed and the
 * text has left the box, or it was pasted as often as it may be: what became of it is for the transcript to tell, and
 * it must not be typed again. `undelivered`: it was not sent, and nothing of it is left to be sent later by accident,
 * as far as the screen tells.
 */
export type Delivery = 'delivered' | 'unconfirmed' | { undelivered: string }

/** What deliveries have left in one input box; made by the first, and kept from one to the next. */
export type Typed = { left: Left | null }

type Left = {
  text: string
  /** The box as it was first seen with it; '' before that. */
  shown: string
  /** Enter was pressed, and no look since then has found the text in the box. */
  entered: boolean
  /** How many prompts had been accepted before. */
  prompts: number
}

/** On a busy machine a paste was seen after more than two seconds. */
const SHOW_MS = 5000
const CONFIRM_MS = 2000
const TRIES = 5

/**
 * Sends a text as the next prompt, exactly once: waits for an empty input box and for people to leave, pastes,
 * sees the text in the box, presses Enter, and presses it again only while the box still holds the text.
 * An early Enter is lost (5 of 8 within 500 ms of a start), a second one after success would send nothing but
 * could answer a dialog that opened meanwhile: so every press follows a look. What an earlier delivery left in
 * the box is sent where it is this very text, and deleted where it is another.
 */
export async function deliverText(options: {
  pane: Pane
  text: string
  /** How many prompts Claude Code has accepted, by its UserPromptSubmit hook. */
  prompts: () => number
  typed: Typed
  /** How often this text may still be pasted; counted down. */
  pastes: { left: number }
  signal: AbortSignal
}): Promise<Delivery> {
  const { pane, text, signal, typed } = options
  // Its event came late.
  if (typed.left?.entered === true && typed.left.prompts < options.prompts()) typed.left = null
  const isOurs = (box: string | null) => isText(box, text) || isLeft(box, typed.left)
  let box = await boxWhenFree(pane, isOurs, signal)
  if (box === '' && typed.left?.shown === '') {
    // What was pasted before and never seen may come late, and would mix with what is pasted now.
    await until(async () => (await boxOf(pane)) !== '', CONFIRM_MS, signal)
    box = await boxOf(pane)
  }
  if (signal.aborted) return { undelivered: 'it is out of date' }
  // What was accepted while it waited is another text: that of a person who was at the window.
  const before = options.prompts()
  const confirmed = () => options.prompts() > before
  if (box !== '' && !isOurs(box)) {
    if (box !== null) return { undelivered: 'the input box holds other text' }
    const why = (await pane.isAttended()) ? 'a person has its window open' : 'no input box is free'
    return { undelivered: why }
  }
  if (box !== '' && !isText(box, text) && typed.left !== null && typed.left.text !== text) {
    if (!(await clearBox(pane, typed.left))) return { undelivered: 'the input box holds an earlier text' }
    box = ''
  }
  if (box === '') {
    // Enter was pressed for it, and a dialog hid the box then.
    const isSaid = typed.left?.text === text && typed.left.entered
    typed.left = null
    if (isSaid || options.pastes.left <= 0) return 'unconfirmed'
  }
  // Else it was left there by an earlier try, when a person took over or this daemon was killed.
  const left =
    typed.left?.text === text ? typed.left : { text, shown: box ?? '', entered: false, prompts: before }
  typed.left = left
  if (box === '') {
    options.pastes.left--
    await pane.paste(text)
    const appeared = async () => (left.shown = (await boxOf(pane)) ?? '') !== ''
    if (!(await until(appeared, SHOW_MS, signal))) {
      return { undelivered: 'the pasted text did not appear in the input box' }
    }
  }
  for (let tries = 0; tries < TRIES; tries++) {
    if (confirmed()) return delivered(typed)
    if (signal.aborted) return { undelivered: 'it is out of date' }
    const shown = await boxOf(pane)
    if (isStillThere(shown, left)) left.entered = false
    if (!left.entered) {
      if (await pane.isAttended())
        return { undelivered: 'a person took over while the text was in the input box' }
      // Only a box that still holds text gets an Enter; a dialog has no box.
      if (shown) {
        left.shown = shown
        left.entered = true
        await pane.press('Enter')
      }
    }
    if (await until(async () => confirmed(), CONFIRM_MS, signal)) return delivered(typed)
  }
  const end = await boxOf(pane)
  if (left.entered && end !== null && !isStillThere(end, left)) {
    typed.left = null
    return 'unconfirmed'
  }
  return { undelivered: 'Claude Code did not confirm the prompt' }
}

function delivered(typed: Typed): 'delivered' {
  typed.left = null
  return 'delivered'
}

/**
 * Moves the cursor of an open dialog to an option and confirms it, looking after every key. False when the
 * dialog is not there or does not have the option; then no Enter was pressed.
 */
export async function chooseOption(
  pane: Pane,
  kinds: string[],
  wanted: (label: string) => boolean,
): Promise<boolean> {
  for (let moves = 0; moves < 12; moves++) {
    const { dialog } = readScreen(await pane.capture())
    if (dialog === null || !kinds.includes(dialog.kind) || dialog.selected === null) return false
    const target = dialog.options.findIndex(wanted)
    if (target < 0) return false
    if (target === dialog.selected) {
      await pane.press('Enter')
      return true
    }
    await pane.press(target > dialog.selected ? 'Down' : 'Up')
    await sleep(150)
  }
  return false
}

/** Answers an open numbered dialog with the digit of an option; false when it has none such. */
export async function pressOption(
  pane: Pane,
  kinds: string[],
  wanted: (label: string) => boolean,
): Promise<boolean> {
  const { dialog } = readScreen(await pane.capture())
  if (dialog === null || !kinds.includes(dialog.kind)) return false
  const index = dialog.options.findIndex(wanted)
  if (index < 0 || index > 8) return false
  await pane.press(String(index + 1) as Key)
  return true
}

/** The text in the input box: '' when it is empty, null when there is no box. */
async function boxOf(pane: Pane): Promise<string | null> {
  return readScreen(await pane.capture()).composer
}

async function boxWhenFree(
  pane: Pane,
  isOurs: (box: string | null) => boolean,
  signal: AbortSignal,
): Promise<string | null> {
  let box: string | null = null
  await until(
    async () => {
      box = (await pane.isAttended()) ? null : await boxOf(pane)
      return box === '' || isOurs(box)
    },
    10_000,
    signal,
  )
  return box
}

/** Deletes what a delivery left in the box, looking before every key; false where there is anything else by now. */
async function clearBox(pane: Pane, left: Left): Promise<boolean> {
  for (let presses = 0; presses < 20; presses++) {
    const box = await boxOf(pane)
    if (box === '') return true
    const isRest = box !== null && withoutBlanks(left.text).startsWith(withoutBlanks(box))
    if (!(isLeft(box, left) || isRest) || (await pane.isAttended())) return false
    await pane.press('C-u')
    await sleep(150)
  }
  return false
}

function isText(box: string | null, text: string): boolean {
  return box !== null && withoutBlanks(box) === withoutBlanks(text)
}

// Claude Code shows a paste of several lines, or a long one, as its number and its newlines (2.1.328).
const PASTED = /^\[Pasted text #\d+(?: \+(\d+) lines)?\]$/

function isStillThere(box: string | null, left: Left): boolean {
  return isLeft(box, left) || (box !== '' && box === left.shown)
}

/** Its number tells a person's own paste of as many lines apart, unless ours was deleted: the number may be given anew. */
function isLeft(box: string | null, left: Left | null): boolean {
  if (box === null || left === null) return false
  if (isText(box, left.text)) return true
  const match = PASTED.exec(box)
  if (match === null || (left.shown !== '' && left.shown !== box)) return false
  return Number(match[1] ?? 0) === (left.text.match(/\r\n|\r|\n/g) ?? []).length
}

/** A box wraps its text, so only what is not blank can be compared. */
function withoutBlanks(text: string): string {
  return text.replaceAll(/\s+/g, '')
}

async function until(
  condition: () => Promise<boolean>,
  limitMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const end = performance.now() + limitMs
  while (!signal.aborted) {
    if (await condition()) return true
    if (performance.now() > end) return false
    await sleep(60, undefined, { signal }).catch(() => undefined)
  }
  return false
}
