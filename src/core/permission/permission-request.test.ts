import { expect, test } from 'vitest'
import type { HookPayload } from '../agent/hook-event.ts'
import { NO_REQUESTS, onInterrupt, onRequestEvent } from './permission-request.ts'

const bash = (command: string) => ({ tool_name: 'Bash', tool_input: { command } })
const asked = (command: string, more: HookPayload = {}) => ({
  hook_event_name: 'PermissionRequest',
  ...bash(command),
  ...more,
})
const ran = (command: string, name = 'PostToolUse') => ({ hook_event_name: name, ...bash(command) })
const decided = (command: string, more: HookPayload) => ({
  hook_event_name: 'CcmPermission',
  decision: 'granted',
  by: 'ccm',
  ...bash(command),
  ...more,
})
const stop: HookPayload = { hook_event_name: 'Stop', background_tasks: [] }

/** What was answered in the window, by the number of the request's event, and what is open in the end. */
function after(...payloads: HookPayload[]) {
  let requests = NO_REQUESTS
  const answers: [number, string][] = []
  for (const [index, payload] of payloads.entries()) {
    const step = onRequestEvent(requests, { id: index + 1, payload })
    requests = step.requests
    answers.push(...step.answers.map(({ request, decision }): [number, string] => [request.id, decision]))
  }
  return { answers, requests, open: requests.open.map(({ id }) => id) }
}

test('a tool that ran was allowed, whether it failed or not; each of two that are the same has its answer', () => {
  expect(after(asked('a'), ran('a'))).toMatchObject({ answers: [[1, 'granted']], open: [] })
  expect(after(asked('a'), ran('a', 'PostToolUseFailure')).answers).toEqual([[1, 'granted']])
  expect(after(asked('a'), asked('a'), ran('a'))).toMatchObject({ answers: [[1, 'granted']], open: [2] })
  expect(after(ran('a'), asked('a'), ran('b'))).toMatchObject({ answers: [], open: [2] })
})

test('what never ran by the end of the turn, by the next prompt or when it was interrupted was refused', () => {
  for (const end of [stop, { hook_event_name: 'UserPromptSubmit' }, { hook_event_name: 'StopFailure' }])
    expect(after(asked('a'), end, ran('a'))).toMatchObject({ answers: [[1, 'denied']], open: [] })
  const { requests } = after(asked('a'), asked('b', { agent_id: 'sub' }))
  const { answers, requests: left } = onInterrupt(requests)
  expect(answers).toMatchObject([{ request: { id: 1 }, decision: 'denied' }])
  expect(left.open.map(({ id }) => id)).toEqual([2])
})

test('a subagent asks beyond the turn of its agent, and until its own end', () => {
  const sub = asked('a', { agent_id: 'sub' })
  expect(after(sub, stop, { hook_event_name: 'UserPromptSubmit' })).toMatchObject({ answers: [], open: [1] })
  const ends = { hook_event_name: 'SubagentStop', agent_id: 'sub' }
  expect(after(sub, stop, ends)).toMatchObject({ answers: [[1, 'denied']], open: [] })
  const waits: HookPayload = { ...stop, background_tasks: [{ id: 'b' }] }
  expect(after(asked('a'), waits).open).toEqual([1])
})

test('what a rule or a person decided through ccm was not decided in the window', () => {
  expect(after(asked('a'), decided('a', { request: 1 }), ran('a'))).toMatchObject({ answers: [], open: [] })
  // Rows of before had no request in them.
  expect(after(asked('a'), decided('a', { decision: 'denied' }), stop).answers).toEqual([])
  // A rule may be faster than the request's own record: that one only, and not the next.
  const early = after(decided('a', { by: 'rule' }), asked('a'), asked('a'), stop)
  expect(early.answers).toEqual([[3, 'denied']])
  expect(after(asked('a'), decided('a', { decision: 'ask', by: 'rule' }), ran('a')).answers).toEqual([
    [1, 'granted'],
  ])
  expect(after(asked('a'), { ...ran('a'), hook_event_name: 'PermissionDenied' }, stop).answers).toEqual([])
})

test('the row of an answer in the window closes its own request only, when all of it is read again', () => {
  const row = decided('a', { by: 'window', request: 1, decision: 'denied' })
  expect(after(asked('a'), asked('a'), row)).toMatchObject({ answers: [], open: [2] })
  expect(after(asked('a'), ran('a'), row, asked('a'), ran('a')).answers).toEqual([
    [1, 'granted'],
    [4, 'granted'],
  ])
})

test('a question is answered, not permitted', () => {
  const question = { tool_name: 'AskUserQuestion', tool_input: { questions: [] } }
  expect(after({ hook_event_name: 'PermissionRequest', ...question }, stop).answers).toEqual([])
})
