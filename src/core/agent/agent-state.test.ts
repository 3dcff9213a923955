import { expect, test } from 'vitest'
import { advance, AGENT_STATES, isOver, type Cue } from './agent-state.ts'

test('an attempt that is over stays over, whatever comes', () => {
  const over = AGENT_STATES.filter(isOver)
  const cues: Cue[] = [
    'opened',
    'active',
    'asked',
    'limit',
    'done',
    'failed',
    'deadline',
    'exited',
    'ended',
    'lost',
    'unclear',
  ]
  expect(over).toEqual(['complete', 'error', 'timeout', 'exited', 'lost'])
  expect(over.flatMap((state) => cues.map((cue) => advance(state, cue)))).toEqual(Array(55).fill(null))
})

test('every living state can end in every way', () => {
  const living = AGENT_STATES.filter((state) => !isOver(state))
  for (const state of living) {
    const ends = (['done', 'failed', 'deadline', 'exited', 'ended', 'lost'] as const).map((cue) =>
      advance(state, cue),
    )
    expect(ends).toEqual(['complete', 'error', 'timeout', 'exited', 'exited', 'lost'])
  }
})

test('a waiting agent never becomes unknown: its dialog may be one that nobody knows', () => {
  expect(advance('waiting', 'unclear')).toBe(null)
  expect(advance('working', 'unclear')).toBe('unknown')
  expect(advance('unknown', 'active')).toBe('working')
})
