import { setImmediate as nextTurn } from 'node:timers/promises'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { AgentState } from '../core/agent/agent-state.ts'
import type { HookEvent, HookPayload } from '../core/agent/hook-event.ts'
import type { Change } from '../core/agent/view.ts'
import type { Look } from './look.ts'
import type { Pane } from './pane.ts'
import { neutralQuestion } from './prompt.ts'
import type { SessionStatus } from './session-file.ts'
import { NO_ROOM } from './start-script.ts'
import { createWatcher, type WatcherOptions } from './watcher.ts'
import type { AgentEnd, TranscriptEnd } from './agent-end.ts'

const RULE = '─'.repeat(80)
const MODE = '  ⏵⏵ accept edits on (shift+tab to cycle)'
/** An idle screen with that text in its input box. */
const idle = (box = '') =>
  `● All of it.\n\n✻ Worked for 1s · done 1:00 PM\n\n${RULE}\n❯ ${box}\n${RULE}\n${MODE}`
const busy = `✻ Thinking… (3s)\n\n${RULE}\n❯ \n${RULE}\n${MODE} · esc to interrupt`
const STARTED_AT = 1_000_000
const MARKERS = { done: '[DONE]', error: '[ERROR]', unmarked: 'fail', nudges: 1 } as const
/** Of an agent that is taken back: nothing is stored of its time. */
const FRESH = { changes: [], pausedMs: 0 }
const PROMPT = { hook_event_name: 'UserPromptSubmit', prompt: 'go' }
const stop = (message: string, more: HookPayload = {}): HookPayload => ({
  hook_event_name: 'Stop',
  last_assistant_message: message,
  ...more,
})

/** A watcher over a pane that only remembers; its clock moves by hand. `box` tells what an Enter or a paste does. */
function stage(more: Partial<WatcherOptions> = {}, box: 'keeps' | 'submits' | 'stays empty' = 'keeps') {
  let now = STARTED_AT
  let serial = 0
  let screen = busy
  const typed: string[] = []
  const changes: Change[] = []
  const answers: [number, string][] = []
  const paused: number[] = []
  let session: SessionStatus | null = null
  const pane: Pane = {
    capture: async () => screen,
    paste: async (text) => {
      typed.push(text)
      if (box !== 'stays empty') screen = idle(text)
    },
    press: async (key) => {
      typed.push(key)
      if (box === 'submits' && key === 'Enter') screen = idle()
    },
    isAttended: async () => false,
    close: async () => undefined,
  }
  const watcher = createWatcher({
    pane,
    startedAt: now,
    markers: MARKERS,
    deadlines: { startMs: 60_000, noActivityMs: 300_000, totalMs: 1_800_000, waitingMs: 86_400_000 },
    holdMs: 86_400_000,
    clock: () => now,
    logger: pino({ level: 'silent' }),
    record: (change) => void changes.push(change),
    paused: (ms) => void paused.push(ms),
    answeredInWindow: ({ request, decision }) => void answers.push([request.id, decision]),
    readSession: () => session,
    readTranscript: async (): Promise<TranscriptEnd> => ({ kind: 'open', prompt: '', promptAt: 0 }),
    readExit: async () => null,
    readSpool: async () => undefined,
    resumed: false,
    taken: null,
    ...more,
  })
  const hear = (...payloads: HookPayload[]) =>
    watcher.onHookEvents(
      payloads.map((payload): HookEvent => {
        const hookEventName = payload.hook_event_name ?? ''
        return {
          id: ++serial,
          taskId: 't',
          attempt: 1,
          claudeSessionId: null,
          hookEventName,
          at: now,
          payload,
        }
      }),
    )
  const look = (more: Partial<Look> = {}) =>
    watcher.onLook({
      at: now,
      exists: true,
      serverGone: false,
      dead: false,
      title: '',
      screen,
      attended: false,
      ...more,
    })
  /** Everything said so far has been worked off. */
  const settled = () => new Promise((resolve) => setTimeout(resolve, 60))
  const ended = (): Promise<AgentEnd | null> => Promise.race([watcher.over, settled().then(() => null)])
  return {
    watcher,
    changes,
    answers,
    paused,
    typed,
    hear,
    look,
    settled,
    ended,
    pass: (ms: number) => (now += ms),
    show: (text: string) => (screen = text),
    says: (status: SessionStatus['status'] | null) =>
      (session = status === null ? null : { pid: 1, status, waitingFor: null }),
  }
}

