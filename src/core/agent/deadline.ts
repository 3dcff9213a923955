import type { AgentState } from './agent-state.ts'
import type { View } from './view.ts'

/** How long an agent may take for what; milliseconds. */
export type Deadlines = { startMs: number; noActivityMs: number; totalMs: number; waitingMs: number }

/**
 * Which deadline has passed, as a sentence, or null. `busyMs` is the attempt's age without the time it
 * waited for a person or a person was at its window. A running tool is activity: a silent test run of twenty
 * minutes is work, and the total deadline bounds it.
 */
export function passedDeadline(
  view: View,
  at: number,
  busyMs: number,
  limits: Deadlines,
  waitsForOwn = false,
): string | null {
  if (view.state === 'waiting') {
    const waited = at - view.stateAt
    return waited > limits.waitingMs ? `Nobody answered for ${inWords(limits.waitingMs)}.` : null
  }
  if (view.state === 'limited') return null
  if (busyMs > limits.totalMs) return `${WHOLE_TIME} ${inWords(limits.totalMs)}.`
  const quietMs = at - view.activeAt
  if (quietMs > limits.noActivityMs && view.openTools.length === 0 && !waitsForOwn) {
    return `It showed no activity for ${inWords(limits.noActivityMs)}.`
  }
  if (isStarting(view.state) && busyMs > limits.startMs) {
    return `It did not confirm its prompt within ${inWords(limits.startMs)}.`
  }
  return null
}

const WHOLE_TIME = 'It took longer than'

/** Whether it is the time for all of its work that has passed, by the sentence of `passedDeadline`. */
export function hadWholeTime(sentence: string): boolean {
  return sentence.startsWith(WHOLE_TIME)
}

/** Nothing has told yet that it has its prompt. */
function isStarting(state: AgentState): boolean {
  return state === 'spawning' || state === 'initializing'
}

/** Nothing has ever told that it had its prompt, and nobody can say what it does instead. */
export function neverBegan({ state, prompts }: Pick<View, 'state' | 'prompts'>): boolean {
  return prompts === 0 && (isStarting(state) || state === 'unknown')
}

function inWords(ms: number): string {
  if (ms < 60_000) return `${Math.round(ms / 100) / 10} s`
  return ms < 7_200_000 ? `${Math.round(ms / 6000) / 10} min` : `${Math.round(ms / 360_000) / 10} h`
}
