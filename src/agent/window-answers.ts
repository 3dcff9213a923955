import { isSameAsk, type Ask } from '../core/agent/ask.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import {
  NO_REQUESTS,
  onInterrupt,
  onRequestEvent,
  type WindowAnswer,
} from '../core/permission/permission-request.ts'

/** Finds out of an agent's events what a person answered in its window; to be told all of them in their order. */
export type WindowAnswers = {
  hear: (event: HookEvent) => void
  /** The same events, each heard when it is taken. */
  heard: (events: Iterable<HookEvent>) => Iterable<HookEvent>
  /** The turn was interrupted, of which no event tells. */
  interrupted: () => void
  /** Stores what was answered; what `store` throws comes through, and the rest is stored the next time. */
  flush: () => void
  /** The id of the event that is this request, while nobody is known to have decided it; null: there is none. */
  requestOf: (ask: Ask) => number | null
}

/** `store` is told again of the answers of the past after a restart: a request has one decision. */
export function createWindowAnswers(store: (answer: WindowAnswer) => void): WindowAnswers {
  let requests = NO_REQUESTS
  const owed: WindowAnswer[] = []

  function follow(step: ReturnType<typeof onInterrupt>): void {
    requests = step.requests
    owed.push(...step.answers)
  }

  const hear = (event: HookEvent) => follow(onRequestEvent(requests, event))
  return {
    hear,
    *heard(events) {
      for (const event of events) {
        hear(event)
        yield event
      }
    },
    interrupted: () => follow(onInterrupt(requests)),
    flush() {
      for (let answer = owed[0]; answer !== undefined; answer = owed[0]) {
        store(answer)
        owed.shift()
      }
    },
    requestOf: (ask) => requests.open.find((request) => isSameAsk(request.ask, ask))?.id ?? null,
  }
}