describe('the last message decides', () => {
  test('[DONE] succeeds, [ERROR] fails for good with its reason', async () => {
    const done = stage()
    done.hear(PROMPT, stop('All of it.\n[DONE]'))
    expect(await done.ended()).toMatchObject({ outcome: 'succeeded', kind: 'done', error: null })
    expect(done.changes.at(-1)).toMatchObject({ to: 'complete', source: 'hook' })
    const failed = stage()
    failed.hear(PROMPT, stop('[ERROR] no such file'))
    expect(await failed.ended()).toMatchObject({
      outcome: 'failed_permanent',
      kind: 'agent_error',
      error: 'no such file',
    })
  })

  test('what the agent says after its attempt was ended changes nothing', async () => {
    const { watcher, hear, ended } = stage()
    watcher.end({
      outcome: 'cancelled',
      kind: 'cancelled',
      error: 'Cancelled.',
      message: '',
      retryAfterMs: null,
    })
    hear(PROMPT, stop('[DONE]'))
    expect(await ended()).toMatchObject({ outcome: 'cancelled' })
    expect(watcher.view().state).toBe('exited')
  })

  test('a turn that goes on after its Stop is not over', async () => {
    const { hear, ended, says } = stage()
    says('busy')
    hear(PROMPT, stop('[DONE]'))
    expect(await ended()).toBe(null)
  })

  test('with work of its own in the background it is asked, failed or waited for, but not done', async () => {
    const background_tasks = [{ type: 'shell', description: 'npm run dev' }]
    const done = stage()
    done.hear(PROMPT, stop('[DONE]', { background_tasks }))
    expect(await done.ended()).toBe(null)
    const asks = stage()
    asks.hear(PROMPT, stop('Port 3000 or 4000?', { background_tasks }))
    expect(await asks.ended()).toBe(null)
    expect(asks.watcher.view()).toMatchObject({ state: 'waiting', waitKind: 'question' })
  })
})

describe('the neutral question', () => {
  test('is pasted into an empty box, sent once, and its answer decides', async () => {
    const { hear, look, show, typed, ended, settled } = stage()
    show(idle())
    hear(PROMPT, stop('I did it.'))
    await expect.poll(() => typed).toEqual([neutralQuestion(MARKERS), 'Enter'])
    hear({ hook_event_name: 'UserPromptSubmit', prompt: neutralQuestion(MARKERS) }, stop('[DONE]'))
    await settled()
    look()
    expect(await ended()).toMatchObject({ outcome: 'succeeded' })
  })

  test('is dropped when a person has said something meanwhile', async () => {
    const { hear, look, show, typed, ended, settled } = stage()
    show(idle('a person types'))
    hear(PROMPT, stop('I did it.'))
    await settled()
    hear({ hook_event_name: 'UserPromptSubmit', prompt: 'go on' })
    show(idle())
    hear(stop('Now it is.\n[DONE]'))
    await expect.poll(() => (look(), ended())).toMatchObject({ outcome: 'succeeded' })
    expect(typed).toEqual([])
  })
})

describe('a question that was dropped', () => {
  test('was not asked: the turn that came instead is asked about', async () => {
    const { hear, look, show, typed, ended, settled } = stage()
    show(idle('a person types'))
    hear(PROMPT, stop('I did it.'))
    await settled()
    hear({ hook_event_name: 'UserPromptSubmit', prompt: 'go on' })
    await settled()
    show(idle())
    hear(stop('I went on.'))
    expect(await ended()).toBe(null)
    await expect.poll(() => (look(), typed)).toEqual([neutralQuestion(MARKERS), 'Enter'])
    // That one was.
    hear({ hook_event_name: 'UserPromptSubmit', prompt: neutralQuestion(MARKERS) }, stop('Well.'))
    await expect.poll(() => (look(), ended())).toMatchObject({ kind: 'unmarked' })
  })
})

