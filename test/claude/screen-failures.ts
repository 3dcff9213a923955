import { setTimeout as sleep } from 'node:timers/promises'
import type { ScriptedReply } from '../../src/demo/model.ts'
import { BOX, BYPASS, inTurn, says, type Scenario } from './screen-scenarios.ts'
import type { Setup } from './screen-stage.ts'

const REFUSED = { kind: 'status', status: 400, type: 'invalid_request_error' } as const

/** Screens of a turn that failed, or that a usage limit stopped. */
export const FAILED: Scenario[] = [
  failure('error-400', { ...REFUSED, message: 'messages.3: tool_use ids must be unique' }),
  failure('error-credit', { ...REFUSED, message: 'Your credit balance is too low to access the API.' }),
  failure('error-401', {
    kind: 'status',
    status: 401,
    type: 'authentication_error',
    message: 'invalid x-api-key',
  }),
  failure('error-404', {
    kind: 'status',
    status: 404,
    type: 'not_found_error',
    message: 'model: claude-nine',
  }),
  failure('error-429', {
    kind: 'status',
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many tokens a minute',
  }),
  failure('error-500', { kind: 'status', status: 500, type: 'api_error', message: 'Internal server error' }),
  failure('error-529', { kind: 'status', status: 529, type: 'overloaded_error', message: 'Overloaded' }),
  failure('error-dropped', { kind: 'drop' }),
  failure('error-no-login', { kind: 'hang' }, { login: 'none' }),
  failure('error-marker', says('Two of three parts are done.\n\n[ERROR] missing permission to push'), {}),
  {
    name: 'limit-five-hour',
    setup: () => limitSetup('five_hour', 3 * 3600),
    play: async (stage, keep) => {
      await stage.until(/Usage limit reached/)
      await stage.untilStatus('idle')
      await keep('limited', 'five-hour')
      await stage.keys('Escape')
      await stage.until(/cancelled/)
      await sleep(500)
      await keep('limited', 'five-hour-cancelled')
    },
  },
  {
    name: 'limit-weekly',
    setup: () => limitSetup('seven_day', 4 * 86_400),
    play: async (stage, keep) => {
      await stage.until(/What do you want to do/)
      await sleep(300)
      await keep('limited', 'weekly')
      await stage.keys('Escape')
      await stage.until(BOX)
      await sleep(500)
      await keep('limited', 'weekly-closed')
    },
  },
]

function failure(name: string, reply: ScriptedReply, setup: Setup = {}): Scenario {
  return {
    name,
    once: true,
    setup: () => ({ ...BYPASS, prompt: 'Fix the failing test', script: inTurn(reply), ...setup }),
    play: async (stage, keep) => {
      await stage.untilStatus('busy').catch(() => undefined)
      await stage.untilStatus('idle')
      await sleep(500)
      await keep('error', name)
    },
  }
}

function limitSetup(claim: string, seconds: number): Setup {
  const reset = String(Math.floor(Date.now() / 1000) + seconds)
  const prefix = 'anthropic-ratelimit-unified'
  const headers = {
    [`${prefix}-status`]: 'rejected',
    [`${prefix}-reset`]: reset,
    [`${prefix}-representative-claim`]: claim,
  }
  const message = "This request would exceed your account's rate limit."
  const script = inTurn({ kind: 'status', status: 429, type: 'rate_limit_error', message, headers })
  return { ...BYPASS, prompt: 'Go', login: 'oauth', script }
}
