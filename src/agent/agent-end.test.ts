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

test('of one whose time was up a daemon of before tells whether it had begun, as the daemon itself does', () => {
  const from = (state: AgentState, to: AgentState, cue = 'active') => ({ ...change(to, cue), from: state })
  const opened = from('spawning', 'initializing', 'opened')
  // Behind a screen that nobody can name.
  const unnamed = [opened, from('initializing', 'unknown', 'unclear'), from('unknown', 'timeout', 'deadline')]
  expect(decidedEnd(unnamed)).toMatchObject({ outcome: 'failed', kind: 'timeout' })
  expect(decidedEnd([opened, from('initializing', 'timeout', 'deadline')])).toMatchObject({
    outcome: 'failed',
  })
  const worked = [opened, from('initializing', 'working'), from('working', 'unknown', 'unclear')]
  expect(decidedEnd([...worked, from('unknown', 'timeout', 'deadline')])).toMatchObject({
    outcome: 'failed_permanent',
  })
  // It may have worked and not been heard.
  const whole = { ...from('unknown', 'timeout', 'deadline'), reason: 'It took longer than 2 h.' }
  expect(decidedEnd([opened, whole])).toMatchObject({ outcome: 'failed_permanent' })
  // Carried out by a second daemon, which was cut off, too.
  const late = [...unnamed, from('timeout', 'exited', 'ended')]
  expect(decidedEnd(late)).toMatchObject({ outcome: 'failed', kind: 'timeout' })
})