describe('where no event tells that a prompt was accepted', () => {
  const QUESTION = neutralQuestion(MARKERS)
  /** Looks once in every tenth of a second, which the clock takes for a whole one. */
  async function lookUntilEnd(
    { look, pass, watcher }: ReturnType<typeof stage>,
    ticks = 350,
  ): Promise<AgentEnd | null> {
    for (let tick = 0; tick < ticks; tick++) {
      look()
      pass(1000)
      const end = await Promise.race([
        watcher.over,
        new Promise<null>((resolve) => setTimeout(resolve, 100, null)),
      ])
      if (end !== null) return end
    }
    return null
  }

  test.concurrent(
    'the question is sent once, and the transcript decides',
    async () => {
      const lost = stage(
        {
          readTranscript: async () => ({
            kind: 'stop',
            message: 'Yes.\n[DONE]',
            prompt: QUESTION,
            promptAt: 0,
          }),
        },
        'submits',
      )
      lost.show(idle())
      lost.says('idle')
      lost.hear(PROMPT, stop('I did it.'))
      expect(await lookUntilEnd(lost)).toMatchObject({ outcome: 'succeeded' })
      expect(lost.typed).toEqual([QUESTION, 'Enter'])
      expect(lost.changes.at(-1)).toMatchObject({ to: 'complete', source: 'transcript' })
    },
    60_000,
  )

  test.concurrent(
    'an agent that works on it gets no second one',
    async ({ expect }) => {
      const working = stage({}, 'submits')
      working.show(idle())
      working.hear(PROMPT, stop('I did it.'))
      await expect.poll(() => working.typed).toEqual([QUESTION, 'Enter'])
      working.says('busy')
      expect(await lookUntilEnd(working, 200)).toBe(null)
      expect(working.typed).toEqual([QUESTION, 'Enter'])
      expect(working.watcher.view()).toMatchObject({ state: 'working', turnEnd: null })
    },
    60_000,
  )

  test.concurrent(
    'a paste that never shows is tried three times, and then the transcript decides',
    async () => {
      const deaf = stage(
        { readTranscript: async () => ({ kind: 'stop', message: 'I did it.', prompt: 'go', promptAt: 0 }) },
        'stays empty',
      )
      deaf.show(idle())
      deaf.says('idle')
      deaf.hear(PROMPT, stop('I did it.'))
      expect(await lookUntilEnd(deaf)).toMatchObject({ kind: 'unmarked' })
      expect(deaf.typed).toEqual([QUESTION, QUESTION, QUESTION])
    },
    60_000,
  )

  test.concurrent(
    'an answer by text counts as sent, and the wait is over',
    async ({ expect }) => {
      const asked = stage({}, 'submits')
      asked.show(idle())
      asked.hear(PROMPT, stop('Which port?'))
      await expect.poll(() => asked.watcher.view().state).toBe('waiting')
      expect(await asked.watcher.answers.send('4000', null)).toBe('done')
      await expect.poll(() => asked.watcher.view()).toMatchObject({ state: 'working', turnEnd: null })
      expect(asked.typed).toEqual(['4000', 'Enter'])
    },
    60_000,
  )
})

test('a turn that was interrupted in the window refused what was asked, with no event that says so', async () => {
  const { watcher, hear, look, answers, settled, pass, show, says } = stage()
  const request = { hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command: 'ls' } }
  hear(PROMPT, request)
  says('idle')
  show(idle())
  look()
  await settled()
  expect(answers).toEqual([])
  pass(3000)
  look()
  await settled()
  expect(watcher.view().reason).toContain('interrupted')
  expect(answers).toEqual([[2, 'denied']])
})

test('an answer that waits is for what is asked then, and tells which request that is', async () => {
  const { watcher, hear, settled } = stage()
  const tool = (command: string) => ({ tool_name: 'Bash', tool_input: { command } })
  const asks = (command: string) => ({ hook_event_name: 'PermissionRequest', ...tool(command) })
  hear(PROMPT, asks('ls'))
  await settled()
  const decided: unknown[] = []
  const approval = watcher.answers.approve(null, ({ input }) => decided.push(input['command']))
  // Somebody in the window was faster, and the next request is there.
  hear({ hook_event_name: 'PostToolUse', ...tool('ls') }, asks('make'))
  await settled()
  const held = watcher.answers.hold(
    { tool: 'Bash', input: { command: 'make' } },
    new AbortController().signal,
  )
  expect(await approval).toBe('done')
  expect(decided).toEqual(['make'])
  expect(await held).toMatchObject({ hookSpecificOutput: { decision: { behavior: 'allow' } } })
})

