import type { Logger } from 'pino'
import { type Delivery, deliverText } from './deliver.ts'
import type { Pane } from './pane.ts'

/** Types texts into one agent, one at a time; they wait for hook events, so nothing may wait for them in turn. */
export type Sayer = {
  /** Types a text as soon as those before it are through. */
  deliver: (text: string) => Promise<Delivery>
  /** This text is due from now on, instead of any before. */
  owe: (text: string) => void
  /** Nothing is due any more, also where it is half typed. */
  forget: () => void
  /** A text is due or on its way. */
  isBusy: () => boolean
  /** Types what is due, unless that is being done. What could not be delivered stays due. */
  say: () => void
}

/** `prompts` counts what the agent took in; nothing is typed after `over`. */
export function createSayer(of: {
  pane: Pane
  prompts: () => number
  over: AbortSignal
  logger: Logger
}): Sayer {
  /** A text that is due, and the way to take it back. */
  let due: { text: string; moot: AbortController } | null = null
  let delivering = false
  let deliveries: Promise<unknown> = Promise.resolve()

  function deliver(text: string, moot: AbortSignal = of.over): Promise<Delivery> {
    const signal = AbortSignal.any([of.over, moot])
    const delivery = deliveries.then(() => deliverText({ pane: of.pane, text, prompts: of.prompts, signal }))
    deliveries = delivery.catch(() => undefined)
    return delivery
  }

  return {
    deliver: (text) => deliver(text),
    owe(text) {
      due = { text, moot: new AbortController() }
    },
    forget() {
      due?.moot.abort()
      due = null
    },
    isBusy: () => delivering || due !== null,
    say() {
      if (due === null || delivering) return
      delivering = true
      void deliver(due.text, due.moot.signal)
        .then((delivery) => {
          delivering = false
          if (delivery === 'delivered') due = null
          else of.logger.warn({ code: 'UNDELIVERED' }, delivery.undelivered)
        })
        .catch((err: unknown) => {
          delivering = false
          of.logger.warn({ err }, 'a delivery failed')
        })
    },
  }
}
