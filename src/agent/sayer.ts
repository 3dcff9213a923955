import type { Logger } from 'pino'
import type { TurnEnd } from '../core/agent/view.ts'
import { type Delivery, type Typed, deliverText } from './deliver.ts'
import type { Pane } from './pane.ts'

/** Types texts into one agent, one at a time; they wait for hook events, so nothing may wait for them in turn. */
export type Sayer = {
  /** Types a text as soon as those before it are through. */
  deliver: (text: string) => Promise<Delivery>
  /** This text is due from now on, instead of any before. */
  owe: (text: string) => void
  /** Nothing is due any more, also where it is half typed; false: nothing was. */
  forget: () => boolean
  /** A text is due or on its way. */
  isBusy: () => boolean
  /** Types what is due, unless that is being done. What could not be delivered stays due; it is pasted three times at most. */
  say: () => void
}

/** Each paste may be a bill, and a person may delete one. */
const PASTES = 3

/**
 * `prompts` counts what the agent took in; nothing is typed after `over`. `unconfirmed` hears of a text that was sent
 * with no event that says so, and of how the turn before it had ended.
 */
export function createSayer(of: {
  pane: Pane
  prompts: () => number
  turnEnd: () => TurnEnd | null
  unconfirmed: (before: TurnEnd | null) => void
  over: AbortSignal
  logger: Logger
}): Sayer {
  /** A text that is due, the way to take it back, and how often it may still be pasted. */
  let due: { text: string; moot: AbortController; pastes: { left: number } } | null = null
  const typed: Typed = { left: null }
  let delivering = false
  let deliveries: Promise<unknown> = Promise.resolve()

  async function deliverNext(text: string, pastes: { left: number }, signal: AbortSignal): Promise<Delivery> {
    const before = of.turnEnd()
    const { pane, prompts } = of
    const delivery = await deliverText({ pane, text, prompts, typed, pastes, signal })
    if (delivery === 'unconfirmed') {
      of.logger.warn({ code: 'UNCONFIRMED' }, 'a text was sent and no event says that it was accepted')
      of.unconfirmed(before)
    }
    return delivery
  }

  function deliver(text: string, pastes = { left: 1 }, moot: AbortSignal = of.over): Promise<Delivery> {
    const signal = AbortSignal.any([of.over, moot])
    const delivery = deliveries.then(() => deliverNext(text, pastes, signal))
    deliveries = delivery.catch(() => undefined)
    return delivery
  }

  return {
    deliver: (text) => deliver(text),
    owe(text) {
      due = { text, moot: new AbortController(), pastes: { left: PASTES } }
    },
    forget() {
      const was = due
      was?.moot.abort()
      due = null
      return was !== null
    },
    isBusy: () => delivering || due !== null,
    say() {
      if (due === null || delivering) return
      delivering = true
      const saying = due
      void deliver(due.text, due.pastes, due.moot.signal)
        .then((delivery) => {
          delivering = false
          if (typeof delivery !== 'string') of.logger.warn({ code: 'UNDELIVERED' }, delivery.undelivered)
          else if (due === saying) due = null
        })
        .catch((err: unknown) => {
          delivering = false
          of.logger.warn({ err }, 'a delivery failed')
        })
    },
  }
}