test('an answer in the window that could not be stored is stored with the next news, once', async () => {
  let isFull = true
  const stored: number[] = []
  const { hear, settled } = stage({
    answeredInWindow: ({ request }) => {
      if (isFull) throw new Error('The disk is full')
      stored.push(request.id)
    },
  })
  const tool = { tool_name: 'Bash', tool_input: { command: 'ls' } }
  hear(PROMPT, { hook_event_name: 'PermissionRequest', ...tool }, { hook_event_name: 'PostToolUse', ...tool })
  await settled()
  isFull = false
  hear({ hook_event_name: 'PreToolUse', ...tool })
  hear({ hook_event_name: 'PreToolUse', ...tool })
  await settled()
  expect(stored).toEqual([2])
})

test('a resumed agent that is asked whether to resume waits for a person, and nothing is typed', async () => {
  const { watcher, look, typed, settled, pass, show, says } = stage({ resumed: true })
  show(
    `${RULE}\n  Resume this conversation?\n\n  It is long.\n\n  ❯ 1. Resume\n    2. Start a new conversation\n\n  Enter to confirm · Esc to resume\n`,
  )
  for (const status of ['waiting', null] as const) {
    says(status)
    look()
    await settled()
    pass(3000)
  }
  look()
  await settled()
  expect(watcher.view()).toMatchObject({ state: 'waiting', waitKind: 'dialog' })
  expect(watcher.answers.pending()).toMatchObject({ options: ['Resume', 'Start a new conversation'] })
  expect(typed).toEqual([])
})

test('that a directory is trusted is answered before a session begins, and never later', async () => {
  const trust = `${RULE}\n Accessing workspace:\n\n /srv\n\n   No, exit\n ❯ Yes, I trust this folder\n\n Enter to confirm · Esc to cancel\n`
  const typed = async (status: SessionStatus['status'] | null, ...payloads: HookPayload[]) => {
    const one = stage()
    one.show(trust)
    one.says(status)
    one.hear(...payloads)
    one.look()
    await one.settled()
    return one.typed
  }
  expect(await typed(null)).toEqual(['Enter'])
  expect(await typed('waiting')).toEqual([])
  expect(await typed(null, PROMPT)).toEqual([])
})

