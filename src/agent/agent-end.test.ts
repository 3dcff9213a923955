import { expect, test } from 'vitest'
import type { AgentState } from '../core/agent/agent-state.ts'
import { decidedEnd } from './agent-end.ts'

const change = (to: AgentState, cue: string, evidence = '') => ({
  from: 'working' as const,
  to,
  cue,
  reason: `It is ${to}.`,
  evidence,
})

test('what a daemon of before had decided is known by its own changes', () => {
  const at = [change('working', 'active')]
  expect(decidedEnd([...at, change('exited', 'ended', 'budget')])).toMatchObject({
    outcome: 'failed_permanent',
    kind: 'budget',
    error: 'It is exited.',
  })
  expect(decidedEnd([...at, change('exited', 'ended', 'drain')])).toMatchObject({
    outcome: 'released',
    retryAfterMs: 0,
  })
  // Carried out by a second daemon, which was cut off, too.
  const late = [change('timeout', 'deadline'), change('exited', 'ended', 'timeout')]
  expect(decidedEnd(late)).toMatchObject({
    outcome: 'failed_permanent',
    kind: 'timeout',
    error: 'It is timeout.',
  })
  // The last line of one that ended by itself.
  expect(decidedEnd([...at, change('exited', 'exited', 'drain')])).toBe(null)
  expect(decidedEnd(at)).toBe(null)
})
