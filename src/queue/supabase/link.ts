import { CcmError } from '../../core/errors.ts'
import type { Call } from './client.ts'

/** Whether the Supabase project answers this worker, by what became of the last call: a key that it refuses is no answer. */
export type Link = {
  call: Call
  /** `ok` until a call says otherwise. */
  word: () => 'ok' | 'down'
}

/** Watches every call; `onChange` hears of each turn, with the error that told it. */
export function createLink(call: Call, onChange: (word: 'ok' | 'down', error: unknown) => void): Link {
  let word: 'ok' | 'down' = 'ok'
  const turn = (to: 'ok' | 'down', error: unknown) => {
    if (word === to) return
    word = to
    onChange(to, error)
  }
  return {
    word: () => word,
    call: async (name, parameters, parse) => {
      try {
        const answer = await call(name, parameters, parse)
        turn('ok', null)
        return answer
      } catch (error) {
        // A refusal is an answer too.
        const isAway = error instanceof CcmError && /^SUPABASE_(?:UNREACHABLE|KEY)$/.test(error.code)
        turn(isAway ? 'down' : 'ok', error)
        throw error
      }
    },
  }
}