describe('deadlines', () => {
  test('sleeping is no inactivity: a gap between looks is not the agent’s time', async () => {
    const { hear, look, pass, ended } = stage()
    hear(PROMPT)
    look()
    pass(3_600_000)
    look()
    expect(await ended()).toBe(null)
  })

  test('what an agent says as the machine wakes, before the first look at it, is later than the sleep', async () => {
    const asks = stage()
    asks.hear(PROMPT)
    asks.look()
    await asks.settled()
    asks.pass(3_600_000)
    asks.says('waiting')
    asks.hear({ hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command: 'ls' } })
    asks.look()
    await asks.settled()
    expect(asks.watcher.view().state).toBe('waiting')
    expect(asks.paused).toEqual([0, 3_585_000])
    // To sleep while it waits is to wait.
    asks.pass(3_600_000)
    asks.look()
    await asks.settled()
    expect(asks.paused).toHaveLength(2)

    const works = stage()
    works.hear(PROMPT)
    works.look()
    await works.settled()
    works.pass(3_600_000)
    works.hear({ hook_event_name: 'Notification' })
    for (let tick = 0; tick < 35; tick++) {
      works.look()
      works.pass(10_000)
    }
    expect(await works.ended()).toMatchObject({ error: expect.stringMatching(/showed no activity/) })
  })

  test('a clock that is set back by hours holds up neither deadlines nor doubts', async () => {
    const quiet = stage()
    quiet.hear(PROMPT)
    quiet.look()
    await quiet.settled()
    quiet.pass(-7_200_000)
    for (let tick = 0; tick < 35; tick++) {
      quiet.look()
      quiet.pass(10_000)
    }
    expect(await quiet.ended()).toMatchObject({ kind: 'timeout' })

    const asking = stage()
    asking.hear(PROMPT)
    asking.says('waiting')
    asking.look()
    await asking.settled()
    asking.pass(-7_200_000)
    asking.look()
    asking.pass(3000)
    asking.look()
    await asking.settled()
    expect(asking.watcher.view().state).toBe('waiting')
    // Nobody has waited for longer than the clock says.
    asking.pass(-7_200_000)
    asking.look()
    for (let tick = 0; tick < 2; tick++) {
      await asking.settled()
      asking.pass(43_300_000)
      asking.look()
    }
    expect(await asking.ended()).toMatchObject({ kind: 'timeout' })
  })

  test('what counts for no deadline is told to be kept: a person at the window, a sleep; to wait is known already', async () => {
    const { hear, look, pass, paused, says, settled } = stage()
    hear(PROMPT)
    for (const [ms, attended] of [
      [1000, false],
      [1000, true],
      [3_600_000, false],
      [3_600_000, true],
      [-7_200_000, true],
    ] as const) {
      pass(ms)
      look({ attended })
    }
    await settled()
    // A gap counts as 15 s of work.
    expect(paused).toEqual([0, 1000, 3_585_000, 3_600_000, -7_200_000])
    says('waiting')
    look()
    pass(3000)
    look()
    await settled()
    pass(3_600_000)
    look({ attended: true })
    await settled()
    expect(paused).toHaveLength(5)
    // Nor is it told twice that it was idle: the end of a turn is in its past.
    const idles = stage()
    idles.hear(PROMPT, stop('Well.'))
    idles.pass(1000)
    idles.look({ attended: true })
    await idles.settled()
    idles.pass(1000)
    idles.look({ attended: true })
    await idles.settled()
    expect(idles.watcher.view().turnEnd).not.toBe(null)
    expect(idles.paused).toEqual([0])
  })

  test('the setup before its window counts for none of them, and the next daemon is told so', async () => {
    const setupMs = 1_200_000
    const { look, pass, paused, settled, ended } = stage({ startedAt: STARTED_AT - setupMs })
    look({ screen: '' })
    expect(await ended()).toBe(null)
    expect(paused).toEqual([setupMs])
    for (let tick = 0; tick < 6; tick++) {
      pass(10_000)
      look()
    }
    await settled()
    expect(await ended()).toBe(null)
    pass(10_000)
    look()
    expect(await ended()).toMatchObject({
      error: expect.stringMatching(/did not confirm its prompt within/),
    })
  })

  test('a night in which it asked and no daemon ran is not held against it once somebody answers', async () => {
    const NIGHT_MS = 43_200_000
    const startedAt = STARTED_AT - NIGHT_MS
    const request = { hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command: 'ls' } }
    const past = [PROMPT, request].map((payload, id): HookEvent => {
      const { hook_event_name: hookEventName } = payload
      return { id, taskId: 't', attempt: 1, claudeSessionId: null, hookEventName, at: startedAt, payload }
    })
    const stored = { state: 'working', waitKind: null, reason: 'It works.', stateAt: startedAt } as const
    const { hear, look, pass, says, ended } = stage({ startedAt, taken: { ...FRESH, past, stored } })
    look()
    expect(await ended()).toBe(null)
    hear({ ...request, hook_event_name: 'PostToolUse' })
    says('busy')
    for (let tick = 0; tick < 179; tick++) {
      pass(10_000)
      look({ screen: `${'x'.repeat(tick)}\n${busy}` })
    }
    expect(await ended()).toBe(null)
    for (let tick = 0; tick < 2; tick++) {
      pass(10_000)
      look({ screen: `${'x'.repeat(tick)}\n${busy}` })
    }
    expect(await ended()).toMatchObject({ kind: 'timeout', error: 'It took longer than 30 min.' })
  })

  test('nor is one whose screen nobody can name, and that never told of its prompt: it is tried again', async () => {
    const { show, look, pass, changes, ended } = stage()
    show('Segments are being read.')
    for (let tick = 0; tick < 35; tick++) {
      look()
      pass(10_000)
    }
    expect(await ended()).toMatchObject({ outcome: 'failed', kind: 'timeout' })
    expect(changes.at(-1)?.from).toBe('unknown')
  })

  test('one that had its whole time is not tried again, though nobody heard that it began', async () => {
    const { look, pass, changes, ended } = stage()
    for (let tick = 0; tick < 190; tick++) {
      look({ screen: `${'x'.repeat(tick)} is being read.` })
      pass(10_000)
    }
    expect(await ended()).toMatchObject({ outcome: 'failed_permanent', kind: 'timeout' })
    expect(changes.at(-1)).toMatchObject({ from: 'unknown', reason: 'It took longer than 30 min.' })
  })

  test('five minutes of looks without anything new are', async () => {
    const { hear, look, pass, ended } = stage()
    hear(PROMPT)
    for (let tick = 0; tick < 35; tick++) {
      look()
      pass(10_000)
    }
    expect(await ended()).toMatchObject({ outcome: 'failed_permanent', kind: 'timeout' })
  })

  test('a server left in the background after [DONE] ends the task well', async () => {
    const { hear, look, pass, ended } = stage()
    hear(PROMPT, stop('[DONE]', { background_tasks: [{ type: 'shell', description: 'serve' }] }))
    for (let tick = 0; tick < 35; tick++) {
      look()
      pass(10_000)
    }
    expect(await ended()).toMatchObject({ outcome: 'succeeded', kind: 'done' })
  })
})

