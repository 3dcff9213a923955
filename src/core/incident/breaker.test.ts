import { expect, test } from 'vitest'
import {
  afterAttempt,
  allowance,
  type Breaker,
  type BreakerNews,
  CLOSED_BREAKER,
  concernsFleet,
  probing,
  readBreaker,
} from './breaker.ts'

const RULES = { failures: 3, windowMs: 60_000, pauseMs: 1000, maxPauseMs: 3000 }

function after(breaker: Breaker, ...news: (Partial<BreakerNews> & { taskId: string })[]): Breaker {
  return news.reduce(
    (state, { taskId, ...more }) =>
      afterAttempt(
        state,
        { taskId, project: 'app', kind: 'crash', at: 0, verdict: 'failure', ...more },
        RULES,
      ),
    breaker,
  )
}
const never = () => false

test('it opens when so many different tasks failed in a row, not when one failed as often', () => {
  expect(after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'a' }, { taskId: 'a' }).openUntil).toBe(null)
  expect(after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }).openUntil).toBe(null)
  expect(after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' }).openUntil).toBe(1000)
})

test('a success, or too much time, ends the row; what says nothing does not', () => {
  const two = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' })
  expect(after(two, { taskId: 'c', verdict: 'success' }, { taskId: 'd' }).openUntil).toBe(null)
  expect(after(two, { taskId: 'c', at: 60_001 }).openUntil).toBe(null)
  expect(after(two, { taskId: 'c', verdict: 'neutral' }, { taskId: 'd' }).openUntil).toBe(1000)
})

test('open: nothing is claimed until its time, then one task, and no second while that one runs', () => {
  const open = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' })
  expect(allowance(open, 999, RULES, never)).toEqual({ allow: 'none', until: 1000 })
  expect(allowance(open, 1000, RULES, never)).toEqual({ allow: 'probe' })
  const tried = probing(open, 'd')
  expect(allowance(tried, 1001, RULES, (id) => id === 'd')).toEqual({ allow: 'none', until: null })
  // The daemon was killed with its probe: another one may try.
  expect(allowance(tried, 1001, RULES, never)).toEqual({ allow: 'probe' })
  expect(allowance(CLOSED_BREAKER, 0, RULES, never)).toEqual({ allow: 'all' })
})

test('a clock that was set back makes no pause longer than the longest', () => {
  const open = after(CLOSED_BREAKER, ...['a', 'b', 'c'].map((taskId) => ({ taskId, at: 50_000 })))
  expect(open.openUntil).toBe(51_000)
  expect(allowance(open, 48_000, RULES, never)).toEqual({ allow: 'none', until: 51_000 })
  expect(allowance(open, 47_999, RULES, never)).toEqual({ allow: 'probe' })
})

test('a probe that succeeds closes it; one that fails doubles the pause, up to the most', () => {
  const open = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' })
  expect(after(probing(open, 'd'), { taskId: 'd', verdict: 'success' })).toEqual(CLOSED_BREAKER)
  const second = after(probing(open, 'd'), { taskId: 'd', at: 5000 })
  expect(second).toMatchObject({ openUntil: 7000, trips: 2, probe: null })
  const third = after(probing(second, 'd'), { taskId: 'd', at: 8000 })
  expect(third).toMatchObject({ openUntil: 11_000, trips: 3 })
})

test('agents that were at work when it opened neither prolong nor reopen it', () => {
  const open = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' })
  expect(after(open, { taskId: 'd', at: 900 })).toMatchObject({ openUntil: 1000, trips: 1 })
})

test('a probe whose end says nothing leaves it to the next one', () => {
  const open = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' })
  const left = after(probing(open, 'd'), { taskId: 'd', verdict: 'neutral', at: 2000 })
  expect(allowance(left, 2000, RULES, () => true)).toEqual({ allow: 'probe' })
})

test('the fleet is concerned by failures of two projects, or by agents that could not be started at all', () => {
  const failure = (project: string, kind: string) => ({ taskId: project, project, kind, at: 0 })
  expect(concernsFleet([failure('a', 'crash'), failure('a', 'crash')])).toBe(false)
  expect(concernsFleet([failure('a', 'crash'), failure('b', 'crash')])).toBe(true)
  expect(concernsFleet([failure('a', 'start'), failure('a', 'start')])).toBe(true)
})

test('what was stored is read back; anything else is a closed breaker', () => {
  const open = after(CLOSED_BREAKER, { taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' })
  expect(readBreaker(JSON.parse(JSON.stringify(open)))).toEqual(open)
  for (const odd of [undefined, null, 7, 'x', [], {}, { row: 'x' }])
    expect(readBreaker(odd)).toEqual(CLOSED_BREAKER)
})
