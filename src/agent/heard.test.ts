import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { AgentState } from '../core/agent/agent-state.ts'
import type { HookEvent, HookPayload } from '../core/agent/hook-event.ts'
import { hearPast } from './heard.ts'

const MIN = 60_000
const CLAIMED_AT = 1_000_000 * MIN
const SAYS: Record<string, HookPayload> = {
  prompt: { hook_event_name: 'UserPromptSubmit', prompt: 'go' },
  stop: { hook_event_name: 'Stop', last_assistant_message: 'Red?' },
  builds: { hook_event_name: 'Stop', last_assistant_message: '', background_tasks: [{ type: 'shell' }] },
  asks: { hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command: 'ls' } },
  ran: { hook_event_name: 'PostToolUse', tool_name: 'Bash', tool_input: { command: 'ls' } },
  starts: { hook_event_name: 'PreToolUse', tool_name: 'Read', tool_input: { file_path: 'a' } },
}

/** The busy minutes of an agent that is taken back at minute `now`: `prompt 1, asks 5` came, `working 1` is stored. */
function busyOf(events: string, changes: string, now: number, pausedMin = 0): number {
  const read = (text: string) =>
    text.split(', ').map((part) => {
      const [word = '', minute] = part.split(' ')
      return { word, at: CLAIMED_AT + Number(minute) * MIN }
    })
  const stored = read(changes).map(({ word, at }) => ({ at, to: word as AgentState }))
  const last = stored.at(-1) ?? { to: 'spawning', at: CLAIMED_AT }
  const waitKind = last.to === 'waiting' ? 'permission' : null
  const { busyMs } = hearPast(
    {
      past: read(events).map(({ word, at }, id): HookEvent => {
        const payload = SAYS[word] ?? {}
        const hookEventName = payload.hook_event_name ?? ''
        return { id, taskId: 't', attempt: 1, claudeSessionId: null, hookEventName, at, payload }
      }),
      changes: stored,
      pausedMs: pausedMin * MIN,
      stored: { state: last.to, waitKind, reason: 'It was stored.', stateAt: last.at },
    },
    { startedAt: CLAIMED_AT, now: CLAIMED_AT + now * MIN, question: '?', logger: pino({ level: 'silent' }) },
  )
  return busyMs / MIN
}

test('what an agent waited while no daemon ran is no work, by what its events tell, however often it is taken back', () => {
  // It asks in minute 5, nobody watches until 600, and it is approved in 602.
  expect(busyOf('prompt 1, asks 5', 'working 1', 600)).toBe(5)
  expect(busyOf('prompt 1, asks 5', 'working 1, waiting 600', 601)).toBe(5)
  expect(busyOf('prompt 1, asks 5', 'working 1, waiting 600, working 602', 610)).toBe(13)
  expect(busyOf('prompt 1, asks 5', 'working 1, waiting 600, working 602', 611)).toBe(14)
  // A turn that is over, judged by no daemon yet; then it was told how to end, or a question in prose was answered.
  expect(busyOf('prompt 1, stop 5', 'working 1', 600)).toBe(5)
  expect(busyOf('prompt 1, stop 5, prompt 601', 'working 1', 610)).toBe(14)
  expect(busyOf('prompt 1, stop 5, prompt 602', 'working 1, waiting 600, working 602', 610)).toBe(13)
  // Begun and ended while no daemon ran, so that no change tells of it; or begun under one.
  expect(busyOf('prompt 1, asks 5, ran 300', 'working 1', 310)).toBe(15)
  expect(busyOf('prompt 1, asks 5, ran 300', 'working 1, waiting 5', 310)).toBe(15)
})

test('what no event tells of is known by the stored changes: an answer by key, a dialog on the screen', () => {
  expect(busyOf('prompt 1, asks 5', 'working 1, waiting 5, working 6', 20)).toBe(19)
  // Another call of the same turn is no news of that wait.
  expect(busyOf('prompt 1, asks 5, starts 8', 'working 1, waiting 5, working 6', 20)).toBe(19)
  expect(busyOf('prompt 1', 'working 1, waiting 5, working 6', 20)).toBe(19)
  expect(busyOf('prompt 1', 'working 1, waiting 5', 20)).toBe(5)
})

test('work of its own in the background is work, and what is known not to count does not', () => {
  expect(busyOf('prompt 1, builds 5', 'working 1', 20)).toBe(20)
  expect(busyOf('prompt 1', 'working 1', 20, 4)).toBe(16)
})

test('a clock that was set back takes no time away, whether it worked or waited then', () => {
  // Two hours back in minute 130. It works all the time, which a daemon has stored; or it waits since 125, until 15.
  expect(busyOf('prompt 1', 'working 1', 20, -120)).toBe(140)
  expect(busyOf('prompt 1, asks 125, ran 15', 'working 1, waiting 125, working 15', 20)).toBe(20)
  // With nobody watching it waits since 125; or it has waited once more by then.
  expect(busyOf('prompt 1, asks 125', 'working 1', 20)).toBe(20)
  expect(busyOf('prompt 1, asks 125, ran 15, asks 30, ran 40', 'working 1', 45)).toBe(35)
  expect(busyOf('prompt 1', 'working 1', -20)).toBe(0)
})