describe('faults', () => {
  test('a change that could not be stored is stored later, and no event behind it is lost', async () => {
    let full = true
    const changes: Change[] = []
    const { hear, ended, look } = stage({
      record: (change) => {
        if (full) throw new Error('disk full')
        changes.push(change)
      },
    })
    hear(PROMPT, stop('[DONE]'))
    expect(await ended()).toBe(null)
    full = false
    look()
    expect(await ended()).toMatchObject({ outcome: 'succeeded' })
    expect(changes.map((change) => change.to)).toEqual(['working', 'complete'])
  })

  test('on a full disk time is up all the same, also with news that cannot be stored', async () => {
    const { hear, look, pass, ended } = stage({
      record: () => {
        throw new Error('disk full')
      },
    })
    hear(PROMPT)
    for (let tick = 0; tick < 190; tick++) {
      look()
      pass(10_000)
    }
    expect(await ended()).toMatchObject({ outcome: 'failed', kind: 'timeout' })
  })

  test('an agent whose events are all lost is not taken for one that never began: its transcript tells', async () => {
    const sent = { prompt: 'go', promptAt: STARTED_AT + 100 }
    const through: TranscriptEnd = { ...sent, kind: 'stop', message: 'All of it.\n[DONE]' }
    const done = stage({ readTranscript: async () => through })
    const works = stage({ readTranscript: async () => ({ ...sent, kind: 'open' }) })
    const never = stage()
    // The transcript of one that goes on with a session has older prompts, and older ends.
    const refused = {
      error: 'server',
      message: 'Down.',
      outcome: 'failed',
      limitedUntil: null,
      limitType: null,
    }
    const past = { prompt: 'before', promptAt: STARTED_AT - 100 }
    const notResumed = stage({ readTranscript: async () => ({ ...through, ...past }), resumed: true })
    const notAgain = stage({
      readTranscript: async () => ({ ...refused, ...past, kind: 'failure' }) as TranscriptEnd,
      resumed: true,
    })
    const resumed = stage({ readTranscript: async () => through, resumed: true })
    for (const one of [done, never, notResumed, notAgain, resumed]) one.show(idle())
    for (const one of [done, works, never, notResumed, notAgain, resumed]) {
      for (let second = 0; second < 70; second++) {
        one.pass(1000)
        one.look()
        await nextTurn()
      }
    }
    for (const one of [done, resumed]) {
      expect(await one.ended()).toMatchObject({ outcome: 'succeeded', kind: 'done' })
      expect(one.changes.map(({ to, source }) => [to, source])).toEqual([
        ['initializing', 'supervisor'],
        ['working', 'transcript'],
        ['complete', 'transcript'],
      ])
    }
    expect(await works.ended()).toBeNull()
    expect(works.watcher.view().state).toBe('working')
    for (const one of [never, notResumed, notAgain])
      expect(await one.ended()).toMatchObject({
        outcome: 'failed',
        kind: 'timeout',
        error: expect.stringContaining('confirm'),
      })
  })

  test('a resumed agent whose prompt and end are lost is known by what it did between them', async () => {
    const sent = { prompt: 'go on', promptAt: STARTED_AT + 100 }
    const resumed = stage({
      readTranscript: async () => ({ ...sent, kind: 'stop', message: '[DONE]' }),
      resumed: true,
    })
    const tool = { tool_name: 'Bash', tool_use_id: 'a' }
    resumed.hear({ hook_event_name: 'PreToolUse', ...tool }, { hook_event_name: 'PostToolUse', ...tool })
    await resumed.settled()
    resumed.show(idle())
    for (let second = 0; second < 10; second++) {
      resumed.pass(1000)
      resumed.look()
      await nextTurn()
    }
    expect(await resumed.ended()).toMatchObject({ outcome: 'succeeded', kind: 'done' })
  })

  test('a window that is gone is judged by what the spool still holds', async () => {
    const watched: { hear?: (...payloads: HookPayload[]) => void } = {}
    const { hear, look, ended } = stage({ readSpool: async () => watched.hear?.(stop('[DONE]')) })
    watched.hear = hear
    hear(PROMPT)
    look({ exists: false, screen: null })
    expect(await ended()).toMatchObject({ outcome: 'succeeded', kind: 'done' })
  })

  test('a dead program without a last word is a crash with its last lines; a dead tmux server costs nothing', async () => {
    const crashed = stage({ readExit: async () => 1 })
    crashed.hear(PROMPT)
    crashed.look({ dead: true, screen: 'error: unknown option' })
    const error = 'Claude Code ended by itself with status 1. Its last lines: error: unknown option'
    expect(await crashed.ended()).toMatchObject({ outcome: 'failed', kind: 'crash', error })
    const orphan = stage()
    orphan.hear(PROMPT)
    orphan.look({ exists: false, serverGone: true, screen: null })
    expect(await orphan.ended()).toMatchObject({ outcome: 'released', kind: 'lost' })
  })

  test('an agent that is gone said how its work ended where only its transcript tells: it is not tried again', async () => {
    const says = (message: string, promptAt: number): Partial<WatcherOptions> => ({
      readTranscript: async () => ({ kind: 'stop', message, prompt: 'go', promptAt }),
    })
    const gone = async (more: Partial<WatcherOptions>) => {
      const one = stage({ readExit: async () => 0, ...more })
      one.hear(PROMPT)
      one.look({ dead: true })
      return one.ended()
    }
    const done = { outcome: 'succeeded', kind: 'done', message: 'It is done.\n[DONE]' }
    expect(await gone(says('It is done.\n[DONE]', 0))).toMatchObject(done)
    expect(await gone({ ...says('It is done.\n[DONE]', STARTED_AT), resumed: true })).toMatchObject(done)
    expect(await gone(says('[ERROR] It is broken.', 0))).toMatchObject({ kind: 'agent_error' })
    // Of the attempt before, of none, and no end at all.
    for (const more of [{ ...says('[DONE]', STARTED_AT - 1), resumed: true }, says('Well.', 0), {}])
      expect(await gone(more)).toMatchObject({ outcome: 'failed', kind: 'crash' })
  })

  test('a machine without room for its processes costs no attempt; a window that is gone says nothing of that', async () => {
    const unstarted = stage({ readExit: async () => NO_ROOM })
    unstarted.look({ dead: true, screen: 'start.sh: 3: Cannot fork' })
    expect(await unstarted.ended()).toMatchObject({ outcome: 'released', kind: 'start' })
    const gone = stage({ readExit: async () => NO_ROOM })
    gone.look({ exists: false, screen: null })
    expect(await gone.ended()).toMatchObject({ outcome: 'failed', kind: 'lost' })
  })

  test('an agent that is taken back waits since it asked, and for the same answer; what came meanwhile is judged', async () => {
    const ASKED_AT = STARTED_AT - 3_600_000
    const past = (...payloads: [HookPayload, number][]): HookEvent[] =>
      payloads.map(([payload, at], id) => {
        const hookEventName = payload.hook_event_name ?? ''
        return { id, taskId: 't', attempt: 1, claudeSessionId: null, hookEventName, at, payload }
      })
    const stored = {
      state: 'waiting',
      waitKind: 'question',
      reason: 'It asks: Red?',
      stateAt: ASKED_AT,
    } as const
    const asked = past([PROMPT, ASKED_AT - 20], [stop('Red?'), ASKED_AT - 5])
    const takeBack = (more: HookEvent[] = [], of: { state: AgentState; stateAt: number } = stored) =>
      stage({ taken: { past: [...asked, ...more], ...FRESH, stored: { ...stored, ...of } } })
    const waits = takeBack()
    waits.show(idle())
    waits.look()
    await waits.settled()
    expect(waits.changes).toEqual([])
    expect(waits.watcher.view()).toMatchObject(stored)
    expect(waits.watcher.answers.pending()).toMatchObject({ kind: 'question', detail: 'Red?' })
    expect(takeBack().watcher.answers.pending()?.id).toBe(waits.watcher.answers.pending()?.id)
    // The next daemon goes on counting, and keeps what the agent said last.
    waits.pass(86_400_000 - 3_600_000 + 1)
    waits.look()
    expect(await waits.ended()).toMatchObject({ kind: 'timeout', message: 'Red?' })
    // A dialog that no event told of.
    const dialog = { ...stored, waitKind: 'dialog' } as const
    const sees = stage({ taken: { past: past([PROMPT, ASKED_AT - 20]), ...FRESH, stored: dialog } })
    await sees.settled()
    expect(sees.changes).toEqual([])
    expect(sees.watcher.view()).toMatchObject(dialog)
    // Answered in the window while no daemon ran, and through by now; or it asks again.
    const answered = takeBack(past([PROMPT, ASKED_AT + 50], [stop('[DONE]'), ASKED_AT + 90]))
    expect(await answered.ended()).toMatchObject({ outcome: 'succeeded' })
    const again = takeBack(past([PROMPT, ASKED_AT + 50], [stop('Red?'), ASKED_AT + 90]))
    await again.settled()
    expect(again.watcher.view()).toMatchObject({ ...stored, stateAt: STARTED_AT })
    // The clock was set back since: that it asked in an hour tells nothing.
    const early = takeBack([], { ...stored, stateAt: STARTED_AT + 3_600_000 })
    await early.settled()
    expect(early.watcher.view()).toMatchObject({ ...stored, stateAt: STARTED_AT })
  })

  test('an agent taken back goes on from its past: a decided turn is decided, an asked question is not asked again', async () => {
    const past = (...payloads: HookPayload[]): HookEvent[] =>
      payloads.map((payload, id) => {
        const hookEventName = payload.hook_event_name ?? ''
        return { id, taskId: 't', attempt: 1, claudeSessionId: null, hookEventName, at: 1, payload }
      })
    const STORED = { state: 'working', waitKind: null, reason: 'It works.', stateAt: 1 } as const
    const done = stage({ taken: { past: past(PROMPT, stop('[DONE]')), ...FRESH, stored: STORED } })
    expect(await done.ended()).toMatchObject({ outcome: 'succeeded' })
    const question = { hook_event_name: 'UserPromptSubmit', prompt: neutralQuestion(MARKERS) }
    const asked = stage({
      taken: { past: past(PROMPT, stop('Well.'), question, stop('Well.')), ...FRESH, stored: STORED },
    })
    expect(await asked.ended()).toMatchObject({ outcome: 'failed_permanent', kind: 'unmarked' })
    expect(asked.typed).toEqual([])
    // Killed between the Enter and the event: only the transcript knows of it.
    const unheard = stage(
      {
        taken: { past: past(PROMPT, stop('Well.')), ...FRESH, stored: STORED },
        readTranscript: async () => ({
          kind: 'stop',
          message: '[DONE]',
          prompt: neutralQuestion(MARKERS),
          promptAt: 0,
        }),
      },
      'submits',
    )
    unheard.show(idle())
    expect(await unheard.ended()).toMatchObject({ outcome: 'succeeded' })
    expect(unheard.typed).toEqual([])
    // Killed before the Enter: the text is not sent twice, and not left.
    const left = stage({ taken: { past: past(PROMPT, stop('Well.')), ...FRESH, stored: STORED } }, 'submits')
    left.show(idle(neutralQuestion(MARKERS)))
    await expect.poll(() => left.typed).toEqual(['Enter'])
    // The record says what came while nobody watched.
    const request = { hook_event_name: 'PermissionRequest', tool_name: 'Bash', tool_input: { command: 'ls' } }
    const waits = stage({ taken: { past: past(PROMPT, request), ...FRESH, stored: STORED } })
    await waits.settled()
    expect(waits.changes).toMatchObject([{ from: 'working', to: 'waiting', waitKind: 'permission' }])
    // An answer in the window that no daemon stored: killed before it, or none was there.
    const ran = { ...request, hook_event_name: 'PostToolUse' }
    const answered = stage({
      taken: { past: past(PROMPT, request, ran, request), ...FRESH, stored: STORED },
    })
    await answered.settled()
    expect(answered.answers).toEqual([[1, 'granted']])
    expect(answered.watcher.requestOf({ tool: 'Bash', input: { command: 'ls' } })).toBe(3)
  })
})
