import { askOf, isSameAsk, waitKindOf, withoutAsk, type Ask } from '../agent/ask.ts'
import { PERMISSION_DECIDED, type HookPayload } from '../agent/hook-event.ts'

/** A permission request of which no decision is recorded; `id` is that of its hook event. */
export type OpenRequest = { id: number; ask: Ask; agentId: string | null }

/** An agent's permission requests, as far as its events tell; questions are none. */
export type Requests = {
  /** In the order they came. */
  open: OpenRequest[]
  /** Decisions whose own request has not come yet: the two travel apart. */
  early: Ask[]
}

/** What became of a request that nobody answered through ccm, and what proves it. */
export type WindowAnswer = { request: OpenRequest; decision: 'granted' | 'denied'; proof: string }

export const NO_REQUESTS: Requests = { open: [], early: [] }

type Step = { requests: Requests; answers: WindowAnswer[] }

/**
 * Takes in one event; to be called with all of an attempt's own events in their order. Claude Code does not report a
 * key in the window, but what comes of it: a tool that was allowed ends, well or badly, before its turn does; one that
 * was refused never runs. Total.
 */
export function onRequestEvent(requests: Requests, event: { id: number; payload: HookPayload }): Step {
  const { id, payload } = event
  const ask = askOf(payload)
  const { open, early } = requests
  const one = open.find((request) => isSameAsk(request.ask, ask))
  const agentId = payload.agent_id ?? null
  const name = payload.hook_event_name ?? ''
  switch (name) {
    case 'PermissionRequest': {
      if (waitKindOf(ask.tool) === 'question') break
      const left = withoutAsk(early, ask)
      if (left.length < early.length) return still({ open, early: left })
      return still({ open: [...open, { id, ask, agentId }], early })
    }
    case PERMISSION_DECIDED: {
      const { request, decision } = payload
      if (decision !== 'granted' && decision !== 'denied') break
      if (typeof request === 'number')
        return still({ open: open.filter((other) => other.id !== request), early })
      if (one === undefined) return still({ open, early: [...early, ask] })
      return still({ open: without(open, one), early })
    }
    case 'PostToolUse':
      return answered(one, 'granted', 'Its tool ran.')
    case 'PostToolUseFailure':
      return answered(one, 'granted', 'Its tool ran, and failed.')
    case 'PermissionDenied':
      // That event is its record.
      if (one !== undefined) return still({ open: without(open, one), early })
      break
    case 'Stop':
      // What runs in the background may still ask.
      if ((payload.background_tasks ?? []).length === 0) return endOfTurn(agentId)
      break
    case 'SubagentStop':
    case 'StopFailure':
    case 'UserPromptSubmit':
      return endOfTurn(agentId)
  }
  return still(requests)

  function answered(request: OpenRequest | undefined, decision: 'granted', proof: string): Step {
    if (request === undefined) return still(requests)
    return {
      requests: { open: without(open, request), early },
      answers: [{ request, decision, proof }],
    }
  }

  function endOfTurn(ofAgent: string | null): Step {
    return refused(requests, ofAgent, 'Its turn ended, and the tool never ran.')
  }
}

/** The agent stands idle, and its turn was interrupted: by a key, of which no event tells. */
export function onInterrupt(requests: Requests): Step {
  return refused(requests, null, 'Its turn was interrupted, and the tool never ran.')
}

function refused({ open, early }: Requests, ofAgent: string | null, proof: string): Step {
  const over = open.filter(({ agentId }) => agentId === ofAgent)
  return {
    requests: {
      open: open.filter(({ agentId }) => agentId !== ofAgent),
      early: ofAgent === null ? [] : early,
    },
    answers: over.map((request) => ({ request, decision: 'denied', proof })),
  }
}

const still = (requests: Requests): Step => ({ requests, answers: [] })
const without = (open: OpenRequest[], one: OpenRequest) => open.filter((other) => other !== one)
