import { describe, expect, test } from 'vitest'
import type { HookPayload } from './hook-event.ts'
import { DOUBT_MS, isQuietlyIdle, onSeen } from './doubt.ts'
import { initialView, move, type Seen, type Step, type View } from './view.ts'
import { onHook } from './watch.ts'
import { createRedactor } from '../redact.ts'

const bash = { tool_name: 'Bash', tool_input: { command: 'npm test' }, tool_use_id: 't1' }
const prompt = { hook_event_name: 'UserPromptSubmit', prompt: 'go' }

/** The view after these hook events, one a second. */
function after(...payloads: HookPayload[]): View {
  const opened = move(initialView(0), 0, 'opened', { reason: '', source: 'supervisor', evidence: '' }).view
  return payloads.reduce((view, payload, index) => onHook(view, payload, (index + 1) * 1000).view, opened)
}

function seen(kind: Seen['kind'], more: Partial<Seen> = {}): Seen {
  return { kind, source: 'screen', evidence: 'test', waitKind: null, moved: false, ...more }
}

/** Sees the same thing every 500 ms for that long. */
function seeFor(view: View, what: Seen, from: number, ms: number): Step {
  let step: Step = { view, change: null }
  for (let at = from; at <= from + ms; at += 500) {
    step = onSeen(step.view, what, at)
    if (step.change !== null) return step
  }
  return step
}

