import type { Cue, WaitKind } from '../core/agent/agent-state.ts'
import type { EvidenceSource } from '../core/agent/attempt.ts'
import type { Clock } from '../core/clock.ts'
import { move, type Change, type Step, type View } from '../core/agent/view.ts'

/** What is believed of one agent, and how it changes. */
export type Belief = {
  view: () => View
  /** Takes a step once its change is stored; throws what storing throws, and then nothing has changed. */
  apply: (step: Step) => void
  /** Moves the state if its table allows it, by news of the supervisor's own unless `source` says whose it is. */
  move: (
    cue: Cue,
    reason: string,
    evidence?: string,
    more?: { waitKind?: WaitKind; source?: EvidenceSource },
  ) => void
  /** Corrects what is no state and needs no record. */
  correct: (parts: Partial<Omit<View, 'state' | 'waitKind'>>) => void
}

/** `record` stores a change before it counts, and `changed` hears of it after that. */
export function createBelief(
  first: View,
  clock: Clock,
  record: (change: Change) => void,
  changed: () => void,
): Belief {
  let view = first

  function apply(step: Step): void {
    // First, because it may throw on a full disk: the next piece of news then tries again.
    if (step.change !== null) record(step.change)
    view = step.view
    changed()
  }

  return {
    view: () => view,
    apply,
    move: (cue, reason, evidence = '', more = {}) =>
      apply(move(view, clock(), cue, { reason, evidence, source: 'supervisor', ...more })),
    correct(parts) {
      view = { ...view, ...parts }
    },
  }
}
