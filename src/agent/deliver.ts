import { setTimeout as sleep } from 'node:timers/promises'
import { readScreen } from '../core/screen.ts'
import type { Key, Pane } from './pane.ts'

/**
 * `delivered`: Claude Code said it accepted the prompt. `undelivered`: it never did, and nothing of the text
 * is left to be sent later by accident, as far as the screen tells.
 */
export type Delivery = 'delivered' | { undelivered: string }

const CONFIRM_MS = 2000
const TRIES = 5

/**
 * Sends a text as the next prompt, exactly once: waits for an empty input box and for people to leave, pastes,
 * sees the text in the box, presses Enter, and presses it again only while the box still holds the text.
 * An early Enter is lost (5 of 8 within 500 ms of a start), a second one after success would send nothing but
 * could answer a dialog that opened meanwhile: so every press follows a look.
 */
export async function deliverText(options: {
  pane: Pane
  text: string
  /** How many prompts Claude Code has accepted, by its UserPromptSubmit hook. */
  prompts: () => number
  signal: AbortSignal
}): Promise<Delivery> {
  const { pane, signal } = options
  const before = options.prompts()
  const confirmed = () => options.prompts() > before
  const isOurs = (box: string | null) => box !== null && withoutBlanks(box) === withoutBlanks(options.text)
  const box = await boxWhenFree(pane, isOurs, signal)
  if (signal.aborted) return { undelivered: 'it is out of date' }
  if (box !== '' && !isOurs(box)) {
    if (box !== null) return { undelivered: 'the input box holds other text' }
    const why = (await pane.isAttached()) ? 'a person has its window open' : 'no input box is free'
    return { undelivered: why }
  }
  // Left there by an earlier try, when a person took over.
  if (box === '') await pane.paste(options.text)
  if (!(await until(async () => (await boxOf(pane)) !== '', CONFIRM_MS, signal))) {
    return { undelivered: 'the pasted text did not appear in the input box' }
  }
  for (let tries = 0; tries < TRIES; tries++) {
    if (confirmed()) return 'delivered'
    if (signal.aborted) return { undelivered: 'it is out of date' }
    if (await pane.isAttached())
      return { undelivered: 'a person took over while the text was in the input box' }
    // Only a box that still holds text gets an Enter; a dialog has no box.
    if ((await boxOf(pane)) ?? '') await pane.press('Enter')
    if (await until(async () => confirmed(), CONFIRM_MS, signal)) return 'delivered'
  }
  return { undelivered: 'Claude Code did not confirm the prompt' }
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
      box = (await pane.isAttached()) ? null : await boxOf(pane)
      return box === '' || isOurs(box)
    },
    10_000,
    signal,
  )
  return box
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