describe('hook events', () => {
  test('a prompt that was accepted means work, and is counted', () => {
    expect(after(prompt)).toMatchObject({ state: 'working', prompts: 1 })
  })

  test('a permission request waits, and the end of its tool ends the wait', () => {
    const asked = after(
      prompt,
      { hook_event_name: 'PreToolUse', ...bash },
      { hook_event_name: 'PermissionRequest', ...bash },
    )
    expect(asked).toMatchObject({
      state: 'waiting',
      waitKind: 'permission',
      reason: 'It asks for permission: Bash npm test',
    })
    const ended = onHook(asked, { hook_event_name: 'PostToolUse', ...bash }, 9000)
    expect(ended.change).toMatchObject({ from: 'waiting', to: 'working', source: 'hook' })
    expect(ended.view.asks).toEqual([])
  })

  test('questions and plans are waits of their own kind', () => {
    const question = {
      hook_event_name: 'PermissionRequest',
      tool_name: 'AskUserQuestion',
      tool_input: { questions: [{ question: 'Which?' }] },
    }
    expect(after(prompt, question)).toMatchObject({
      waitKind: 'question',
      reason: 'It asks a question: Which?',
    })
    expect(after(prompt, { hook_event_name: 'PermissionRequest', tool_name: 'ExitPlanMode' })).toMatchObject({
      waitKind: 'plan',
    })
  })

  test('another tool that starts meanwhile does not end the wait', () => {
    const view = after(
      prompt,
      { hook_event_name: 'PermissionRequest', ...bash },
      { hook_event_name: 'PreToolUse', tool_name: 'Read', tool_use_id: 't2' },
    )
    expect(view).toMatchObject({ state: 'waiting', openTools: ['t2'] })
  })

  test('of two requests the second is still open when the first is answered', () => {
    const edit = { tool_name: 'Edit', tool_input: { file_path: 'a.ts' }, tool_use_id: 't2' }
    const view = after(
      prompt,
      { hook_event_name: 'PermissionRequest', ...bash },
      { hook_event_name: 'PermissionRequest', ...edit },
      { hook_event_name: 'PostToolUse', ...bash },
    )
    expect(view).toMatchObject({ state: 'waiting', reason: 'It asks for permission: Edit a.ts' })
  })

  test('a Stop with background work left is work; one without ends the turn', () => {
    const stop = { hook_event_name: 'Stop', last_assistant_message: 'On it.\n[DONE]' }
    const waits = after(prompt, {
      ...stop,
      background_tasks: [{ type: 'shell', description: 'npm run dev' }],
    })
    expect(waits).toMatchObject({
      state: 'working',
      reason: 'It waits for its background work: npm run dev.',
    })
    expect(after(prompt, { ...stop, background_tasks: [] }).turnEnd).toEqual({
      kind: 'stop',
      message: stop.last_assistant_message,
      background: [],
    })
  })

  test('news of its background work is no prompt that somebody sent, and answers nothing', () => {
    const news = { hook_event_name: 'UserPromptSubmit', prompt: '<task-notification>\n<task-id>b1</task-id>' }
    const stop = { hook_event_name: 'Stop', last_assistant_message: 'I wait for it.', background_tasks: [{}] }
    expect(after(prompt, stop, news)).toMatchObject({ state: 'working', prompts: 1, turnEnd: null })
    const asked = { hook_event_name: 'PermissionRequest', ...bash }
    expect(after(prompt, stop, asked, news)).toMatchObject({ state: 'waiting', asks: [{ tool: 'Bash' }] })
    expect(after(prompt, stop, asked, prompt)).toMatchObject({ state: 'working', prompts: 2, asks: [] })
    expect(after(news)).toMatchObject({ state: 'working', prompts: 1 })
  })

  test('a call that was denied is over with its batch, and one that runs is not', () => {
    const call = (id: string) => ({ hook_event_name: 'PreToolUse', ...bash, tool_use_id: id })
    const batch = { hook_event_name: 'PostToolBatch', tool_calls: [{ tool_use_id: 't1' }, null] }
    expect(after(prompt, call('t1'), call('t2'), batch).openTools).toEqual(['t2'])
    expect(after(prompt, call('t1'), { hook_event_name: 'PostToolBatch' }).openTools).toEqual(['t1'])
  })

  test("a subagent's Stop ends nothing, and neither does its API error", () => {
    expect(
      after(prompt, { hook_event_name: 'Stop', agent_id: 'a1', last_assistant_message: '[DONE]' }).turnEnd,
    ).toBe(null)
    const failure = { hook_event_name: 'StopFailure', error: 'server_error', last_assistant_message: 'Down.' }
    expect(after(prompt, { ...failure, agent_id: 'a1' })).toMatchObject({ state: 'working', turnEnd: null })
    expect(after(prompt, failure).turnEnd).toMatchObject({ kind: 'failure' })
  })

  test('an event without fields, or one nobody knows, is only a sign of life', () => {
    const view = after(prompt, {}, { hook_event_name: 'Marvellous' })
    expect(view).toMatchObject({ state: 'working', activeAt: 3000 })
  })

  test('nothing moves an attempt that is over', () => {
    const over = move(after(prompt), 5000, 'deadline', {
      reason: 'late',
      source: 'supervisor',
      evidence: '',
    }).view
    expect(onHook(over, { hook_event_name: 'Stop', last_assistant_message: '[DONE]' }, 6000)).toEqual({
      view: over,
      change: null,
    })
    expect(onSeen(over, seen('working'), 99_000)).toEqual({ view: over, change: null })
  })
})

