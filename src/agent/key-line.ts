import { setTimeout as sleep } from 'node:timers/promises'
import type { Pane } from './pane.ts'

/** For a screen that does not change by a key. */
const REDRAW_MS = 1000

/**
 * One answer at a time has its key pressed, once the screen tells of the one before: two that approve the same thing
 * would answer the dialog behind it as well, and two Escapes open the history. `press` tells `done` when it pressed one.
 */
export function createKeyLine(
  pane: Pick<Pane, 'capture'>,
): <T>(press: () => Promise<T | 'done'>) => Promise<T | 'done'> {
  let last = Promise.resolve()
  let pressed = { on: '', at: -Infinity }
  return async (press) => {
    const turn = last.then(async () => {
      let shown = await pane.capture()
      while (shown === pressed.on && performance.now() < pressed.at + REDRAW_MS) {
        await sleep(25)
        shown = await pane.capture()
      }
      const answer = await press()
      if (answer === 'done') pressed = { on: shown, at: performance.now() }
      return answer
    })
    last = turn.then(
      () => undefined,
      () => undefined,
    )
    return turn
  }
}