describe('session file, title and screen', () => {
  test('one sighting against the hooks changes nothing, one that lasts does', () => {
    const working = after(prompt)
    expect(onSeen(working, seen('waiting'), 5000).change).toBe(null)
    const step = seeFor(working, seen('waiting', { waitKind: 'permission' }), 5000, DOUBT_MS)
    expect(step.change).toMatchObject({ to: 'waiting', waitKind: 'permission', source: 'screen' })
  })

  test('a sighting that agrees in between starts the doubt anew', () => {
    let view = onSeen(after(prompt), seen('waiting'), 5000).view
    view = onSeen(view, seen('working'), 6000).view
    expect(onSeen(view, seen('waiting'), 5000 + DOUBT_MS).change).toBe(null)
  })

  test('a hook event ends every doubt', () => {
    const doubting = onSeen(after(prompt), seen('waiting'), 5000).view
    expect(onHook(doubting, { hook_event_name: 'PreToolUse', ...bash }, 6000).view.doubt).toBe(null)
  })

  test('idle against the hooks does not move the state: the transcript has to say how the turn ended', () => {
    const step = seeFor(after(prompt), seen('idle'), 5000, DOUBT_MS)
    expect(step.change).toBe(null)
    expect(isQuietlyIdle(step.view, 5000 + DOUBT_MS)).toBe(true)
    expect(isQuietlyIdle(step.view, 5000)).toBe(false)
  })

  test('a question asked in prose keeps waiting on an idle screen', () => {
    const stop = after(prompt, { hook_event_name: 'Stop', last_assistant_message: 'Which one?' })
    const asked = move(stop, 3000, 'asked', {
      reason: 'It asks.',
      source: 'hook',
      evidence: '',
      waitKind: 'question',
    }).view
    const step = seeFor(asked, seen('idle'), 4000, 60_000)
    expect(step.view.state).toBe('waiting')
    expect(isQuietlyIdle(step.view, 64_000)).toBe(false)
  })

  test('a screen that says nothing for long makes the state unknown, and work makes it known again', () => {
    const step = seeFor(after(prompt), seen('unknown'), 5000, 4 * DOUBT_MS)
    expect(step.change).toMatchObject({ to: 'unknown' })
    const again = seeFor(step.view, seen('working'), 20_000, DOUBT_MS)
    expect(again.change).toMatchObject({ from: 'unknown', to: 'working' })
  })

  test('only new text on the screen counts as activity', () => {
    const working = after(prompt)
    expect(onSeen(working, seen('working'), 60_000).view.activeAt).toBe(1000)
    expect(onSeen(working, seen('working', { moved: true }), 60_000).view.activeAt).toBe(60_000)
  })
})

describe('a rule of the project', () => {
  const asked = { hook_event_name: 'PermissionRequest', ...bash }
  const decided = (decision: string) => ({
    hook_event_name: 'CcmPermission',
    by: 'rule',
    decision,
    rule: 'Bash(npm:*)',
    ...bash,
  })

  test('ends the wait for what it decided, and its text is the reason', () => {
    const before = after(prompt, asked)
    expect(before.state).toBe('waiting')
    const { view, change } = onHook(before, decided('granted'), 9)
    expect(view).toMatchObject({ state: 'working', asks: [] })
    expect(change?.reason).toBe('Allowed by the rule Bash(npm:*): Bash npm test')
    expect(onHook(before, decided('denied'), 9).change?.reason).toMatch(/^Denied by the rule/)
  })

  test('whose decision is there first lets no wait begin, once', () => {
    const view = after(prompt, decided('granted'), asked)
    expect(view).toMatchObject({ state: 'working', asks: [], decided: [] })
    expect(onHook(view, asked, 9).view.state).toBe('waiting')
  })

  test('is not what a person decided: that ends a wait that is read again, and says nothing about the next', () => {
    const person = { ...decided('granted'), by: 'ccm' }
    expect(onHook(after(prompt, asked), person, 9).view).toMatchObject({ state: 'working', asks: [] })
    expect(after(prompt, person, asked).state).toBe('waiting')
  })

  test('of the turn before says nothing about this one', () => {
    expect(after(prompt, decided('granted'), prompt, asked).state).toBe('waiting')
  })

  test('that leaves it to a person is named in the reason', () => {
    expect(onHook(after(prompt, asked), decided('ask'), 9).change?.reason).toMatch(
      /^The rule Bash\(npm:\*\) leaves/,
    )
  })
})

test('what proves a change holds no half of a secret', () => {
  for (let length = 400; length < 600; length += 7) {
    const command = `${'x '.repeat(length / 2)} psql postgres://app:S3cretPass@db/x`
    const payload = { hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command } }
    const { change } = onHook(after(prompt), payload, 9000)
    expect(change?.evidence).toMatch(/^\{.*…$|\}$/)
    expect(createRedactor().text(change?.evidence ?? '')).not.toContain('S3c')
  }
})
